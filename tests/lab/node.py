"""One server of the lab: OpenVPN, the sidecar and keepalived in one namespace.

A node that runs stock OpenVPN (control) has no sidecar. What differs between the nodes is their
name and directory; OpenVPN's and the sidecar's configuration are each one file for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import plan
from tests.lab.conntrackd import Conntrackd
from tests.lab.keepalived import KeepalivedSetup, make_keepalived
from tests.lab.openvpn import STOCK, Transport
from tests.lab.process import Process
from tests.lab.rules import Rules, apply_rules
from tests.lab.sidecar import Sidecar


@dataclass(frozen=True)
class Setup:
    """What kind of cluster a lab builds.

    ``seamless`` is ovpnha; otherwise it is the control run, stock OpenVPN with the same keepalived
    timing. Without ``keepalived`` the addresses are moved by hand. ``priorities`` are keepalived's.
    Without ``tls_crypt`` the options say how the control channel is protected, if at all. ``rules``
    are the firewall of both nodes; with ``conntrack`` its entries travel, and it is as
    docs/operations.md has it.
    """

    openvpn: Path = STOCK
    client_openvpn: Path = STOCK
    seamless: bool = True
    keepalived: bool = True
    keepalive: str = "10 60"
    transport: Transport = field(default_factory=Transport)
    tls_crypt: bool = True
    server_options: tuple[str, ...] = ()
    client_options: tuple[str, ...] = ()
    priorities: tuple[int, int] = (100, 99)
    advert_interval: float = 0.05
    rules: Rules = Rules.NONE
    conntrack: bool = False


class Node:
    """The processes of one server."""

    def __init__(self, name: str, setup: Setup, directory: Path, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.directory = directory / name
        self.directory.mkdir()
        self._setup = setup
        self.openvpn = self._make_openvpn()
        config = directory / "ovpnha.toml"
        self.sidecar = Sidecar(name, self.directory, namespace, config)
        self.conntrackd = Conntrackd(name, self.directory, namespace, config)
        self.keepalived = make_keepalived(self._keepalived_setup(), self.directory, namespace)

    @property
    def grade_file(self) -> Path:
        """The file that the sidecar writes and keepalived reads."""
        return self.directory / "udp.grade"

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them, keepalived first, so that it does not act on the end of the others."""
        return (
            self.keepalived,
            self.sidecar.process,
            self.openvpn,
            self.conntrackd.process,
        )

    def grade(self) -> int | None:
        """What the sidecar last said about this node, None while it has said nothing."""
        try:
            return int(self.grade_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def start(self) -> None:
        """Start everything but keepalived."""
        apply_rules(self.namespace, self._setup.rules, guarded=self._setup.conntrack)
        if self._setup.conntrack:
            self.conntrackd.start()
        self.openvpn.start()
        if self._setup.seamless:
            self.sidecar.process.start()

    def restart_keepalived(self) -> None:
        """Stop and start keepalived, as a package upgrade does."""
        self.keepalived.stop()
        self.keepalived.start()

    def _make_openvpn(self) -> Process:
        return Process(
            [self._setup.openvpn, "--cd", self.directory, "--config", "../server.conf"],
            namespace=self.namespace,
            directory=self.directory,
            log=self.directory / f"openvpn-{self.name}.log",
        )

    def _keepalived_setup(self) -> KeepalivedSetup:
        return KeepalivedSetup(
            node=self.name,
            priority=self._setup.priorities[plan.NODES.index(self.name)],
            grade_file=self.grade_file,
            pid_file=self.directory / "openvpn.pid",
            advert_interval=self._setup.advert_interval,
            seamless=self._setup.seamless,
        )
