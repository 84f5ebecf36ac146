"""Faults of OpenVPN that Debian's version still has do no harm where ``cluster`` leads there.

The table is in openvpn-patches/README.md; that of hard resets is a unit test.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN, MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.test_digest import BASE
from tests.integration.test_moved_session import management
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.pki import Pki
from tests.lab.session import Session
from tests.lab.waiting import connect, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

DNS = ("dns server 1 address 192.0.2.53", "dns search-domains one.example two.example")
IMPORTS = 3

PASSWORD = "of the management client"
SERVER = f"{BASE}management openvpn.sock unix password\nexplicit-exit-notify 1\nca ca.crt\nverb 3\n"
CLIENT = """\
client
dev tun
proto udp4
remote 127.0.0.1 1194
nobind
ifconfig-noexec
route-noexec
verb 3
ca ca.crt
cert client.crt
key client.key
"""
CONNECTED = "Initialization Sequence Completed"
TOLD = "Connection reset command was pushed by server"
FIGURES = "OpenVPN STATISTICS"
LEFT = "MANAGEMENT: Client disconnected"


def has_the_client(lab: Lab) -> bool:
    figures = lab.nodes["b"].sidecar.instance()
    return figures is not None and figures["clients"] == 1


def test_importing_frees_nothing_of_the_servers_dns_options(make_lab: MakeLab) -> None:
    """A standby that imports one client after the other lives, and serves them.

    Without our part AddressSanitizer ends it at the second (``make integration-asan``); in an
    ordinary build the next client's copy takes the place of what was freed.
    """
    lab = make_lab(vip_manager=None, server_options=DNS)
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    pid = lab.nodes["b"].openvpn.pid
    for _ in range(IMPORTS):
        wait_until(lambda: has_the_client(lab), "the client is imported", PATIENCE)
        with management(lab, "b") as one:
            client, _end = one.ask("cluster-list")
            (dropped,) = one.ask(f"cluster-drop {client.split(',')[0]}")
            assert dropped.startswith("SUCCESS:")
    wait_until(lambda: has_the_client(lab), "the client is imported", PATIENCE)
    lab.wait_in_sync("b")
    assert lab.nodes["b"].openvpn.pid == pid
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    assert session.noticed(since).nothing
    assert session.finish() == ""


class Pair:
    """A server whose management interface asks for a password, and a client of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        pki = Pki(directory)
        pki.issue("server", server=True)
        pki.issue("client", server=False)
        (directory / "password").write_text(f"{PASSWORD}\n")
        (directory / "server.conf").write_text(SERVER)
        (directory / "client.conf").write_text(CLIENT)
        net = "ip link set lo up && exec"
        self.server = self._start("server", f"exec unshare --net sh -c '{net} $0'")
        self._reach().close()  # a stranger: the server has its namespace, and is ready
        self.client = self._start("client", f"exec nsenter --net=/proc/{self.server.pid}/ns/net $0")

    def _start(self, name: str, script: str) -> subprocess.Popen[bytes]:
        command = f"{OPENVPN} --cd {self._directory} --config {name}.conf"
        script = script.replace("$0", command)
        with (self._directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(["sh", "-c", script], stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def _reach(self) -> socket.socket:
        return connect(self._directory / "openvpn.sock", "the management socket", PATIENCE)

    def count(self, name: str, text: str) -> int:
        """How often a process has said that."""
        return (self._directory / f"{name}.log").read_text().count(text)

    @contextmanager
    def sidecar(self) -> Iterator[socket.socket]:
        """Who knows the password; it is gone afterwards, and the server has seen that."""
        with self._missed(), self._reach() as one:
            self.ask(one, PASSWORD)
            yield one

    def ask(self, one: socket.socket, line: str) -> None:
        one.sendall(f"{line}\n".encode())
        said = b""
        while b"SUCCESS: " not in said:
            more = one.recv(4096)
            assert more, f"{line}: {said!r}"
            said += more

    def come_and_go(self) -> None:
        """Somebody who does not know the password."""
        with self._missed(), self._reach() as one:
            assert one.recv(100).startswith(b"ENTER PASSWORD:")

    @contextmanager
    def _missed(self) -> Iterator[None]:
        before = self.count("server", LEFT)
        yield
        wait_until(lambda: self.count("server", LEFT) > before, "the client left", PATIENCE)

    def is_told(self) -> bool:
        """Whether the client has been told that its server ends, which has ended.

        It has read all that came, and between two signals it has done what follows of that.
        """
        wait_until(self._has_read, "the client reads", PATIENCE)
        for _ in range(2):
            before = self.count("client", FIGURES)
            self.client.send_signal(signal.SIGUSR2)
            turn = "the client's turn"
            wait_until(lambda: self.count("client", FIGURES) > before, turn, PATIENCE)  # noqa: B023
        return self.count("client", TOLD) > 0

    def _has_read(self) -> bool:
        """Whether nothing waits in the sockets of the client's network."""
        lines = Path(f"/proc/{self.client.pid}/net/udp").read_text().splitlines()[1:]
        return all(line.split()[4].endswith(":00000000") for line in lines)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path / "pair")
    yield made
    for process in reversed(made.processes):
        process.kill()
        process.wait()


@pytest.mark.parametrize(("wait", "told"), [("on", False), ("off", True)])
def test_who_gave_no_password_is_not_missed(pair: Pair, wait: str, told: bool) -> None:
    """A server that ends soon after its sidecar says no goodbye if a standby had the clients."""
    with pair.sidecar() as one:
        pair.ask(one, "cluster-promote 1/a")
        wait_until(lambda: pair.count("client", CONNECTED), "the client is connected", PATIENCE)
        pair.ask(one, f"cluster-wait {wait}")
    pair.come_and_go()
    pair.server.terminate()
    assert pair.server.wait(PATIENCE) == 0
    assert pair.is_told() is told
