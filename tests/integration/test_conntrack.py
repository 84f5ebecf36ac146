"""Who tells of connections when roles change, and whom conntrackd reaches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from ovpnha.config import ConntrackConfig, ConntrackdChannel, ConntrackMode, render_conntrackd
from ovpnha.runtime.control import DemoteRequest, StatusRequest
from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.lab import plan, topology
from tests.lab.cleanup import Claim
from tests.lab.conntrackd import PROGRAM, takes_commands
from tests.lab.lab import Lab
from tests.lab.nat.flows import Flows
from tests.lab.nat.rows import FAMILIES
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.rules import Rules
from tests.lab.session import Watch
from tests.lab.topology import Topology
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
    lab.wait_master(lab.other(old.name), PATIENCE)
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
    wait_until(lambda: has_udp(standby), "it has the connections again", PATIENCE)
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
    """The namespaces of three nodes, each with a conntrackd that acknowledges nothing."""
    run_id, names = plan.new_run_id(), plan.node_names(3)
    with Claim(run_id), Topology(run_id, names) as made, ExitStack() as stack:
        for name in names:
            process = start_conntrackd(tmp_path, made.namespace(name), name)
            stack.callback(process.discard)
        yield [made.namespace(name) for name in names]


def start_conntrackd(home: Path, namespace: str, node: str) -> Process:
    socket = home / f"{node}.ctl"
    config = ConntrackConfig(mode=ConntrackMode.NOTRACK, flows=(plan.TUNNEL,), socket=socket)
    file = home / f"{node}.conf"
    channel = ConntrackdChannel(plan.BCN.interface, plan.BCN.address(plan.node_number(node)))
    file.write_text(render_conntrackd(config, [channel], node))
    log = home / f"conntrackd-{node}.log"
    process = Process([PROGRAM, "-C", file], namespace=namespace, directory=home, log=log).start()
    wait_until(
        lambda: socket.exists() and takes_commands(file, namespace),
        f"conntrackd {node} takes commands",
        PATIENCE,
    )
    return process


def entries(name: str, what: str = "") -> int:
    """How many connections a kernel knows, or of them those with this text."""
    done = subprocess.run(
        ["ip", "netns", "exec", name, "conntrack", "--dump"],
        check=True,
        capture_output=True,
        text=True,
    )
    return sum(what in line for line in done.stdout.splitlines())


def has_entries(name: str) -> bool:
    """Whether it has all that clients have with either of the two nodes."""
    return all(entries(name, f"src=10.8.{number}.") == ENTRIES for number in range(2))


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
