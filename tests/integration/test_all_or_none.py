"""The virtual addresses are on one node, all of them, whatever takes one of them away.

An administrator's command, a network manager or a script deletes one address on the master. ovpnha
watches the outside one only; the manager is who knows that they belong together.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.frr import FrrKeepalived
from tests.lab.keepalived import Keepalived
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.pacemaker import Pacemaker
from tests.lab.plan import Segment
from tests.lab.session import Session
from tests.lab.ucarp import Ucarp
from tests.lab.vip_manager import VipProgram
from tests.lab.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
NEIGHBOURS = DEPLOY / "ucarp" / "neighbours"
VIP_DOWN = """
export STATE=$1 OUTSIDE_IF=here OUTSIDE_VIP=192.0.2.10/24 OUTSIDE_VIP6=2001:db8::10/64
export INSIDE_IF=here INSIDE_VIP=198.51.100.10/24 INSIDE_VIP6=
exec $2/ucarp/vip-down
"""
AGENT = """
export OCF_FUNCTIONS_DIR=$1 HA_RSCTMP=$1 OCF_RESOURCE_INSTANCE=udp PATH=$1:$PATH
export OCF_RESKEY_addresses='here 192.0.2.10/24,198.51.100.10/24,2001:db8::10/64'
echo 'OCF_SUCCESS=0 OCF_ERR_GENERIC=1' >$1/ocf-shellfuncs
ln -s /bin/true $1/crm_master
echo unpromoted >$1/ovpnha-udp.role
exec $2/pacemaker/ovpnha stop
"""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def find(node: Node, segment: Segment) -> list[str]:
    """The segment's virtual address on a node, as `ip address` takes it; empty without it.

    Where routers announce the address it is on no interface of the segment.
    """
    command = ["ip", "-n", node.namespace, "-oneline", "address", "show", "to", segment.vip]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [words[words.index("inet") + 1], "dev", words[1]] if words else []


def places(lab: Lab, segment: Segment) -> list[str]:
    return [name for name, node in lab.nodes.items() if find(node, segment)]


def are_together(lab: Lab) -> bool:
    outside, inside = (places(lab, segment) for segment in (plan.OUT, plan.LAN))
    return len(outside) == 1 and outside == inside


@pytest.mark.sampled(3)
@pytest.mark.parametrize("segment", [plan.OUT, plan.LAN], ids=["outside", "inside"])
@pytest.mark.parametrize("manager", [Keepalived, Ucarp, Pacemaker, FrrKeepalived])
def test_an_address_that_is_taken_away_leaves_none_alone(
    make_lab: Callable[..., Lab], manager: type[VipProgram], segment: Segment
) -> None:
    lab = make_lab(vip_manager=manager)
    lab.start_cluster()
    session = Session(lab)

    def take_away(_lab: Lab, node: Node) -> None:
        command = ["ip", "-n", node.namespace, "address", "del", *find(node, segment)]
        subprocess.run(command, check=True)

    moment = session.strike(take_away)
    wait_until(lambda: are_together(lab), "both addresses on one node", PATIENCE)
    assert session.recovers(moment, PATIENCE)
    print(f"{manager.__name__}: {session.outage_ms(moment):.0f} ms, now {places(lab, plan.OUT)}")
    lab.wait_master(lab.master.name)
    lab.wait_standbys()
    assert session.noticed(moment).nothing
    assert session.finish() == ""


def test_an_address_is_here_by_what_the_host_has_and_not_by_what_it_may_bind() -> None:
    """A standby that may bind the VIP, as one with a stock OpenVPN, must not announce it."""
    lines = (
        "ip link add here type veth peer name there; ip link set here up; ip link set there up",
        "ip address add 192.0.2.1/24 dev here; ip address add 2001:db8::1/64 dev here nodad",
        "sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1",
        f"exec {sys.executable} - {NEIGHBOURS}",
    )
    code = (
        "import sys; from importlib.machinery import SourceFileLoader as Load;"
        "here = Load('neighbours', sys.argv[1]).load_module().is_here;"
        "print([here(one) for one in "
        "('192.0.2.1', '192.0.2.10', '198.51.100.1', '2001:db8::1', '2001:db8::10', '2001::1')])"
    )
    command = ["unshare", "--net", "sh", "-ec", "\n".join(lines)]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, False, False, True, False, False]\n"


@pytest.mark.parametrize("program", [VIP_DOWN, AGENT], ids=["ucarp", "pacemaker"])
def test_an_address_that_was_set_with_another_prefix_length_goes_with_the_others(
    tmp_path: Path, program: str
) -> None:
    """By hand, in an emergency. One that stays makes two masters, or has a node fenced."""
    (tmp_path / "program").write_text(program)
    lines = (
        "ip link add here type veth peer name there; ip link set here up; ip link set there up",
        "ip address add 192.0.2.1/24 dev here; ip address add 192.0.2.10 dev here",
        "ip address add 198.51.100.10/24 dev here; ip address add 2001:db8::10 dev here nodad",
        f"bash -e {tmp_path}/program {tmp_path} {DEPLOY}",
        "ip -oneline address show dev here scope global",
    )
    command = ["unshare", "--net", "sh", "-ec", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split()[3] for line in done.stdout.splitlines()] == ["192.0.2.1/24"]
