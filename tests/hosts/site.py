"""A site with one server in use, which becomes a cluster of two by following docs/operations.md."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from ovpnha.runtime.control import ControlError, StatusRequest, ask_plain
from tests.hosts import network, page
from tests.hosts.host import BUILD, HOME, ROOT, SOURCES, Base, Guard, Host
from tests.hosts.network import INSIDE_VIP, VIP, Network
from tests.lab import plan
from tests.lab.cleanup import Claim, clean
from tests.lab.errors import LabError
from tests.lab.openvpn import STOCK, Client
from tests.lab.pki import Pki
from tests.lab.process import Process
from tests.lab.traffic import ProbeStream, TcpSession
from tests.lab.waiting import wait_until

STOCK_UNIT = f"openvpn-server@{page.NAME}"
UNIT = f"openvpn-cluster@{page.NAME}"
TCP_UNIT = "openvpn-server@tcp"
SYNC_SECONDS = 120.0
ANSWER_SECONDS = 5.0
MADE_BEFORE = "venv"  # the command of step 4 that has this word: tree.sh has done it

# What tutorials write.
_SERVER = """\
port 1194
proto udp
dev tun0
topology subnet
server 10.8.0.0 255.255.255.0
push "route 198.51.100.0 255.255.255.0"
ca ca.crt
cert server.crt
key server.key
tls-crypt tls-crypt.key
dh none
keepalive 10 120
persist-key
persist-tun
user nobody
group nogroup
explicit-exit-notify 1
verb 3
"""
_TCP_SERVER = """\
local 192.0.2.10
port 1194
proto tcp-server
dev tun1
server 10.9.0.0 255.255.255.0
ca ca.crt
cert server.crt
key server.key
tls-crypt tls-crypt.key
dh none
keepalive 10 120
verb 3
"""
# With a port of its own: a server that is about to end knows it again (docs/adr/0044).
_CLIENT = """\
client
lport 1195
dev tun0
proto udp
remote 192.0.2.10 1194
ca {pki}/ca.crt
cert {pki}/client.crt
key {pki}/client.key
tls-crypt {pki}/tls-crypt.key
remote-cert-tls server
persist-key
persist-tun
verb 4
machine-readable-output
"""


class Site:
    """Two servers, a client and a host on the LAN. A context manager."""

    def __init__(self, say: Callable[[str], None], base: Base = SOURCES) -> None:
        self.say = say
        self._base = base
        self.run_id = plan.new_run_id()
        self.directory = plan.run_directory(self.run_id)
        self.hosts: dict[str, Host] = {}
        self._carries = False
        self._stack = ExitStack()

    def __enter__(self) -> Site:
        clean()
        _remove_stale()
        with ExitStack() as stack:
            stack.enter_context(Claim(self.run_id))
            # Overlays cannot lie on every file system that /run is.
            disk = BUILD / f"run-{self.run_id}"
            stack.callback(shutil.rmtree, disk, ignore_errors=True)
            self.network = Network(self.run_id)
            guard = Guard(self.network.namespace(name) for name in network.SERVERS)
            stack.callback(guard.close)
            for name in network.SERVERS:
                self.hosts[name] = Host(name, self.network, disk, self._base)
                stack.callback(self.hosts[name].discard)
            self._furnish()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self.say("taking it away")
        self._stack.close()

    def _furnish(self) -> None:
        """The server in use has the address that is to become virtual, outside and inside."""
        self.pki = Pki(self.directory / "pki")
        self.pki.issue("server", server=True)
        self.pki.issue("client", server=False)
        self.hosts["a"].configure_network("eth0", [f"{VIP}/24"])
        own = f"{network.NETWORKS[network.INSIDE]}.{network.SERVERS['a']}"
        self.hosts["a"].configure_network("eth1", [f"{own}/24", f"{INSIDE_VIP}/24"])
        (self.directory / "client.conf").write_text(_CLIENT.format(pki=self.pki.directory))

    # Before there was a cluster.

    def start_server_in_use(self) -> None:
        """Both machines run; one serves a client with the distribution's OpenVPN."""
        self.say("booting both machines")
        for host in self.hosts.values():
            host.start()
        for host in self.hosts.values():
            host.wait_up()
            self._install_server(host, _SERVER)
        self.hosts["a"].run(f"systemctl enable --now {STOCK_UNIT}")
        self.say("connecting the client")
        self.client = Client(
            Process(
                [STOCK, "--config", self.directory / "client.conf"],
                namespace=self.network.namespace("client"),
                directory=self.directory,
                log=self.directory / "client.log",
            )
        )
        self._stack.callback(self.client.process.discard)
        self.client.process.start()
        self.client.wait_connected(60)
        self.probes = ProbeStream(
            "probes", self.network.namespace("client"), network.LAN_HOST, self.directory
        )
        self._stack.callback(self.probes.process.discard)
        self.probes.start()

    def _install_server(self, host: Host, text: str) -> None:
        """Step 2: the same server on every node; step 5 comes later on the one in use."""
        home = "/etc/openvpn/server"
        for name in ("ca.crt", "server.crt", "server.key", "tls-crypt.key"):
            host.write(f"{home}/{name}", (self.pki.directory / name).read_text(), 0o600)
        host.write(f"{home}/{page.NAME}.conf", text)

    # The page, step by step.

    def follow_page(self) -> None:
        """Steps 3 to 9, the new node first."""
        for name in ("b", "a"):
            self.say(f"following the page on {name}")
            self.install(self.hosts[name])
            self._configure(self.hosts[name])
        self._share_key()
        b, a = self.hosts["b"], self.hosts["a"]
        start_new, start_used = page.blocks(9)
        self._add_options(b)
        self._run_all(b, start_new)
        self.say("the server in use becomes a node")
        self.hosts["a"].write(
            "/etc/systemd/network/10-eth0.network",
            a.read("/etc/systemd/network/10-eth0.network").replace(f"{VIP}/", "192.0.2.11/"),
        )
        inside = "/etc/systemd/network/10-eth1.network"
        a.write(inside, a.read(inside).replace(f"Address={INSIDE_VIP}/24\n", ""))
        self._add_options(a)
        self._run_all(a, start_used)
        (last,) = [one for one in page.quoted(9) if one.startswith("systemctl ")]
        wait_until(lambda: self.master() == "a", "a is master", SYNC_SECONDS)
        b.run(last)

    def install(self, host: Host) -> None:
        """Steps 3 and 4."""
        (deb,) = (ROOT / "build" / "openvpn").glob("openvpn-cluster_*.deb")
        shutil.copy(deb, host.file(HOME) / deb.name)
        for line in page.blocks(3)[0]:
            host.run(line.replace("apt install", "apt-get install -q -y"))
        for line in page.blocks(4)[0]:
            if MADE_BEFORE not in line:
                host.run(line, "/src")

    def _configure(self, host: Host) -> None:
        """Steps 7 and 8 with the example files, whose addresses are those of this site."""
        host.run("mkdir -p /etc/ovpnha && cp /src/deploy/ovpnha.toml /etc/ovpnha/")
        host.run("cp /src/deploy/keepalived/* /etc/keepalived/")
        node = host.read("/etc/keepalived/node.conf")
        node = re.sub(r"^\$NODE=.*", f"$NODE=vpn-{host.name}", node, flags=re.MULTILINE)
        priority = {"a": 100, "b": 99}[host.name]
        node = re.sub(r"^\$PRIORITY=.*", f"$PRIORITY={priority}", node, flags=re.MULTILINE)
        host.write("/etc/keepalived/node.conf", node)

    def _add_options(self, host: Host) -> None:
        """Step 5."""
        config = f"/etc/openvpn/server/{page.NAME}.conf"
        host.write(config, "\n".join([*page.blocks(5)[0], host.read(config)]))

    def _share_key(self) -> None:
        """Step 6."""
        b = self.hosts["b"]
        for line in page.quoted(6):
            if line.startswith(("mkdir ", "ovpnha ", "chown ")):
                b.run(line)
        key = "/etc/ovpnha/cluster.key"
        self.hosts["a"].write(key, b.read(key), 0o600)
        self.hosts["a"].run(f"chown ovpnha: {key}")

    def _run_all(self, host: Host, lines: list[str]) -> None:
        for line in lines:
            host.run(line)

    def add_tcp(self) -> None:
        """A second OpenVPN on both nodes, for TCP, bound to the VIP and without `cluster`."""
        for host in self.hosts.values():
            host.write("/etc/openvpn/server/tcp.conf", _TCP_SERVER)
            host.run(f"systemctl enable {TCP_UNIT} && systemctl start --no-block {TCP_UNIT}")

    def carry_connections(self) -> None:
        """Firewall and NAT by the page: conntrackd, and the table that the sidecar keeps. Once."""
        if self._carries:
            return
        self._carries = True
        settings, commands = page.blocks_under("Firewall and NAT")[:2]
        (vips,) = page.blocks_under("What is wrong with mine?")
        drop_in = page.blocks_under("Let ovpnha set it")[0]
        added = ["", *settings, *vips, "manage = true", ""]
        for host in self.hosts.values():
            config = "/etc/ovpnha/ovpnha.toml"
            host.write(config, host.read(config) + "\n".join(added))
            for line in (*drop_in, *commands):
                if not line.startswith("apt "):
                    host.run(line, "/src")
        self.wait_settled()
        for host in self.hosts.values():
            wait_until(partial(_is_fit, host), f"{host.name} lacks nothing", SYNC_SECONDS)

    def start_tcp(self, label: str = "tcp") -> TcpSession:
        """A session between the client and the LAN host, every byte of which is checked."""
        client, lan = self.network.namespace("client"), self.network.namespace("lan")
        directory = self.directory / label
        directory.mkdir()
        session = TcpSession(client, lan, directory, network.LAN_HOST)
        for process in session.processes:
            self._stack.callback(process.discard)
        return session.start()

    # What can be seen from outside, and what the nodes say.

    def status(self, name: str) -> dict[str, Any] | None:
        """What a node says about its instance; None while it says nothing."""
        control = self.hosts[name].file("run/ovpnha/control.sock")
        try:
            return dict(
                ask_plain(control, StatusRequest(), ANSWER_SECONDS)["status"]["instances"][0]
            )
        except ControlError:
            return None

    def master(self) -> str:
        """The one node that is master and has the VIP; "" when none is, or both."""
        found = {name: self.status(name) for name in self.hosts}
        masters = [name for name, one in found.items() if one and _serves(one)]
        return masters[0] if len(masters) == 1 else ""

    def settled(self) -> str:
        """The node that has the VIP and serves, with the other in sync and every client protected.

        "" when it is not so. Who asks again who is master may hear nothing, from a busy machine.
        """
        found = {name: self.status(name) for name in self.hosts}
        roles = {one["role"]: name for name, one in found.items() if one is not None}
        if set(roles) != {"master", "standby"}:
            return ""
        master, standby = (found[roles[role]] or {} for role in ("master", "standby"))
        safe = master["vip"] and master["clients"] == master["protected"] > 0
        return roles["master"] if safe and standby["sync"] == "in_sync" else ""

    def wait_settled(self) -> str:
        """Wait until it is so, and give the master's name."""
        try:
            return wait_until(self.settled, "a master, and a standby in sync", SYNC_SECONDS)
        except LabError as error:
            raise LabError(f"{error}; now: {self._describe()}") from None

    def wait_answered(self) -> None:
        """Wait until the client has an answer to what it asks from now on."""
        now = time.monotonic_ns()
        wait_until(lambda: self.probes.answered_since(now), "answers to the client", SYNC_SECONDS)

    def _describe(self) -> str:
        shown = ("role", "vip", "sync", "grade", "grade_reason", "clients", "protected", "problems")
        found = {name: self.status(name) for name in self.hosts}
        return json.dumps(
            {name: one and {key: one[key] for key in shown} for name, one in found.items()}
        )


def _is_fit(host: Host) -> bool:
    """Whether it translates, its conntrackd takes orders, and nothing is said to be wrong."""
    table = host.ask("nft list table inet ovpnha")
    said = host.ask("ovpnha check-config") + host.ask("ovpnha status")
    wrong = ("firewall:", "conntrackd", "NAT")
    return f"snat ip to {INSIDE_VIP}" in table and not any(word in said for word in wrong)


def _remove_stale() -> None:
    """The disks of killed runs."""
    for disk in BUILD.glob("run-*"):
        if not plan.run_directory(disk.name.removeprefix("run-")).exists():
            shutil.rmtree(disk, ignore_errors=True)


def _serves(one: dict[str, Any]) -> bool:
    return one["role"] == "master" and bool(one["vip"])
