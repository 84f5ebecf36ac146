"""The daemon that users run, with the real patched OpenVPN, on two nodes in namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime.control import (
    ControlError,
    DemoteRequest,
    PromoteRequest,
    StatusRequest,
    ask_plain,
)
from tests.integration.pace import PATIENCE
from tests.lab.pki import Pki
from tests.lab.process import Process
from tests.lab.topology import inside, open_route
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

OPENVPN = Path(os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")).resolve()
ROOT = Path(__file__).parents[2]
VIP = "192.0.2.10"
DEADLINE = PATIENCE

SERVER = """
local {vip}
proto udp4
dev tun
topology subnet
server 10.8.0.0 255.255.255.0
ca {pki}/ca.crt
cert {pki}/server.crt
key {pki}/server.key
dh none
keepalive 10 60
verb 3
cluster
{extra}
management {home}/openvpn.sock unix
"""

CONFIG = """
[log]
format = "json"

[cluster]
name = "test"
key_file = "{directory}/cluster.key"

[bcn]
links = [{{ interface = "bcn0" }}]

[[instance]]
name = "udp"
management = "/nowhere"
{vip}

[node.a.instance.udp]
management = "{directory}/a/openvpn.sock"
track_file = "{directory}/a/grade"
vip_manager = "other"
[node.a.control]
socket = "{directory}/a/control.sock"
[node.b.instance.udp]
management = "{directory}/b/openvpn.sock"
track_file = "{directory}/b/grade"
vip_manager = "other"
[node.b.control]
socket = "{directory}/b/control.sock"
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Node:
    """One namespace with OpenVPN and the sidecar."""

    def __init__(self, name: str, directory: Path, namespace: str) -> None:
        self.name = name
        self.home = directory / name
        self.namespace = namespace
        self.home.mkdir()
        self.openvpn = self._process(
            "openvpn", OPENVPN, "--config", directory / f"{name}.conf", "--cd", self.home
        )
        self.sidecar = self._process(
            "ovpnha",
            *(sys.executable, "-m", "ovpnha", "run"),
            *("--config", directory / "ovpnha.toml", "--node", name),
        )

    def _process(self, name: str, *command: str | Path) -> Process:
        log = self.home / f"{name}.log"
        environment = {"PYTHONPATH": str(ROOT)}
        return Process(
            command,
            namespace=self.namespace,
            directory=self.home,
            log=log,
            environment=environment,
        )

    def ip(self, *arguments: str) -> None:
        ip("-n", self.namespace, *arguments)

    def add_vip(self) -> None:
        self.ip("addr", "add", f"{VIP}/32", "dev", "out0")

    def remove_vip(self) -> None:
        self.ip("addr", "del", f"{VIP}/32", "dev", "out0")

    def instance(self) -> dict[str, Any]:
        status = ask_plain(self.home / "control.sock", StatusRequest(), DEADLINE)["status"]
        return dict(status["instances"][0])

    def role(self) -> str:
        try:
            return str(self.instance()["role"])
        except ControlError:
            return "nothing"

    def grade(self) -> int | None:
        try:
            return int((self.home / "grade").read_text())
        except FileNotFoundError:
            return None

    def events(self) -> list[dict[str, Any]]:
        lines = self.sidecar.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_role(self, role: str) -> None:
        wait_until(lambda: self.role() == role, f"{self.name} is {role}", DEADLINE)

    def wait_grade(self, grade: int) -> None:
        wait_until(lambda: self.grade() == grade, f"{self.name} has grade {grade}", DEADLINE)


class Pair:
    """Two nodes, joined by a BCN and an outside network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names = {name: f"ohad{os.getpid()}{name}" for name in "ab"}
        self.config = directory / "ovpnha.toml"
        self.a: Node
        self.b: Node

    def build(self) -> None:
        for namespace in self.names.values():
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        self.join_bcn()
        self._join("out0", "192.0.2")
        pki = Pki(self.directory / "pki")
        pki.issue("server", server=True)
        self.write_config(f'vip = "{VIP}"')
        self.write_server("")
        subprocess.run(
            [sys.executable, "-m", "ovpnha", "keygen", self.directory / "cluster.key"],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
        self.a, self.b = (Node(name, self.directory, self.names[name]) for name in "ab")

    def join_bcn(self) -> None:
        self._join("bcn0", "10.77.0")

    def write_config(self, vip: str) -> None:
        self.config.write_text(CONFIG.format(directory=self.directory, vip=vip))

    def write_server(self, extra: str) -> None:
        for name in "ab":
            text = SERVER.format(
                vip=VIP, pki=self.directory / "pki", home=self.directory / name, extra=extra
            )
            (self.directory / f"{name}.conf").write_text(text)

    def _join(self, interface: str, network: str) -> None:
        a, b = self.names["a"], self.names["b"]
        ip(
            *("-n", a, "link", "add", interface, "type", "veth"),
            *("peer", "name", interface, "netns", b),
        )
        for number, namespace in ((1, a), (2, b)):
            ip("-n", namespace, "addr", "add", f"{network}.{number}/24", "dev", interface)
            ip("-n", namespace, "link", "set", interface, "up")

    def start(self) -> None:
        for node in (self.a, self.b):
            node.openvpn.start()
            node.sidecar.start()

    def close(self) -> None:
        for node in (self.a, self.b):
            node.sidecar.stop()
            node.openvpn.stop()
        for namespace in self.names.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", namespace)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    try:
        made.build()
        yield made
    finally:
        made.close()


@pytest.fixture
def cluster(pair: Pair) -> Pair:
    """Both nodes run and hear each other; nobody has the VIP."""
    pair.start()
    for node in (pair.a, pair.b):
        node.wait_role("standby")
        wait_hears(node)
    return pair


def hears(node: Node) -> bool:
    return any(other["believed"] for other in node.instance()["nodes"])


def wait_hears(node: Node) -> None:
    wait_until(lambda: hears(node), f"{node.name} hears the other", DEADLINE)


def test_the_role_follows_the_vip(cluster: Pair) -> None:
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    a.wait_grade(120)
    b.wait_grade(90)
    a.remove_vip()
    a.wait_role("held")
    a.add_vip()
    a.wait_role("master")
    a.remove_vip()
    b.add_vip()
    b.wait_role("master")
    a.wait_role("standby")
    a.wait_grade(90)


def test_a_promotion_is_written_at_once(cluster: Pair) -> None:
    """From the kernel's event to the bytes for OpenVPN: 1 to 2 ms on a machine that is not busy.

    The machine of this test may be: the bound only tells that nothing waits for a timer.
    """
    since_event, own_work = [], []
    for _ in range(10):
        begin = add_vip_timed(cluster.a)
        cluster.a.wait_role("master")
        wait_until(lambda: told_master(cluster.a), "the change in the log", DEADLINE)
        (last,) = told_master(cluster.a)
        since_event.append(1000 * (last["written"] - begin))
        own_work.append(1000 * (last["written"] - last["monotonic"]))
        cluster.a.remove_vip()
        cluster.a.wait_role("held")
    print("ms from adding the vip to the bytes written:", [round(one, 2) for one in since_event])
    print("ms of that in the core and the shell:", [round(one, 2) for one in own_work])
    assert min(since_event) < 150.0


def told_master(node: Node) -> list[dict[str, Any]]:
    """What its log said last of roles, when that is that it is master."""
    return [one for one in told(node, "role changed")[-1:] if one["new"] == "master"]


def add_vip_timed(node: Node) -> float:
    """Add the VIP without starting a process; returns the moment before."""
    with open_route(node.namespace) as route:
        (index,) = route.link_lookup(ifname="out0")
        begin = time.monotonic()
        route.addr("add", index=index, address=VIP, prefixlen=32)
    return begin


def test_promote_before_the_vip_moves(cluster: Pair) -> None:
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    b.wait_grade(90)
    answer = ask_plain(b.home / "control.sock", PromoteRequest(expect_vip=DEADLINE), DEADLINE)
    assert answer["role"] == "master"
    a.remove_vip()
    b.add_vip()
    a.wait_role("standby")
    assert b.role() == "master"


def test_promote_without_a_vip_falls_back_to_held(cluster: Pair) -> None:
    ask_plain(cluster.a.home / "control.sock", PromoteRequest(expect_vip=0.3), DEADLINE)
    cluster.a.wait_role("held")
    with pytest.raises(ControlError, match=r"so they are kept\. Add the VIP on a standby"):
        ask_plain(cluster.a.home / "control.sock", DemoteRequest(), DEADLINE)
    assert cluster.a.role() == "held"
    cluster.b.add_vip()
    cluster.a.wait_role("standby")


def test_a_dead_openvpn_refuses_the_vip_and_comes_back(cluster: Pair) -> None:
    a = cluster.a
    a.openvpn.kill()
    a.wait_grade(-254)
    a.openvpn.start()
    a.wait_role("standby")
    wait_until(lambda: a.grade() != -254, "another grade", DEADLINE)


def test_a_sidecar_that_stops_or_dies_leaves_openvpn_alone(cluster: Pair) -> None:
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    a.wait_grade(120)
    epoch = a.instance()["epoch"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        a.sidecar.signal(number)
        assert a.sidecar.wait() == (0 if number is signal.SIGTERM else -number)
        assert a.grade() == 120  # its age tells, not its absence
        a.sidecar.start()
        a.wait_role("master")
        a.wait_grade(120)
        assert a.instance()["epoch"] == epoch
    b.wait_grade(90)
    assert "stopping" in [one["event"] for one in a.events()]
    assert not list(a.home.glob("core*"))


def test_a_sidecar_whose_log_nobody_reads_does_its_part(pair: Pair) -> None:
    """A journal or a container's log that hangs: the pipe to it is full."""
    b = pair.b
    b.sidecar.log = b.home / "pipe"
    os.mkfifo(b.sidecar.log)
    full = os.open(b.sidecar.log, os.O_RDWR | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full, bytes(4096))
        pair.start()
        b.wait_role("standby")
        wait_hears(b)
        b.add_vip()
        b.wait_role("master")
        b.wait_grade(120)
        b.sidecar.signal(signal.SIGTERM)
        assert b.sidecar.wait() == 0
    finally:
        os.close(full)


def test_what_the_configuration_leaves_out_comes_from_openvpn(pair: Pair) -> None:
    pair.write_config("")
    text = pair.config.read_text()
    pair.config.write_text(text.replace('links = [{ interface = "bcn0" }]', ""))
    pair.write_server("cluster-broadcast-address 10.77.0.255\ncluster-port 11999")
    pair.start()
    for node in (pair.a, pair.b):
        node.wait_role("standby")
    pair.a.add_vip()
    pair.a.wait_role("master")
    pair.b.wait_grade(90)


def test_a_missing_vip_interface_is_told_once_and_found_later(pair: Pair) -> None:
    pair.write_config(f'vip = "{VIP}"\nvip_interface = "vip0"')
    pair.start()
    a = pair.a
    a.wait_role("standby")
    wait_told(a, "vip interface missing")
    a.ip("link", "add", "vip0", "type", "bridge")
    a.ip("link", "set", "vip0", "up")
    a.ip("addr", "add", f"{VIP}/32", "dev", "vip0")
    a.wait_role("master")
    assert len(told(a, "vip interface missing")) == 1
    assert len(told(a, "vip interface found")) == 1


def problems(node: Node) -> str:
    return " | ".join(f"{one['text']}; {one['fix']}" for one in node.instance()["problems"])


def wait_problem(node: Node, text: str) -> None:
    """The grade of a node that has only just started is -254 too, so it does not tell."""

    def shown() -> bool:
        try:
            return text in problems(node)
        except ControlError:
            return False

    wait_until(shown, f"{node.name} says: {text}", DEADLINE)


def test_a_vip_on_a_wrong_interface_is_refused(pair: Pair) -> None:
    pair.write_config(f'vip = "{VIP}"\nvip_interface = "eth9"')
    own = "[node.a.instance.udp]\n"
    pair.config.write_text(pair.config.read_text().replace(own, f'{own}vip_interface = "lo"\n'))
    pair.start()
    a, b = pair.a, pair.b
    wait_problem(b, "the VIP's interface eth9 is missing; bring it up, or correct")
    b.wait_grade(30)
    a.wait_role("standby")
    a.add_vip()
    wait_problem(a, "the VIP is on out0, and counts on lo only; correct vip_interface")
    a.wait_grade(-254)
    a.remove_vip()
    a.wait_grade(30)
    assert a.role() == "standby"


def test_a_vip_that_openvpn_does_not_serve_is_refused(pair: Pair) -> None:
    pair.write_config('vip = "192.0.2.99"')
    pair.start()
    a = pair.a
    wait_problem(a, f"vip 192.0.2.99 is not OpenVPN's local {VIP}; write the same address")
    a.wait_grade(-254)
    with pytest.raises(ControlError, match=r"not promoted, .* is not OpenVPN's local"):
        ask_plain(a.home / "control.sock", PromoteRequest(), DEADLINE)
    assert len(told(a, "vip is not openvpn's local")) == 1


def test_an_openvpn_that_was_never_started_says_what_is_waited_for(pair: Pair) -> None:
    pair.a.sidecar.start()
    pair.a.wait_role("init")
    path = pair.directory / "a" / "openvpn.sock"
    reason = f"management socket {path}: No such file or directory (errno 2, ENOENT)"
    wait_until(lambda: reason in problems(pair.a), "the reason", DEADLINE)
    pair.a.wait_grade(-254)
    assert pair.a.instance()["grade_reason"] == f"OpenVPN is down: {reason}"
    text = command_line(pair, "status")
    assert text.returncode == 0
    assert "ENOENT" in text.stdout
    assert len(told(pair.a, "management unreachable")) == 1
    pair.a.openvpn.start()
    pair.a.wait_role("standby")
    wait_until(lambda: not problems(pair.a), "no problem any more", DEADLINE)


def command_line(pair: Pair, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on node a, as an administrator gives it."""
    return subprocess.run(
        [
            *("ip", "netns", "exec", pair.a.namespace, sys.executable, "-m", "ovpnha"),
            *(*arguments, "--config", str(pair.config), "--node", "a"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=2 * DEADLINE,
    )


def test_what_an_administrator_is_told_by_hand(cluster: Pair) -> None:
    """No VIP manager, and a mistyped client: what to do is in the answer."""
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    b.wait_grade(90)
    unknown = command_line(cluster, "renegotiate", "--uid", "00112233445566ff")
    assert unknown.returncode == 1
    assert unknown.stderr == (
        "ovpnha: udp: no client has the uid 00112233445566ff; see: ovpnha clients\n"
    )
    assert "udp: 0 clients; this node is master" in command_line(cluster, "clients").stdout
    stuck = command_line(cluster, "demote")
    assert stuck.returncode == 1
    assert "still master after 10 s: the VIP is still here." in stuck.stderr
    a.remove_vip()
    a.wait_role("held")
    b.add_vip()
    b.wait_role("master")
    a.wait_role("standby")
    assert command_line(cluster, "demote").stdout == "udp: standby (as before; b is master)\n"


def test_check_config_knows_its_own_daemon(cluster: Pair) -> None:
    """The HTTP port is in use, but by the daemon that this configuration is for."""
    wait_until(lambda: "9594" in listening(cluster.a), "the endpoint", DEADLINE)
    checked = command_line(cluster, "check-config")
    assert checked.returncode == 0
    assert "http.listen" not in checked.stderr
    cluster.a.sidecar.signal(signal.SIGTERM)
    cluster.a.sidecar.wait()
    command = [sys.executable, "-m", "http.server", "9594"]
    home, namespace = cluster.a.home, cluster.a.namespace
    log = home / "other.log"
    other = Process(command, namespace=namespace, directory=home, log=log)
    try:
        other.start()
        wait_until(lambda: "9594" in listening(cluster.a), "the other program", DEADLINE)
        checked = command_line(cluster, "check-config")
    finally:
        other.stop()
    assert checked.returncode == 0
    assert "warning: http.listen: 127.0.0.1:9594: another program has this port" in checked.stderr


def listening(node: Node) -> str:
    command = ["ip", "netns", "exec", node.namespace, "ss", "-Htln"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_told(node: Node, event: str) -> None:
    wait_until(lambda: told(node, event), f"{node.name} logs “{event}”", DEADLINE)


def told(node: Node, event: str) -> list[dict[str, Any]]:
    return [one for one in node.events() if one["event"] == event]


def test_a_bcn_interface_that_is_missing_at_first(pair: Pair) -> None:
    pair.a.ip("link", "del", "bcn0")
    pair.start()
    for node in (pair.a, pair.b):
        node.wait_role("standby")
        wait_told(node, "bcn link unusable")
    pair.join_bcn()
    for node in (pair.a, pair.b):
        wait_hears(node)


def test_a_cable_that_is_pulled_lowers_the_grade(cluster: Pair) -> None:
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    b.wait_grade(90)
    a.ip("link", "set", "bcn0", "down")
    b.wait_grade(30)
    a.ip("link", "set", "bcn0", "up")
    b.wait_grade(90)
    assert a.role() == "master"


def test_another_key_is_refused_and_counted(pair: Pair) -> None:
    pair.start()
    pair.a.wait_role("standby")
    pair.b.sidecar.stop()
    key = pair.directory / "cluster.key"
    key.unlink()
    subprocess.run(
        [sys.executable, "-m", "ovpnha", "keygen", key], check=True, capture_output=True, cwd=ROOT
    )
    pair.b.sidecar.start()
    pair.b.wait_role("standby")
    wait_until(lambda: sum(refused(pair.a).values()) > 3, "datagrams are refused", DEADLINE)
    assert not hears(pair.b)
    assert pair.a.role() == "standby"


def refused(node: Node) -> dict[str, int]:
    status = ask_plain(node.home / "control.sock", StatusRequest(), DEADLINE)["status"]
    return dict(status["refused"])


def test_junk_on_the_bcn_disturbs_nothing(cluster: Pair) -> None:
    a, b = cluster.a, cluster.b
    a.add_vip()
    a.wait_role("master")
    b.wait_grade(90)
    before = sum(refused(b).values())
    flood(a.namespace, seconds=2.0)
    wait_until(lambda: sum(refused(b).values()) > before + 1000, "junk is counted", DEADLINE)
    b.wait_grade(90)
    wait_hears(b)
    a.remove_vip()
    b.add_vip()
    b.wait_role("master")
    a.wait_role("standby")


def flood(namespace: str, seconds: float) -> None:
    """Junk of many lengths, some of it with a plausible head, as fast as one process can."""
    with inside(namespace):
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with source:
        kinds = [os.urandom(length) for length in (0, 1, 20, 64, 200, 1200, 1201, 9000)]
        kinds += [b"OVHA" + kind for kind in kinds]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind in kinds:
                source.sendto(kind, ("10.77.0.2", 11940))


def test_the_http_endpoint(cluster: Pair) -> None:
    a = cluster.a
    a.add_vip()
    a.wait_role("master")
    cluster.b.wait_grade(90)
    wait_until(lambda: serves(a.namespace), "the endpoint serves", DEADLINE)
    metrics = fetch(a.namespace, "/metrics")
    assert 'ovpnha_role{instance="udp",role="master"} 1.0' in metrics
    assert json.loads(fetch(a.namespace, "/status"))["instances"][0]["role"] == "master"
    assert json.loads(fetch(a.namespace, "/health")) == {"healthy": True, "problems": []}


def serves(namespace: str) -> bool:
    with inside(namespace), socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 9594)) == 0


def fetch(namespace: str, path: str) -> str:
    with inside(namespace):
        connection = socket.create_connection(("127.0.0.1", 9594), timeout=DEADLINE)
    with connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def test_a_second_daemon_is_refused(cluster: Pair) -> None:
    second = subprocess.run(
        [
            *("ip", "netns", "exec", cluster.a.namespace, sys.executable, "-m", "ovpnha", "run"),
            *("--config", str(cluster.config), "--node", "a"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=DEADLINE,
    )
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert last.endswith("control.sock: another ovpnha is running; stop it first")
    assert cluster.a.role() == "standby"


def test_no_key_is_ever_logged(cluster: Pair) -> None:
    cluster.a.add_vip()
    cluster.a.wait_role("master")
    keys = (cluster.directory / "cluster.key").read_text().split()
    for node in (cluster.a, cluster.b):
        assert keys[-1] not in node.sidecar.log.read_text()
