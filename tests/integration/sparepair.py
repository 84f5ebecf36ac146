"""A server of two OpenVPN processes on one machine, led by the test itself over their sockets.

No sidecar: the test hands the descriptors on, carries records and receive marks, and says who
serves. A stock client is connected, and datagrams with numbers run through its tunnel both ways.
"""

from __future__ import annotations

import array
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tests.integration.pace import PATIENCE
from tests.integration.sparestreams import ROOM, SO_RCVBUFFORCE, Stream, Streams
from tests.lab.clientlog import LogLine
from tests.lab.openvpn import STOCK, Client
from tests.lab.pki import Pki
from tests.lab.process import Process
from tests.lab.topology import inside
from tests.lab.waiting import connect, wait_until

SERVER_ADDRESS, CLIENT_ADDRESS = "10.99.0.1", "10.99.0.2"
PORT = 1194
INSIDE = "10.8.0.1"
ROUTE = "10.55.0.0/16"
AMPLE = 1 << 28
"""Packet ids of a key that nobody was granted any of, and no others."""
TELL = '#!/bin/sh\necho "{word} $PPID $*" >>{log}\n'
SERVER = """\
local {address}
port 1194
proto udp4
dev tun0
topology subnet
server 10.8.0.0 255.255.255.0
route 10.55.0.0 255.255.0.0
ca {pki}/ca.crt
cert {pki}/server.crt
key {pki}/server.key
tls-crypt {pki}/tls-crypt.key
dh none
keepalive 10 60
persist-key
verb 4
writepid openvpn.pid
status openvpn.status 1
ifconfig-pool-persist pool 1
script-security 2
up {home}/up.sh
down {home}/down.sh
learn-address {home}/learn.sh
explicit-exit-notify 1
cluster
cluster-spare
"""
CLIENT = """\
client
remote {address} {port} udp4
nobind
dev tun
ca {pki}/ca.crt
cert {pki}/{name}.crt
key {pki}/{name}.key
tls-crypt {pki}/tls-crypt.key
remote-cert-tls server
verb 4
machine-readable-output
"""
READY = "SUCCESS:", "ERROR:", "END"


RUNNING = 0.5
"""Seconds of traffic before and after something happens."""
ADDED = ["add 10.8.0.2 client"]
UP = ["tun0 1500 0 10.8.0.1 255.255.255.0 init"]
RESTARTED = ("SIGUSR1", "Inactivity timeout", "Restart pause")


class Managed:
    """One process of the server, and whoever leads it."""

    def __init__(self, process: Process, path: Path) -> None:
        self.process = process
        self.path = path
        self.heard: list[str] = []
        self.given: list[int] = []
        self._socket: socket.socket | None = None
        self._pending = b""

    def start(self) -> Self:
        """Start it, and take its management interface."""
        self.path.unlink(missing_ok=True)
        self.process.start()
        self.reach()
        return self

    def reach(self) -> None:
        """Connect anew."""
        self.leave()
        self._socket = connect(self.path, f"the socket of {self.process.name}", PATIENCE)
        self._pending = b""
        self.heard = []

    def leave(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Say something, with descriptors."""
        assert self._socket is not None
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._socket.sendmsg([text.encode()], rights)

    def ask(self, command: str, fds: Sequence[int] = ()) -> list[str]:
        """The lines of the answer; what it tells meanwhile is in ``heard``."""
        self.send(f"{command}\n", fds)
        return self.answer()

    def answer(self) -> list[str]:
        """The next answer."""
        found: list[str] = []
        while not found or not found[-1].startswith(READY):
            line = self._line()
            (self.heard if line.startswith(">") else found).append(line)
        return found

    def one(self, command: str, fds: Sequence[int] = ()) -> str:
        """The only line of an answer."""
        (line,) = self.ask(command, fds)
        return line

    def expect(self, text: str) -> None:
        """Wait until it tells this by itself."""
        while not any(text in line for line in self.heard):
            line = self._line()
            assert line.startswith(">"), line
            self.heard.append(line)

    def status(self) -> dict[str, str]:
        """What cluster-status says, once it has started."""

        def known() -> str:
            line = self.one("cluster-status")
            return "" if "not-ready" in line else line

        line = wait_until(known, f"{self.process.name} has started", PATIENCE)
        return dict(word.split("=", 1) for word in line.split(" ", 2)[2].split(","))

    def descriptors(self) -> list[int]:
        """Its socket and its tun."""
        before = len(self.given)
        assert self.one("cluster-descriptors") == "SUCCESS: cluster-descriptors"
        return self.given[before:]

    def take_given(self) -> list[int]:
        """What came along since the last call, to be closed by the caller."""
        given, self.given = self.given, []
        return given

    def ends(self) -> int:
        """Wait for its end; its exit code."""
        self.leave()
        return self.process.wait(PATIENCE)

    def _line(self) -> str:
        assert self._socket is not None
        while b"\n" not in self._pending:
            data, fds, _flags, _ = socket.recv_fds(self._socket, 4096, 4)
            self.given += fds
            assert data, f"{self.process.name} has closed the connection"
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode().rstrip("\r")


class SparePair:
    """The machine, its client, and two processes ``a`` and ``b`` of one configuration."""

    def __init__(self, home: Path, binary: Path) -> None:
        self.home = home
        self.binary = binary
        self.nonces = home / "nonces"
        self.nonces.mkdir()
        self.server, self.client = (f"spare-{os.getpid()}-{one}" for one in ("s", "c"))
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        for name in (self.server, self.client):
            run("ip", "netns", "add", name)
            self._stack.callback(run, "ip", "netns", "del", name)
        run(
            *f"ip link add veth0 netns {self.server} type veth peer veth0".split(),
            "netns",
            self.client,
        )
        for name, address in ((self.server, SERVER_ADDRESS), (self.client, CLIENT_ADDRESS)):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            for link in ("lo", "veth0"):
                run("ip", "-n", name, "link", "set", link, "up")
        pki = Pki(self.home / "pki")
        for name in ("server", "client", "guest"):
            pki.issue(name, server=name == "server")
        for word in ("up", "down", "learn"):
            script = self.home / f"{word}.sh"
            script.write_text(TELL.format(word=word, log=self.home / "scripts.log"))
            script.chmod(0o755)
        self.write()
        self.a, self.b = self.process("a"), self.process("b")
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def write(self, *, change: tuple[str, str] = ("", ""), name: str = "server.conf") -> None:
        """The configuration of both, or another one, with one thing changed."""
        text = SERVER.format(address=SERVER_ADDRESS, pki=self.home / "pki", home=self.home)
        assert change[0] in text
        (self.home / name).write_text(text.replace(*change) if change[0] else text)

    def process(
        self,
        name: str,
        config: str = "server.conf",
        environment: Mapping[str, str] | None = None,
        *,
        more: Sequence[str | Path] = (),
    ) -> Managed:
        """One more process of the server, not started yet."""
        self._count += 1
        path = self.home / f"{name}.sock"
        argv: list[str | Path] = [self.binary, "--cd", self.home, "--config", config, *more]
        process = Process(
            [*argv, "--management", path, "unix"],
            namespace=self.server,
            directory=self.home,
            log=self.home / f"{name}.log",
            environment={"CLUSTER_TRACE": str(self.nonces / "nonces"), **(environment or {})},
        )
        made = Managed(process, path)
        self._stack.callback(process.discard)
        self._stack.callback(made.leave)
        return made

    def serve(self) -> None:
        """``a`` opens its own and serves, ``b`` has taken them."""
        self.serve_alone()
        self.b.start()
        self.share(self.a, self.b)

    def serve_alone(self) -> None:
        """``a`` opens its own and serves; ``b`` is not started yet."""
        self.a.start()
        assert self.a.status()["descriptors"] == "own"
        assert self.a.one("cluster-promote 1/a").startswith("SUCCESS")

    def share(self, source: Managed, target: Managed) -> None:
        """Hand the descriptors on, to one that takes them."""
        assert self.hand_on(source, target) == "SUCCESS: cluster-take"
        assert target.status()["descriptors"] == "taken"

    def hand_on(self, source: Managed, target: Managed) -> str:
        """Hand the descriptors on, and close our own; what one that waits answers."""
        target.expect(">CLUSTER:WAITING")
        source.descriptors()
        fds = source.take_given()
        assert len(fds) == 2
        answer = target.one("cluster-take", fds)
        for one in fds:
            os.close(one)
        return answer

    def expect_refused(self, source: Managed, target: Managed, why: str) -> None:
        """Hand the descriptors on, to one that says why they do not suit it."""
        answer = self.hand_on(source, target)
        assert answer.startswith(f"ERROR: cluster-take: unsuitable {why}"), answer

    def connect(self, *options: str) -> Client:
        """A stock client, connected; with more lines in its configuration."""
        client = self.begin_client(*options)
        client.wait_connected(PATIENCE)
        return client

    def begin_client(self, *options: str, name: str = "client", port: int = PORT) -> Client:
        """A stock client that connects; ``guest`` is another one."""
        pki = self.home / "pki"
        text = CLIENT.format(address=SERVER_ADDRESS, port=port, pki=pki, name=name)
        if any(one.startswith("lport") for one in options):
            text = text.replace("nobind\n", "")
        (self.home / f"{name}.conf").write_text(text + "".join(f"{one}\n" for one in options))
        process = Process(
            [STOCK, "--config", self.home / f"{name}.conf"],
            namespace=self.client,
            directory=self.home,
            log=self.home / f"{name}.log",
        )
        self._stack.callback(process.discard)
        return Client(process.start())

    def carry(self, source: Managed, target: Managed) -> int:
        """Bring all records from who serves to who does not; how many."""
        holder = target.status()["holder"]
        clients = [line.split(",")[0] for line in source.ask("cluster-list")[:-1]]
        for uid in clients:
            record = source.ask(f"cluster-export {uid} {holder}")
            generation = record[0].split(",")[2]
            lines = "\n".join(record[1:])
            stored = target.one(f"cluster-import {uid} {generation}\n{lines}")
            assert stored.startswith("SUCCESS"), stored
            for grant in stored.split()[4].split(","):
                fingerprint, end = grant.split(":")
                source.one(f"cluster-stored {uid} {fingerprint} {holder} {end}")
        return len(clients)

    def switch(self, old: Managed, new: Managed, epoch: str) -> None:
        """As it is planned: the old one falls silent, the new one serves."""
        for one in (old, new):
            assert one.one("cluster-silence leave").startswith("SUCCESS")
        old.heard.clear()
        assert old.one("cluster-hold").startswith("SUCCESS")
        marks = [line.partition(",")[2] for line in old.heard if line.startswith(">CLUSTER:HW,")]
        for mark in marks:
            new.one(f"cluster-update\nHW,{mark}\nEND")
        assert new.one(f"cluster-promote {epoch}").startswith("SUCCESS")

    @contextmanager
    def streams(self) -> Iterator[Streams]:
        """Datagrams through the tunnel, both ways; counted when the block ends."""
        address = self.tunnel_address()
        ends = []
        for name, own in ((self.server, INSIDE), (self.client, address)):
            with inside(name):
                for _ in range(2):
                    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
                    one.bind((own, 0))
                    ends.append(one)
        both = Streams(Stream(ends[0], ends[2], address), Stream(ends[3], ends[1], INSIDE))
        try:
            both.wait()
            yield both
        finally:
            both.end()

    def renew(self, serving: Managed) -> None:
        """New keys for all clients, with all packet ids again, and nobody in a handshake."""
        assert serving.one("cluster-reneg all").startswith("SUCCESS")

        def renewed() -> bool:
            ample = int(serving.one("cluster-room").rpartition("=")[2]) > AMPLE
            return ample and serving.status()["handshakes"] == "0"

        wait_until(renewed, "new keys", PATIENCE)

    def tunnel_address(self) -> str:
        """Where the client is inside the tunnel."""
        out = run("ip", "-n", self.client, "-br", "-4", "addr", "show", "type", "tun")
        return out.split()[2].partition("/")[0]

    def tun(self) -> tuple[bool, bool]:
        """Whether the server's tun has its address, and its route."""
        addresses = run("ip", "-n", self.server, "-br", "addr")
        routes = run("ip", "-n", self.server, "route")
        return f"{INSIDE}/24" in addresses, ROUTE in routes

    def scripts(self, word: str) -> list[str]:
        """What scripts were called with, without who called them."""
        log = self.home / "scripts.log"
        lines = log.read_text().splitlines() if log.exists() else []
        calls = [line.split(maxsplit=2) for line in lines]
        return [call[2] for call in calls if call[0] == word]

    def pid_file(self) -> int | None:
        """Whose pid is in the file."""
        path = self.home / "openvpn.pid"
        return int(path.read_text()) if path.exists() else None


def switched(pair: SparePair) -> None:
    """``b`` serves the client, ``a`` is held."""
    pair.connect()
    pair.carry(pair.a, pair.b)
    pair.switch(pair.a, pair.b, "2/b")


def expect_untouched(pair: SparePair) -> None:
    """The end of process a has changed nothing: all is b's now."""
    assert pair.tun() == (True, True)
    assert pair.pid_file() == pair.b.process.pid
    assert pair.scripts("learn") == ADDED
    assert pair.scripts("down") == []


def run(*command: str) -> str:
    """The output of a command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def restarts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines if any(word in line.text for word in RESTARTED)]
