"""``python -m tests.lab.splitbrain``: both nodes are master, and no nonce is used twice.

    --rounds N      how often the nodes are torn apart and brought together again (3)
    --output DIR    where split-brain.json goes (build/lab)

Done for each of ``CIPHERS``, in a lab of its own. The nodes run a test build of the patched OpenVPN
that writes down every nonce and whose ranges are used up within a second. Both hold the VIP and
both send to the same client: at once, with one of them frozen and thawed, with the BCN cut before,
while and after ranges are granted, and with keys renegotiated in between. A second build, without
the cap on packet ids, shows that what is looked for would be found.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ovpnha.runtime.control import ControlError
from tests.lab import plan, topology
from tests.lab.lab import GRADE_MASTER, Lab, quiet
from tests.lab.node import Setup
from tests.lab.nonces import Nonces, Wire, compare, count, total
from tests.lab.openvpn import Client
from tests.lab.process import Process
from tests.lab.traced import sniffer, source, trace_of, traced_lab, traces_of, wire_of
from tests.lab.waiting import wait_until

BINARIES = Path("build/openvpn")
TRACED = BINARIES / "openvpn-trace"
UNCAPPED = BINARIES / "openvpn-uncapped"
BURST = 400  # packets of each node between two events: several segments
SECONDS = 40.0
_REFUSE_SENDS = (
    "table inet refuse { chain out { type filter hook output priority 0;"
    f" udp sport {plan.PORT} drop; }}; }}"
)


@dataclass(frozen=True)
class Cipher:
    """A data channel cipher. ``mark`` is where a packet has what tells it from all others."""

    name: str
    options: tuple[str, ...] = ()
    mark: int = 4  # behind opcode and peer-id: the packet id

    @property
    def settings(self) -> tuple[str, ...]:
        """What both ends are told."""
        return (f"data-ciphers {self.name}", *self.options)


AES_256_GCM = Cipher("AES-256-GCM")
CHACHA20_POLY1305 = Cipher("CHACHA20-POLY1305")
# Behind the HMAC, which is 32 bytes long: the IV. The packet id is encrypted.
AES_256_CBC = Cipher("AES-256-CBC", ("auth SHA256",), mark=4 + 32)
CIPHERS = (AES_256_GCM, CHACHA20_POLY1305, AES_256_CBC)


@dataclass(frozen=True)
class Outcome:
    """What one run has written down."""

    nonces: Nonces
    wire: Wire


class SplitBrain:
    """A lab whose nodes' OpenVPN is traced, with traffic from both nodes to one client."""

    def __init__(self, lab: Lab, cipher: Cipher) -> None:
        self.lab = lab
        self._cipher = cipher
        self._helpers: list[Process] = []

    def begin(self) -> None:
        """Start the cluster, the client and the traffic; a serves."""
        self.lab.start_cluster()
        self._expect_cipher(self.lab.start_client())
        self.lab.wait_standbys()
        self._start_helpers()
        self.both_send("a")

    def end(self) -> Outcome:
        """Stop the traffic and count."""
        for helper in self._helpers:
            helper.discard()
        traces = {path.name: path.read_text().splitlines() for path in traces_of(self.lab)}
        wire = wire_of(self.lab).read_text().splitlines()
        return Outcome(count(traces), compare(wire, traces))

    def discard(self) -> None:
        """End what the lab does not know of."""
        for helper in self._helpers:
            helper.discard()

    def _expect_cipher(self, client: Client) -> None:
        """The client says that it uses the cipher."""
        said = f"cipher '{self._cipher.name}'"
        wait_until(lambda: any(said in line.text for line in client.log()), said, SECONDS)

    def _start_helpers(self) -> None:
        lab, wire = self.lab, wire_of(self.lab)
        self._helpers = [
            sniffer(lab, self._cipher.mark),
            *(source(lab, name) for name in lab.nodes),
        ]
        for helper in self._helpers:
            helper.start()
        wait_until(lambda: wire.exists() and wire.stat().st_size, "sniffer", SECONDS)

    def nonces_of(self, name: str) -> list[str]:
        """What this node's OpenVPN has written down so far."""
        path = trace_of(self.lab, self.lab.nodes[name].openvpn.pid)
        return path.read_text().splitlines() if path.exists() else []

    def _sent(self, name: str) -> int:
        return len(self.nonces_of(name))

    def both_send(self, *names: str) -> None:
        """Wait until each of these nodes has used many more nonces."""
        before = {name: self._sent(name) for name in names}
        wait_until(
            lambda: all(self._sent(name) > before[name] + BURST for name in names),
            f"{' and '.join(names)} send",
            SECONDS,
        )

    def give_vip(self, name: str) -> None:
        """The VIP comes to this node, wherever else it is."""
        for segment in (plan.OUT, plan.LAN):
            topology.change_vip(self.lab.topology.namespace(name), segment, "add")

    def take_vip(self, name: str) -> None:
        """The VIP leaves this node."""
        for segment in (plan.OUT, plan.LAN):
            topology.change_vip(self.lab.topology.namespace(name), segment, "del")

    def bcn(self, name: str, state: str) -> None:
        """Cut this node's BCN (``down``) or repair it (``up``)."""
        command = ["ip", "-n", self.lab.topology.namespace(name), "link", "set", plan.BCN.interface]
        subprocess.run([*command, state], check=True)

    @contextmanager
    def sends_fail(self, name: str) -> Iterator[None]:
        """Every sendto() of this node's OpenVPN fails: the packet is lost, its nonce is used."""
        run_in = ["ip", "netns", "exec", self.lab.topology.namespace(name), "nft"]
        subprocess.run([*run_in, _REFUSE_SENDS], check=True)
        try:
            yield
        finally:
            subprocess.run([*run_in, "delete table inet refuse"], check=True)

    def freeze(self, name: str, other: str) -> None:
        """Stop one OpenVPN in the middle of whatever it does, and let it go on later."""
        self.lab.nodes[name].openvpn.signal(signal.SIGSTOP)
        self.both_send(other)
        self.lab.nodes[name].openvpn.signal(signal.SIGCONT)
        self.both_send(name, other)

    def renegotiate(self, name: str) -> None:
        """Ask for new keys; a node that cannot now says so, which is as good here."""
        try:
            self.lab.nodes[name].sidecar.renegotiate()
        except ControlError as error:
            self.lab.say(f"node {name} does not renegotiate: {error}")


def tear(brain: SplitBrain, old: str, new: str) -> None:
    """One round: ``old`` serves, ``new`` is in sync; afterwards it is the other way round."""
    say = brain.lab.say
    say(f"both are master: {new} gets the VIP, {old} keeps it")
    brain.give_vip(new)
    brain.both_send(old, new)
    say(f"{old} freezes and thaws")
    brain.freeze(old, new)
    say(f"what {old} sends does not leave it")
    with brain.sends_fail(old):
        brain.both_send(old, new)
    say("the BCN is cut while both grant and renegotiate")
    brain.renegotiate(new)
    brain.bcn(new, "down")
    brain.both_send(old, new)
    brain.renegotiate(old)
    brain.bcn(new, "up")
    brain.both_send(old, new)
    say(f"{old} loses the VIP and comes back in sync")
    brain.take_vip(old)
    brain.lab.wait_in_sync(old, SECONDS)
    brain.both_send(new)


def tear_apart(brain: SplitBrain, old: str, new: str) -> None:
    """One round with the BCN cut before the second promotion, and repaired after it."""
    brain.lab.say("the BCN is cut, then both are master")
    brain.bcn(new, "down")
    brain.both_send(old)
    brain.give_vip(new)
    brain.both_send(old, new)
    brain.freeze(new, old)
    brain.bcn(new, "up")
    brain.both_send(old, new)
    brain.take_vip(old)
    brain.lab.wait_in_sync(old, SECONDS)


@contextmanager
def traced(
    binary: Path, cipher: Cipher = AES_256_GCM, *, nodes: int = 2, say: bool = False
) -> Iterator[SplitBrain]:
    """A lab whose nodes' OpenVPN is this binary and writes down every nonce."""
    setup = Setup(
        nodes=nodes,
        openvpn=binary.resolve(),
        vip_manager=None,
        server_options=cipher.settings,
        client_options=cipher.settings,
    )
    with traced_lab(setup, (lambda text: print(f"  {text}", flush=True)) if say else quiet) as lab:
        brain = SplitBrain(lab, cipher)
        try:
            yield brain
        finally:
            brain.discard()


def run(rounds: int, cipher: Cipher = AES_256_GCM, *, say: bool = False) -> Outcome:
    """Tear the nodes apart so often, the roles changing each time."""
    with traced(TRACED, cipher, say=say) as brain:
        brain.begin()
        for number in range(rounds):
            old, new = ("a", "b") if number % 2 == 0 else ("b", "a")
            (tear if number % 4 < 2 else tear_apart)(brain, old, new)
        return brain.end()


def run_uncapped(cipher: Cipher = AES_256_GCM, *, say: bool = False) -> Outcome:
    """Both nodes master, and a sender that does not stop at the end of what it owns."""
    with traced(UNCAPPED, cipher, say=say) as brain:
        brain.begin()
        brain.give_vip("b")
        wait_until(lambda: brain.lab.nodes["b"].grade() == GRADE_MASTER, "b is master", SECONDS)
        brain.both_send("a", "b")
        brain.both_send("a", "b")
        return brain.end()


@dataclass(frozen=True)
class Row:
    """One cipher: with the rules kept, and with a planted violation."""

    cipher: str
    kept: Outcome
    planted: Outcome

    @property
    def found(self) -> bool:
        """Whether the planted violation was found."""
        return self.planted.nonces.duplicates > 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong, and could have been."""
        clean = not self.kept.nonces.duplicates and not self.kept.wire.untraced
        return clean and self.found and self.kept.nonces.shared_keys > 0

    def summary(self) -> dict[str, object]:
        """As it stands in the file."""
        return {
            "cipher": self.cipher,
            **asdict(self.kept.nonces),
            "wire": asdict(self.kept.wire),
            "planted_violation_found": self.found,
            "planted": asdict(self.planted.nonces),
        }


def try_cipher(cipher: Cipher, rounds: int) -> Row:
    """Both runs of one cipher."""
    print(f"split brain, {cipher.name}, rules kept", flush=True)
    kept = run(rounds, cipher, say=True)
    print(f"split brain, {cipher.name}, without the cap on packet ids", flush=True)
    return Row(cipher.name, kept, run_uncapped(cipher, say=True))


def summarise(rows: Sequence[Row], rounds: int) -> dict[str, object]:
    """All ciphers together, then each of them."""
    wires = [row.kept.wire for row in rows]
    wire = Wire(
        packets=sum(one.packets for one in wires),
        senders=min(one.senders for one in wires),
        untraced=sum(one.untraced for one in wires),
    )
    return {
        **asdict(total([row.kept.nonces for row in rows])),
        "wire": asdict(wire),
        "rounds": rounds,
        "planted_violation_found": all(row.found for row in rows),
        "planted": asdict(total([row.planted.nonces for row in rows])),
        "ciphers": [row.summary() for row in rows],
    }


def main(arguments: list[str]) -> int:
    """Run, write the summary, give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.splitbrain")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    options = parser.parse_args(arguments)
    rows = [try_cipher(cipher, options.rounds) for cipher in CIPHERS]
    summary = json.dumps(summarise(rows, options.rounds), indent=2)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "split-brain.json").write_text(summary + "\n")
    print(summary)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
