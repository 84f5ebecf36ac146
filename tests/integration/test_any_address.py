"""Servers whose socket takes any address: which one answers, what moves, and who is not protected.

A listener on the clients' network sees whatever leaves the nodes there: a right source address is
one that a client can believe, and a standby has none at all.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.anyaddress import (
    OUT,
    OUTSIDE2,
    SECOND,
    beside,
    instance,
    is_alive,
    listening,
    problems,
    wait_protected,
)
from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.test_switchover import begin as begin_switchovers
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import ANY, BOTH, Transport
from tests.lab.session import Session
from tests.lab.sidecar import run_command
from tests.lab.topology import change_vip, set_sysctls
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

BY_IPV6 = Transport("udp6", "udp6", OUT.vip6)


@pytest.mark.parametrize("server", [ANY, BOTH], ids=["ipv4", "both"])
def test_a_takeover_from_address_to_address(make_lab: MakeLab, server: Transport) -> None:
    """Of both families at once where one socket serves both, there and back."""
    lab = make_lab(transport=server, keepalive="1 20")
    lab.start_cluster()
    session = Session(lab)
    others = [beside(lab, "by-ipv6", BY_IPV6)] if server is BOTH else []
    wait_protected(lab, 1 + len(others))
    begin = session.mark()
    with listening(lab) as listener:
        for old, new in ("ab", "ba"):
            lab.wait_in_sync(new)
            killed = session.strike(kill_openvpn)
            assert session.recovers(killed, PATIENCE)
            lab.wait_master(new)
            for one in others:
                wait_until(is_alive(lab, one), f"{one.process.name} hears the server", PATIENCE)
            lab.nodes[old].openvpn.start()
    assert listener.answers == {OUT.vip, *(OUT.vip6 for _ in others)}
    assert session.noticed(begin).nothing
    for one in others:
        assert noticed(one.log(), begin.wall).nothing
    assert session.finish() == ""


@pytest.mark.parametrize("foreign", ["0", "1"])
def test_a_standby_is_silent_on_its_own_address_too(make_lab: MakeLab, foreign: str) -> None:
    """Whether or not the kernel lets it send from addresses that are not there."""
    lab = make_lab(transport=BOTH)
    for name in lab.nodes:
        set_sysctls(lab.topology.namespace(name), {"net/ipv6/ip_nonlocal_bind": foreign})
    lab.start_cluster()
    lab.wait_standbys()
    number = plan.node_number("b")
    own = {OUT.address(number), OUT.address6(number)}
    with listening(lab) as listener:
        asking = [
            lab.launch_beside("to-b", transport=replace(ANY, address=OUT.address(number))),
            lab.launch_beside("to-b6", transport=Transport("udp6", "udp6", OUT.address6(number))),
            lab.launch_beside("to-vip"),
        ]
        asking[-1].wait_connected()
        for one in asking[:-1]:
            # each has sent its first packet several times by then
            wait_until(
                lambda: sum("UDPv" in line.text for line in one.log()) > 0,  # noqa: B023
                "an attempt",
                PATIENCE,
            )
        session = lab.launch_beside("later")
        session.wait_connected()
    assert not listener.answers & own
    assert not listener.errors & own
    assert not any(one.connected() for one in asking[:-1])


def allow(lab: Lab, foreign: str) -> None:
    """Whether the kernels of a and b let any process send from an IPv6 address that is not here."""
    for name, value in zip("ab", foreign, strict=True):
        set_sysctls(lab.topology.namespace(name), {"net/ipv6/ip_nonlocal_bind": value})


@pytest.mark.parametrize("foreign", ["01", "10"], ids=["target", "master"])
def test_a_switchover_where_the_kernels_of_the_two_differ(make_lab: MakeLab, foreign: str) -> None:
    """There, and back when each has been told what the other one was, with nothing started anew."""
    lab = make_lab(transport=BOTH)
    allow(lab, foreign)
    session = begin_switchovers(lab)
    begin = session.mark()
    for values, old, new in ((foreign, "a", "b"), (foreign[::-1], "b", "a")):
        allow(lab, values)
        lab.wait_in_sync(new)
        config = lab.directory / "ovpnha.toml"
        said = run_command("switchover", "--config", config, "--node", old)
        assert f"{new} is master, {old} is standby" in said
    assert session.noticed(begin).nothing
    assert session.finish() == ""


def test_a_client_at_a_nodes_own_address_is_served_and_told(make_lab: MakeLab) -> None:
    lab = make_lab(transport=ANY, keepalive="1 8")
    lab.start_cluster()
    session = Session(lab)
    lone = beside(lab, "lone", replace(ANY, address=OUT.address(plan.node_number("a"))))
    wait_until(lambda: "clients_apart" in problems(lab, "a"), "that it is told", PATIENCE)
    wait_protected(lab, 1)
    assert instance(lab, "a")["apart"] == 1
    lab.wait_in_sync("b")
    assert instance(lab, "b")["records"] == 1
    wait_until(is_alive(lab, lone), "it is served", PATIENCE)

    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    assert session.noticed(killed).nothing
    assert "clients_apart" not in problems(lab, "b")
    wait_until(
        lambda: not noticed(lone.log(), killed.wall).nothing, "the other one notices", PATIENCE
    )


def test_several_addresses_of_one_family(make_lab: MakeLab) -> None:
    lab = make_lab(
        transport=Transport(shared=(OUT.vip, SECOND)), keepalive="1 20", vip_manager=None
    )
    namespaces = {name: lab.topology.namespace(name) for name in lab.nodes}
    change_vip(namespaces["a"], OUTSIDE2, "add")
    lab.start_cluster()
    session = Session(lab)
    other = beside(lab, "other", Transport(address=SECOND))
    wait_protected(lab, 2)
    begin = session.mark()
    with listening(lab) as listener:
        lab.nodes["a"].openvpn.kill()
        change_vip(namespaces["a"], OUTSIDE2, "del")
        lab.move_vips("b")
        assert session.recovers(begin, PATIENCE)
        # one is here and one is nowhere: the one is served, and it is told
        wait_until(lambda: "vips_parted" in problems(lab, "b"), "that it is told", PATIENCE)
        change_vip(namespaces["b"], OUTSIDE2, "add")
        wait_until(is_alive(lab, other), "the other one hears the server", PATIENCE)
        wait_until(lambda: "vips_parted" not in problems(lab, "b"), "its end", PATIENCE)
    assert listener.answers == {OUT.vip, SECOND}
    assert session.noticed(begin).nothing
    assert noticed(other.log(), begin.wall).nothing
    assert session.finish() == ""
