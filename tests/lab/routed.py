"""Networks without a LAN between the nodes: each node has links of its own to two routers.

``outer`` stands between the clients and the nodes, ``inner`` between the nodes, and before the LAN:

    client ── outer ──┬── a ──┬── inner ── lan
                      └── b ──┘

Every link is a network of its own; the back channel goes through ``inner``, too. FRR runs on both
routers and on every node, there with the file of ``deploy/frr``: it is part of the network here,
and keepalived (``tests/lab/frr.py``) decides what it carries.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, ClassVar

from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.plan import Host, Segment
from tests.lab.process import Process
from tests.lab.topology import Topology
from tests.lab.waiting import wait_until

SOURCE = Path(__file__).parents[2] / "deploy" / "frr"
PROGRAMS = Path("/usr/lib/frr")
DAEMONS = ("zebra", "ospfd", "ospf6d", "bfdd")
VIP_INTERFACE = "vip0"
OUTER, INNER = "outer", "inner"
ROUTER_NUMBER = 1
SECONDS = 30.0
CLIENTS = Segment("out", "out0", IPv4Network("10.99.4.0/24"), IPv6Network("2001:db8:54::/64"))
_SECOND = {"out": 98, "lan": 97, "bcn": 96}


def link_of(segment: Segment, node: str) -> Segment:
    """The network between a node and the router that stands where ``segment`` is elsewhere."""
    number, second = plan.node_number(node), _SECOND[segment.name]
    return Segment(
        f"{segment.name}-{node}",
        segment.interface,
        IPv4Network(f"10.{second}.{number}.0/24"),
        IPv6Network(f"2001:db8:{second}{number}::/64"),
    )


def address_of(node: str, segment: Segment) -> str:
    """A node's own address on its link."""
    return link_of(segment, node).address(plan.node_number(node))


def frr_directory(run_id: str, host: str) -> Path:
    """Where FRR of a host has its files."""
    return plan.run_directory(run_id) / f"frr-{host}"


class Frr:
    """FRR of one host: a process for each daemon."""

    def __init__(self, run_id: str, host: str, config: str) -> None:
        self.home = frr_directory(run_id, host)
        self.home.mkdir()
        shutil.chown(self.home, "frr", "frr")
        (self.home / "frr.conf").write_text(config)
        (self.home / "vtysh.conf").touch()
        self._namespace = plan.namespace(run_id, host)
        names = (*DAEMONS, "staticd") if host in {OUTER, INNER} else DAEMONS
        self.daemons = {name: self._daemon(name, host) for name in names}

    def _daemon(self, name: str, host: str) -> Process:
        home = self.home
        bfdd = ("--bfdctl", home / "bfdd.sock") if name == "bfdd" else ()
        return Process(
            [
                *(PROGRAMS / name, "-f", "/dev/null", "-i", home / f"{name}.pid"),
                *("-z", home / "zserv.api", "--vty_socket", home, *bfdd),
                *("--log", f"file:{home}/{name}.log", "-P", "0"),
            ],
            namespace=self._namespace,
            directory=home,
            log=home.parent / f"{name}-{host}.log",
        )

    def start(self) -> None:
        """Start all, and give them their configuration."""
        self.daemons["zebra"].start()
        wait_until((self.home / "zserv.api").exists, f"zebra of {self.home.name}", SECONDS)
        for name, daemon in self.daemons.items():
            if name != "zebra":
                daemon.start()
        self.configure()

    def configure(self) -> None:
        """Give the configuration to every daemon, as watchfrr has it done after a death."""
        for name in self.daemons:
            socket = self.home / f"{name}.vty"
            wait_until(socket.exists, f"{name} of {self.home.name} takes commands", SECONDS)
        self._vtysh("-f", str(self.home / "frr.conf"))

    def restart(self, name: str) -> None:
        """Start a daemon that has died; zebra's death is one of all, as for watchfrr."""
        names = list(self.daemons) if name == "zebra" else [name]
        for one in names:
            self.daemons[one].discard()
            (self.home / f"{one}.vty").unlink(missing_ok=True)
        if name == "zebra":
            (self.home / "zserv.api").unlink(missing_ok=True)
            self.start()
        else:
            self.daemons[name].start()
            self.configure()

    def show(self, what: str) -> Any:
        """The answer to ``show … json``."""
        return json.loads(self._vtysh("-c", f"show {what} json") or "{}")

    def _vtysh(self, *arguments: str) -> str:
        argv = ["ip", "netns", "exec", self._namespace, "vtysh", "--vty_socket", str(self.home)]
        argv += ["--config_dir", str(self.home), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"vtysh {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout


class RoutedTopology(Topology):
    """The networks of one run, and FRR on all that routes."""

    vip_interface: ClassVar[str] = VIP_INTERFACE

    def __enter__(self) -> RoutedTopology:
        if not PROGRAMS.exists():
            raise LabError("there is no FRR here; `deploy/bootstrap.sh lab` installs it")
        with ExitStack() as stack:
            stack.callback(self._stop)
            super().__enter__()
            # FRR's daemons are nobody's: they reach their sockets, and read nothing else.
            plan.run_directory(self.run_id).chmod(0o711)
            self._make_places()
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        super().__exit__(*error)

    @property
    def bcn_links(self) -> str:
        """By unicast, since no broadcast crosses a router."""
        nodes = json.dumps([address_of(node, plan.BCN) for node in self.nodes])
        link = f'interface = "{plan.BCN.interface}", nodes = {nodes}'
        return f'mode = "unicast"\nlinks = [{{ {link} }}]'

    def hosts(self) -> tuple[Host, ...]:
        """Nodes, client and LAN host, and the two routers, whose interfaces are named by links."""
        nodes = tuple(
            Host(one, plan.node_number(one), self._links(one), True) for one in self.nodes
        )
        outer = [CLIENTS, *(self._ports_of(plan.OUT))]
        inner = [plan.LAN, *self._ports_of(plan.LAN), *self._ports_of(plan.BCN)]
        return (
            *nodes,
            Host("client", plan.OTHERS, (CLIENTS,)),
            Host("lan", plan.OTHERS, (plan.LAN,)),
            Host(OUTER, ROUTER_NUMBER, tuple(outer), routes=True),
            Host(INNER, ROUTER_NUMBER, tuple(inner), routes=True),
        )

    def programs(self, host: str) -> tuple[Process, ...]:
        """FRR's daemons."""
        return tuple(self.frr[host].daemons.values())

    def segments(self) -> tuple[Segment, ...]:
        """Each link, the clients' network and the LAN."""
        return (CLIENTS, plan.LAN, *(one for node in self.nodes for one in self._links(node)))

    def _links(self, node: str) -> tuple[Segment, ...]:
        return tuple(link_of(segment, node) for segment in plan.SEGMENTS)

    def _ports_of(self, segment: Segment) -> list[Segment]:
        links = [link_of(segment, node) for node in self.nodes]
        return [dataclasses.replace(link, interface=link.name) for link in links]

    def add_routes(self, host: str, route: Any) -> None:
        """What OSPF does not tell: the ends' way out, and between the nodes the back channel."""
        gateways = {"client": CLIENTS, "lan": plan.LAN}
        if host in gateways:
            gateway = gateways[host]
            route.route("add", dst="0.0.0.0/0", gateway=gateway.address(ROUTER_NUMBER))
            route.route("add", dst="::/0", gateway=gateway.address6(ROUTER_NUMBER))
        elif host in self.nodes:
            link = link_of(plan.BCN, host)
            route.route("add", dst="10.96.0.0/16", gateway=link.address(ROUTER_NUMBER))

    def _make_places(self) -> None:
        """``vip0`` of every node: this kernel may have no dummy interfaces."""
        for node in self.nodes:
            where = ("ip", "-n", self.namespace(node), "link")
            other = f"{VIP_INTERFACE}p"
            pair = ("add", VIP_INTERFACE, "type", "veth", "peer", "name", other)
            for command in (pair, ("set", VIP_INTERFACE, "up"), ("set", other, "up")):
                subprocess.run([*where, *command], check=True)

    def _start(self) -> None:
        configs = {node: _node_config(node) for node in self.nodes}
        outer = [one.interface for one in self._ports_of(plan.OUT)]
        inner = [one.interface for one in self._ports_of(plan.LAN)]
        configs[OUTER] = _router_config(outer, CLIENTS, 1, "")
        configs[INNER] = _router_config(inner, plan.LAN, 2, _TUNNELS)
        self.frr = {host: Frr(self.run_id, host, text) for host, text in configs.items()}
        for one in self.frr.values():
            one.start()

    def _stop(self) -> None:
        for one in getattr(self, "frr", {}).values():
            for process in one.daemons.values():
                process.discard()


_TUNNELS = f"""\
ip route {plan.TUNNEL} {plan.LAN.vip}
ipv6 route {plan.TUNNEL6} {plan.LAN.vip6}
"""


def _node_config(node: str) -> str:
    """What users start from, with the lab's names."""
    text = (SOURCE / "frr.conf").read_text()
    names = {
        "interface eth0\n": f"interface {plan.OUT.interface}\n",
        "interface eth1\n": f"interface {plan.LAN.interface}\n",
        "router-id 192.0.2.11\n": f"router-id 10.0.0.{plan.node_number(node)}\n",
    }
    for old, new in names.items():
        if old not in text:
            raise LabError(f"{SOURCE}/frr.conf has no {old!r} any more")
        text = text.replace(old, new)
    return text


def _router_config(links: list[str], passive: Segment, number: int, routes: str) -> str:
    """A router: the nodes' own file with other interfaces."""
    head, rest = (SOURCE / "frr.conf").read_text().split("interface eth0\n")
    link = rest.partition("exit\n")[0]
    tail = rest[rest.index("interface vip0\n") :].replace(VIP_INTERFACE, passive.interface)
    tail = tail.replace("192.0.2.11", f"10.0.1.{number}")
    return head + "".join(f"interface {name}\n{link}exit\n!\n" for name in links) + tail + routes
