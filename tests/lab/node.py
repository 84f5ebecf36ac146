"""One server of the lab: OpenVPN, the sidecar and a VIP manager in one namespace.

A node that runs stock OpenVPN (control) has no sidecar. What differs between the nodes is their
name and directory; OpenVPN's and the sidecar's configuration are each one file for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import plan
from tests.lab.conntrackd import Conntrackd
from tests.lab.errors import LabError
from tests.lab.keepalived import Keepalived
from tests.lab.openvpn import ROUTED, STOCK, Transport
from tests.lab.process import Process
from tests.lab.rules import Rules, apply_rules
from tests.lab.sidecar import Sidecar
from tests.lab.vip_manager import PRIORITY, ManagedNode, VipManager, VipProgram, preferred_of


@dataclass(frozen=True)
class Setup:
    """What kind of cluster a lab builds, and of how many nodes.

    ``seamless`` is ovpnha; otherwise it is the control run, stock OpenVPN with the same VIP manager
    and timing. Without ``patched`` it is ovpnha beside stock
    OpenVPN. ``vip_manager`` None: the addresses are moved by hand. ``priorities`` are those of
    the first nodes, where the usual ones (``PRIORITY``) will not do. Without ``tls_crypt`` the
    options say how the control channel is protected, if at all. ``network`` is what clients are
    connected to. ``rules`` are the firewall of every
    node; with ``conntrack`` its entries travel, and it is as docs/operations.md has it.
    """

    nodes: int = 2
    openvpn: Path = STOCK
    client_openvpn: Path = STOCK
    seamless: bool = True
    patched: bool = True
    vip_manager: type[VipProgram] | None = Keepalived
    keepalive: str = "10 60"
    transport: Transport = field(default_factory=Transport)
    tls_crypt: bool = True
    network: tuple[str, ...] = ROUTED
    server_options: tuple[str, ...] = ()
    client_options: tuple[str, ...] = ()
    priorities: tuple[int, ...] = ()
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
        managed = self._managed()
        self._vip_program = setup.vip_manager(managed) if setup.vip_manager else None

    @property
    def vip_manager(self) -> VipManager:
        """Its VIP manager; LabError where the addresses are moved by hand."""
        if self._vip_program is None:
            raise LabError(f"node {self.name} has no VIP manager")
        return self._vip_program

    def is_settled(self) -> bool:
        """Whether its VIP manager, if it has one, could be given the addresses now."""
        return self._vip_program is None or self._vip_program.is_settled()

    @property
    def grade_file(self) -> Path:
        """The file that the sidecar writes for the VIP manager."""
        return self.directory / "udp.grade"

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them, the VIP manager first: it shall not act on the end of the others."""
        managers = () if self._vip_program is None else self._vip_program.processes
        return (*managers, self.sidecar.process, self.openvpn, self.conntrackd.process)

    def grade(self) -> int | None:
        """What the sidecar last said about this node, None while the one that runs said nothing.

        A file from before its start is what another one said: who waits for a node that was
        started again must not take that for news.
        """
        sidecar = self.sidecar.process
        try:
            written = self.grade_file.stat().st_mtime_ns
            said = int(self.grade_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return None if sidecar.running and written < sidecar.begun_ns else said

    def start(self) -> None:
        """Start everything but the VIP manager."""
        apply_rules(self.namespace, self._setup.rules, guarded=self._setup.conntrack)
        if self._setup.conntrack:
            self.conntrackd.start()
        self.openvpn.start()
        if self._setup.seamless:
            self.sidecar.process.start()

    def _make_openvpn(self) -> Process:
        return Process(
            [self._setup.openvpn, "--cd", self.directory, "--config", "../server.conf"],
            namespace=self.namespace,
            directory=self.directory,
            log=self.directory / f"openvpn-{self.name}.log",
        )

    def _managed(self) -> ManagedNode:
        names = plan.node_names(self._setup.nodes)
        given = dict(zip(names, self._setup.priorities, strict=False))
        priorities = {name: given.get(name, PRIORITY - at) for at, name in enumerate(names)}
        return ManagedNode(
            name=self.name,
            namespace=self.namespace,
            directory=self.directory,
            grade_file=self.grade_file,
            pid_file=self.directory / "openvpn.pid",
            priority=priorities[self.name],
            advert_interval=self._setup.advert_interval,
            seamless=self._setup.seamless,
            preferred=preferred_of(priorities),
            priorities=priorities,
        )
