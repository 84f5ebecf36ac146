"""Who tells of connections when roles change, and whom conntrackd reaches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from ovpnha.config import ConntrackConfig, ConntrackdChannel, ConntrackMode, render_conntrackd
from ovpnha.runtime.control import DemoteRequest, StatusRequest
from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.lab import plan, topology
from tests.lab.conntrackd import PROGRAM
from tests.lab.lab import Lab, other
from tests.lab.nat.flows import Flows
from tests.lab.nat.rows import FAMILIES
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.rules import Rules
from tests.lab.session import Watch
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

MakeLab = Callable[..., Lab]
UDP_SECONDS = 6
"""A kernel's patience with a UDP connection in which it sees no packet."""
OFTEN, NEVER = 2.0, 3600.0


@pytest.fixture
def lab_with(make_lab: MakeLab) -> Callable[[float], Lab]:
    """A cluster that translates, whose UDP entries end soon where nobody renews them.

    The argument is after how many seconds a master tells everything again.
    """

    def make(refresh: float) -> Lab:
        lab = make_lab(rules=Rules.SNAT_VIP, conntrack=True)
        configure(lab, "[conntrack]\n", f"[conntrack]\nrefresh = {refresh}\n")
        for name in ("udp_timeout", "udp_timeout_stream"):
            sysctl = {f"net/netfilter/nf_conntrack_{name}": str(UDP_SECONDS)}
            for node in lab.nodes.values():
                topology.set_sysctls(node.namespace, sysctl)
        return lab

    return make


def begin(lab: Lab) -> Watch:
    lab.start_cluster()
    client = lab.start_client()
    lab.wait_in_sync("b")
    Flows(lab, FAMILIES[:1], 1).start()
    return Watch(lab, client, lab.start_probes()[0])


def move(lab: Lab) -> None:
    old = lab.master
    old.sidecar.ask(DemoteRequest())
    lab.wait_master(other(old.name), PATIENCE)
    lab.wait_in_sync(old.name, PATIENCE)


def has_udp(node: Node) -> bool:
    argv = ["ip", "netns", "exec", node.namespace, "conntrack", "--dump", "--proto", "udp"]
    done = subprocess.run([*argv, "--dport", "5002"], check=True, capture_output=True, text=True)
    return "dport=5002" in done.stdout


def ended_by_others(node: Node) -> int:
    """How many connections this node's kernel has lost because another node said so."""
    figures = node.sidecar.ask(StatusRequest())["status"]["tracking"]
    return int(figures["injected"]["destroyed"])


def test_a_former_master_ends_no_live_connection(lab_with: Callable[[float], Lab]) -> None:
    """Its own entries end, since no packet passes there any more."""
    lab = lab_with(NEVER)
    watch = begin(lab)
    watch.linger(1.5 * UDP_SECONDS)
    move(lab)
    before = ended_by_others(lab.nodes["b"])
    watch.linger(3 * UDP_SECONDS)
    assert ended_by_others(lab.nodes["b"]) == before


def test_a_standby_knows_a_udp_connection_for_as_long_as_it_lasts(
    lab_with: Callable[[float], Lab],
) -> None:
    lab = lab_with(OFTEN)
    watch = begin(lab)
    move(lab)
    for _ in range(10):
        watch.linger(UDP_SECONDS / 4)
        assert has_udp(lab.nodes["a"])


def test_a_node_without_conntrackd_has_a_problem_until_it_runs_again(
    lab_with: Callable[[float], Lab],
) -> None:
    """What it missed, it asks for: as after a reboot, its kernel knows no connection."""
    lab = lab_with(NEVER)
    begin(lab)
    standby = lab.nodes["b"]

    def problem() -> str:
        return str(standby.sidecar.ask(StatusRequest())["status"]["tracking"]["problem"])

    assert problem() == ""
    standby.conntrackd.process.kill()
    wait_until(lambda: "does not run" in problem(), "the problem is told", PATIENCE)
    subprocess.run(
        ["ip", "netns", "exec", standby.namespace, "conntrack", "--flush"],
        check=True,
        capture_output=True,
    )
    assert not has_udp(standby)
    standby.conntrackd.restart()
    wait_until(lambda: not problem(), "it is told to be over", PATIENCE)
    wait_until(lambda: has_udp(standby), "it has the connections again", UDP_SECONDS / 2)
    wait_until(lambda: tells(standby) == 0, "a standby tells of nothing", PATIENCE)
    assert tells(lab.master) > 0


def tells(node: Node) -> int:
    return int(node.sidecar.ask(StatusRequest())["status"]["tracking"]["told"])


ENTRIES = 300
FOREIGN = (
    "-I -p tcp -s 10.99.1.11 -d 10.99.1.1 --sport 1 --dport 22 --state SYN_SENT --timeout 600\n"
)
"""A connection of the host's own, which must not travel."""


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[str]]:
    """Three namespaces with a BCN, each with a conntrackd that acknowledges nothing."""
    run_id = plan.new_run_id()
    names = [plan.namespace(run_id, f"third{number}") for number in range(3)]
    fabric = plan.namespace(run_id, "third-fabric")
    started: list[Process] = []
    try:
        for name in (fabric, *names):
            ip("netns", "add", name)
        ip("-netns", fabric, "link", "add", "bcn", "type", "bridge", "mcast_snooping", "0")
        ip("-netns", fabric, "link", "set", "bcn", "up")
        for number, name in enumerate(names):
            plug_in(fabric, name, number)
            started.append(start_conntrackd(tmp_path, name, number))
        yield names
    finally:
        for process in started:
            process.discard()
        for name in (fabric, *names):
            ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def plug_in(fabric: str, name: str, number: int) -> None:
    port, peer = f"port{number}", ("peer", "name", "bcn0", "netns", name)
    ip("-netns", fabric, "link", "add", port, "type", "veth", *peer)
    ip("-netns", fabric, "link", "set", port, "master", "bcn", "up")
    ip("-netns", name, "address", "add", f"10.99.0.{number + 1}/24", "dev", "bcn0")
    ip("-netns", name, "link", "set", "bcn0", "up")


def start_conntrackd(home: Path, name: str, number: int) -> Process:
    socket = home / f"{number}.ctl"
    config = ConntrackConfig(mode=ConntrackMode.NOTRACK, flows=(plan.TUNNEL,), socket=socket)
    file = home / f"{number}.conf"
    channel = ConntrackdChannel("bcn0", f"10.99.0.{number + 1}")
    file.write_text(render_conntrackd(config, [channel], str(number)))
    log = home / f"conntrackd-{number}.log"
    process = Process([PROGRAM, "-C", file], namespace=name, directory=home, log=log).start()
    wait_until(socket.exists, f"conntrackd {number} runs", PATIENCE)
    return process


def entries(name: str) -> int:
    done = subprocess.run(
        ["ip", "netns", "exec", name, "conntrack", "--dump"],
        check=True,
        capture_output=True,
        text=True,
    )
    return len(done.stdout.splitlines())


def has_entries(name: str) -> bool:
    return entries(name) >= 2 * ENTRIES


def test_without_acknowledgements_every_one_of_three_nodes_hears_the_other_two(
    three: list[str], tmp_path: Path
) -> None:
    """With them (`ftfw`) the third takes what one of the others tells."""
    for number, name in enumerate(three[:2]):
        lines = (
            f"-I -p tcp -s 10.8.{number}.{place % 200 + 1} -d 10.99.2.100 --sport {5000 + place}"
            " --dport 80 --state ESTABLISHED --status ASSURED,SEEN_REPLY --timeout 600\n"
            for place in range(ENTRIES)
        )
        file = tmp_path / f"{number}.entries"
        file.write_text("".join(lines) + FOREIGN)
        argv = ["ip", "netns", "exec", name, "conntrack", "--load-file", str(file)]
        subprocess.run(argv, check=True, capture_output=True)
    for name in three:
        wait_until(partial(has_entries, name), f"the entries of {name}", PATIENCE)
    assert [entries(name) - 2 * ENTRIES for name in three] == [1, 1, 0]
