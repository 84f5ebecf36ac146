"""``python -m tests.fuzz.seeds``: real records as seeds for ``make c-fuzz``. Root; a minute or two.

For each kind of server in ``ROWS`` a lab is made, with keys and certificates of its own that end
with it; its patched OpenVPN is promoted, a stock client connects, and what ``cluster-export`` gives
becomes one file in ``openvpn-patches/common/fuzz-seeds``: pieces as ``test_cluster_fuzz.c`` takes
them. Rows that renegotiate have several records of one client, as a standby gets them. Nothing of a
record is looked into.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.manager import Manager
from tests.integration import rows
from tests.integration.conftest import OPENVPN
from tests.integration.rows import Row, write_files
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.openvpn import Client
from tests.lab.packetfilter import CONTROL, PacketFilter
from tests.lab.topology import change_vip
from tests.lab.waiting import wait_until
from tests.model_openvpn import read_record

SEEDS = Path("openvpn-patches/common/fuzz-seeds")
HOLDER = "0123456789abcdef" * 2
SECONDS = 20.0
COMMON = ("hand-window 2",)

# As in test_cluster_fuzz.c: what follows the parts of a record, and the numbers of commands.
ENVIRONMENT, GRANT, IMPORT, COMMAND, UPDATE = 7, 8, 9, 10, 11
ENVIRONMENT_HEAD = 8  # bytes of that part before its text: the part's head, tag and length
PROMOTE, EXPORT, RENEGOTIATE, KICK, SECOND = 0, 4, 5, 6, 11


def piece(kind: int, data: bytes = b"") -> bytes:
    """One piece of an input."""
    return bytes([kind]) + len(data).to_bytes(2) + data


def commands(*numbers: int) -> bytes:
    """Commands about the client of the last record."""
    return b"".join(piece(COMMAND, bytes([number])) for number in numbers)


AFTERWARDS = commands(PROMOTE, EXPORT, SECOND, SECOND)
"""The record's server dies, and this one serves."""


def row_named(name: str) -> Row:
    """A row of the matrix."""
    return next(row for row in rows.ROWS if row.name == name)


class Exporter:
    """The client of a promoted OpenVPN, and its records."""

    def __init__(self, manager: Manager, packets: PacketFilter, client: Client) -> None:
        self._manager = manager
        self._packets = packets
        self._client = client
        self.uid = self._uids()[0]
        self.keys: list[bytes] = []

    def _uids(self) -> list[str]:
        return [line.split(",")[0] for line in self._manager.ask("cluster-list")[:-1]]

    def begin_anew(self) -> None:
        """Have a renegotiation fail, so that the client has another session, and its old key."""
        begun = time.time_ns()
        self._packets.refuse(CONTROL)
        self.ask("cluster-reneg")
        wait_until(lambda: noticed(self._client.log(), begun).hard_resets, "a hard reset", SECONDS)
        self._packets.lift()
        wait_until(lambda: self._uids() not in ([], [self.uid]), "a new session", SECONDS)
        self.uid = self._uids()[0]

    def ask(self, command: str) -> None:
        """A command about the client."""
        self._must(f"{command} {self.uid}")

    def wait_on(self) -> None:
        """From now on keys wait for their release."""
        self._must("cluster-wait on")

    def _must(self, command: str) -> None:
        reply = self._manager.ask(command)
        if not reply[-1].startswith("SUCCESS"):
            raise LabError(f"{command}: {reply[-1]}")

    def record(self) -> bytes:
        """The record as it is now: parts and grants, and that it is to be imported."""
        lines = self._manager.ask(f"cluster-export {self.uid} {HOLDER}")
        hot, cold, grants = read_record(lines[1:-1])
        self.keys = [fingerprint for _, fingerprint, _, _ in grants]
        pieces = [piece(kind, data) for kind, data in ({0: hot} | cold).items()]
        for at, (_, _, start, end) in enumerate(grants):
            pieces.append(piece(GRANT, bytes([at]) + start.to_bytes(4) + end.to_bytes(4)))
        return b"".join(pieces) + piece(IMPORT)

    def counters(self) -> bytes:
        """What would be told of its newest key, and of its bytes."""
        uid = bytes.fromhex(self.uid)
        mark = bytes([0]) + uid + self.keys[0] + (40).to_bytes(4)
        count = bytes([1]) + uid + (5000).to_bytes(8) + (7000).to_bytes(8)
        return piece(UPDATE, mark) + piece(UPDATE, count)

    def generation(self) -> int:
        """Its generation now."""
        return int(self._manager.ask("cluster-list")[0].split(",")[1])

    def with_two_keys(self) -> bytes:
        """The first record that has them."""
        found: list[bytes] = []

        def look() -> bool:
            found.append(self.record())
            return len(self.keys) == 2

        wait_until(look, "two keys", SECONDS)
        return found[-1]


def single(exporter: Exporter) -> bytes:
    """A client that has just connected."""
    return exporter.record() + exporter.counters() + AFTERWARDS


def lame_duck(exporter: Exporter) -> bytes:
    """A client before and after a renegotiation; then its keys are not the standby's own."""
    first = exporter.record()
    exporter.ask("cluster-reneg")
    return first + exporter.with_two_keys() + commands(PROMOTE, RENEGOTIATE, SECOND, KICK, SECOND)


def pending(exporter: Exporter) -> bytes:
    """A client whose new key waits."""
    first = exporter.record()
    exporter.wait_on()
    exporter.ask("cluster-reneg")
    return first + exporter.with_two_keys() + AFTERWARDS


def pending_and_given(exporter: Exporter) -> bytes:
    """A client whose new key waits, and is then released."""
    first = exporter.record()
    exporter.wait_on()
    exporter.ask("cluster-reneg")
    waiting = exporter.with_two_keys()
    before = exporter.generation()
    exporter.ask("cluster-release")
    wait_until(lambda: exporter.generation() > before, "the key is given", SECONDS)
    return first + waiting + exporter.record() + AFTERWARDS


def kept(exporter: Exporter) -> bytes:
    """A client that goes on sending with the key of its last session."""
    exporter.begin_anew()
    return exporter.record() + exporter.counters() + AFTERWARDS + commands(KICK, SECOND)


def with_variables(record: bytes, lines: bytes) -> bytes:
    """The pieces of a record with these lines in front of its environment."""
    made, at = b"", 0
    while at < len(record):
        kind, size = record[at], int.from_bytes(record[at + 1 : at + 3])
        data = record[at + 3 : at + 3 + size]
        if kind == ENVIRONMENT:
            head, text = data[: ENVIRONMENT_HEAD - 2], lines + data[ENVIRONMENT_HEAD:]
            data = head + len(text).to_bytes(2) + text
        made += piece(kind, data)
        at += 3 + size
    return made


def short_names(exporter: Exporter) -> bytes:
    """Variables whose names OpenVPN itself does not take."""
    return with_variables(exporter.record(), b"a=x\nb=\n") + AFTERWARDS


DEFAULT = Row("aes-256-gcm")
CBC = "aes-256-cbc"
LIFE: dict[str, tuple[Row, Callable[[Exporter], bytes]]] = {
    "lame-duck": (DEFAULT, lame_duck),
    "pending": (DEFAULT, pending),
    "pending-and-given": (DEFAULT, pending_and_given),
    "kept": (DEFAULT, kept),
    "short-variable-names": (DEFAULT, short_names),
    "lame-duck-cbc": (row_named(CBC), lame_duck),
    "lame-duck-tls-crypt-v2": (row_named("tls-crypt-v2"), lame_duck),
    "lame-duck-auth-token": (row_named("password-and-token"), lame_duck),
}
KINDS = (
    "chacha20-poly1305",
    CBC,
    "plain-control",
    "tls-auth",
    "tls-crypt-v2",
    "password-and-token",
    "client-config-dir",
)
ROWS = (
    LIFE | {name: (row_named(name), single) for name in KINDS} | {DEFAULT.name: (DEFAULT, single)}
)


@contextmanager
def serving(row: Row) -> Iterator[Exporter]:
    """A lab with one server that was promoted, and one client."""
    setup = Setup(
        openvpn=OPENVPN,
        vip_manager=None,
        tls_crypt=row.tls_crypt,
        server_options=(*COMMON, *row.server),
        client_options=(*COMMON, *row.client),
    )
    with Lab(setup) as lab:
        write_files(row, lab)
        node = lab.nodes["a"]
        node.openvpn.start()
        change_vip(lab.topology.namespace("a"), plan.OUT, "add")
        with Manager(node.directory / "openvpn.sock") as manager:
            manager.ask("cluster-promote 1/a")
            client = lab.start_client()
            yield Exporter(manager, PacketFilter(node.namespace), client)


def main(names: list[str]) -> int:
    """Make all seeds, or those that are named."""
    SEEDS.mkdir(exist_ok=True)
    for name in names or ROWS:
        row, make = ROWS[name]
        with serving(row) as exporter:
            seed = bytes([0]) + make(exporter)
        (SEEDS / name).write_bytes(seed)
        print(f"{name}: {len(seed)} bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
