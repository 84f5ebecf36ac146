"""One lab, from bare namespaces to a cluster with clients: a context manager.

Inside the ``with`` block the networks exist; what runs in them is started step by step by who
uses the lab (``scenarios`` or a test). Leaving the block, in whatever way, takes everything away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from tests.lab import plan, sidecar, topology
from tests.lab.cleanup import Claim, clean
from tests.lab.node import Node, Setup
from tests.lab.openvpn import Client, Transport, client_config, server_config
from tests.lab.pki import Pki
from tests.lab.process import Process
from tests.lab.traffic import ProbeStream, TcpSession
from tests.lab.vip_manager import VipProgram
from tests.lab.vips import VipHistory
from tests.lab.waiting import wait_until

GRADE_MASTER = 120
GRADE_IN_SYNC = 90
START_SECONDS = 60.0


def quiet(_text: str) -> None:
    """Progress that nobody watches."""


class Lab:
    """A cluster, a client network, a LAN and a BCN. ``say`` is told each step."""

    def __init__(
        self, setup: Setup, say: Callable[[str], None] = quiet, *, keep_logs: bool = False
    ) -> None:
        self.setup = setup
        self.say = say
        self.run_id = plan.new_run_id()
        self.directory = plan.run_directory(self.run_id)
        self.nodes: dict[str, Node] = {}
        self.clients: list[Client] = []
        self._traffic: list[Process] = []
        self._keep_logs = keep_logs
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        clean()
        with ExitStack() as stack:
            self.say("building networks")
            stack.enter_context(Claim(self.run_id, keep=self._keep_logs))
            names = plan.node_names(self.setup.nodes)
            networks = (self.setup.vip_manager or VipProgram).topology
            self.topology = stack.enter_context(networks(self.run_id, names))
            self._prepare()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self.say("taking it away")
        for process in self._processes():
            process.discard()
        self._stack.close()

    def _processes(self) -> Iterator[Process]:
        """Everything that was started or may have been; what is left dies with its namespace."""
        for node in self.nodes.values():
            yield from node.processes
        yield from (client.process for client in self.clients)
        yield from self._traffic
        yield self.vips.process

    def _prepare(self) -> None:
        self.pki = Pki(self.directory / "pki")
        self.pki.issue("server", server=True)
        self._write_server_config()
        for name in self.topology.nodes:
            namespace = self.topology.namespace(name)
            self.nodes[name] = Node(name, self.setup, self.directory, namespace)
        if self.setup.seamless:
            manager = self.setup.vip_manager or VipProgram
            sidecar.write_shared_files(
                self.directory,
                self.topology,
                self.setup.transport.vips,
                manager.known_as,
                conntrack=self.setup.conntrack,
            )
        if not (self.setup.seamless and self.setup.patched):
            self._allow_foreign_bind()
        self.vips = VipHistory(self.topology, self.directory)

    def _write_server_config(self) -> None:
        text = server_config(
            self.pki.directory,
            keepalive=self.setup.keepalive,
            transport=self.setup.transport,
            cluster=self.setup.seamless and self.setup.patched,
            tls_crypt=self.setup.tls_crypt,
            network=self.setup.network,
            options=self.setup.server_options,
        )
        (self.directory / "server.conf").write_text(text)

    def _allow_foreign_bind(self) -> None:
        """What people who bind a standby to the VIP do today; ``cluster`` needs no such thing."""
        values = {"net/ipv4/ip_nonlocal_bind": "1", "net/ipv6/ip_nonlocal_bind": "1"}
        for name in self.topology.nodes:
            topology.set_sysctls(self.topology.namespace(name), values)

    def start_cluster(self) -> None:
        """Start all nodes; on return node a has the addresses and serves."""
        self.say("starting the cluster")
        self.vips.start()
        for node in self.nodes.values():
            node.start()
        if self.setup.seamless:
            wait_until(self._all_graded, "a grade from every sidecar", START_SECONDS)
        self._give_vips()

    def _give_vips(self) -> None:
        """Let the first node have the addresses, then the others want them."""
        first, *others = self.nodes.values()
        if self.setup.vip_manager is None:
            self.move_vips(first.name)
        else:
            first.vip_manager.start()
        self.wait_master(first.name)
        if self.setup.vip_manager is not None:
            for node in others:
                node.vip_manager.start()

    def boot_at_once(self) -> str:
        """Start everything on all nodes at the same time; the node that serves then."""
        self.say("all nodes boot at once")
        self.vips.start()
        for node in self.nodes.values():
            node.start()
            node.vip_manager.start()
        what = "one of the nodes that boot at once serves"
        name = wait_until(self._serving, what, 2 * START_SECONDS)
        self.wait_standbys(2 * START_SECONDS)
        return name

    def _serving(self) -> str:
        holder = self.vips.holder()
        return holder if holder and self.nodes[holder].grade() == GRADE_MASTER else ""

    def _all_graded(self) -> bool:
        for node in self.nodes.values():
            node.openvpn.expect_running()
            node.sidecar.process.expect_running()
        return all(node.grade() is not None for node in self.nodes.values())

    def wait_master(self, name: str, seconds: float = START_SECONDS) -> None:
        """Wait until this node has the addresses and serves."""
        what = f"node {name} becomes master"
        wait_until(lambda: self.vips.holder() == name, f"{what}: the VIP is there", seconds)
        if self.setup.seamless:
            node = self.nodes[name]
            wait_until(lambda: node.grade() == GRADE_MASTER, f"{what}: grade 120", seconds)

    def wait_in_sync(self, name: str, seconds: float = START_SECONDS) -> None:
        """Wait until this node is a standby that holds every client."""
        if self.setup.seamless:
            self.say(f"waiting until node {name} is in sync")
            node = self.nodes[name]
            what = f"node {name} is in sync (grade {GRADE_IN_SYNC})"
            wait_until(lambda: node.grade() == GRADE_IN_SYNC, what, seconds)
            wait_until(node.is_settled, f"node {name} can take the addresses", seconds)

    def wait_standbys(self, seconds: float = START_SECONDS) -> None:
        """Wait until every node but the master is in sync."""
        master = self.master.name
        for name in self.nodes:
            if name != master:
                self.wait_in_sync(name, seconds)

    @property
    def master(self) -> Node:
        """The node that has the addresses."""
        return self.nodes[self.vips.wait_holder()]

    def other(self, name: str) -> str:
        """The node that is not ``name``, of the two that there are."""
        (found,) = (node for node in self.nodes if node != name)
        return found

    def move_vips(self, name: str | None) -> None:
        """Move both addresses by hand, to a node or (None) to nowhere; needs no VIP manager."""
        holder = self.vips.holder()
        for segment in (plan.OUT, plan.LAN):
            if holder is not None:
                topology.change_vip(self.topology.namespace(holder), segment, "del")
            if name is not None:
                topology.change_vip(self.topology.namespace(name), segment, "add")

    def start_client(self, name: str = "client") -> Client:
        """Start the stock client and wait until it is connected."""
        self.say("connecting the client")
        client = self.launch_client(name)
        client.wait_connected()
        return client

    def launch_client(self, name: str = "client") -> Client:
        """Start the stock client."""
        return self._make_client(name, ["dev tun0", *self.setup.client_options])

    def start_clients(self, count: int) -> list[Client]:
        """Start many clients at once, each with a device of its own and no routes."""
        self.say(f"connecting {count} clients")
        clients = [self.launch_beside(f"many{index}") for index in range(count)]
        for client in clients:
            client.wait_connected(seconds=30.0 + count)
        return clients

    def launch_beside(
        self,
        name: str,
        options: Sequence[str] = (),
        host: str = "client",
        transport: Transport | None = None,
    ) -> Client:
        """Start one more client, with a device of its own and no routes; where others are, too."""
        more = ["route-nopull", "route-noexec", *self.setup.client_options, *options]
        device = f"dev tun{len(self.clients) + 1}"
        return self._make_client(name, [device, *more], host, transport)

    def _make_client(
        self,
        name: str,
        options: list[str],
        host: str = "client",
        transport: Transport | None = None,
    ) -> Client:
        self.pki.issue(name, server=False)
        config = self.directory / f"{name}.conf"
        text = client_config(
            self.pki.directory,
            name,
            transport or self.setup.transport,
            options,
            tls_crypt=self.setup.tls_crypt,
        )
        config.write_text(text)
        process = Process(
            [self.setup.client_openvpn, "--config", config],
            namespace=self.topology.namespace(host),
            directory=self.directory,
            log=self.directory / f"{name}.log",
        )
        self.clients.append(Client(process))
        process.start()
        return self.clients[-1]

    def start_probes(self) -> tuple[ProbeStream, ProbeStream]:
        """Start the streams client → LAN host and LAN host → client."""
        self.say("starting probes and the TCP session")
        client, lan = (self.topology.namespace(name) for name in ("client", "lan"))
        inside = self.tunnel_address()
        forward = ProbeStream("probe-forward", client, plan.LAN.address(100), self.directory)
        reverse = ProbeStream("probe-reverse", lan, inside, self.directory)
        self._traffic += [forward.process, reverse.process]
        return forward.start(), reverse.start()

    def start_tcp(self) -> TcpSession:
        """Start the TCP session between client and LAN host."""
        client, lan = (self.topology.namespace(name) for name in ("client", "lan"))
        session = TcpSession(client, lan, self.directory)
        self._traffic += session.processes
        return session.start()

    def look_after(self, process: Process) -> Process:
        """End this process, too, when the lab ends."""
        self._traffic.append(process)
        return process

    def tunnel_address(self) -> str:
        """The client's address inside the tunnel."""
        found = topology.addresses(self.topology.namespace("client"), "tun0")
        return next(address for address in found if "." in address)
