"""What doctor learns of the sidecar and of its links between two looks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ovpnha.doctor.facts import NodeFacts, SidecarFacts, Unread
from ovpnha.node.statistics import NodeStatistics
from ovpnha.problems import ProblemKind
from ovpnha.runtime import hostsidecar
from ovpnha.runtime.hostservers import SidecarUser
from ovpnha.runtime.hostsidecar import StatusLook, look, make_links, make_sidecar

ME = SidecarUser(os.geteuid(), os.getpid())


def test_what_the_sidecar_says(statistics: NodeStatistics) -> None:
    one = statistics.instances[0]
    node = replace(one.nodes[0], openvpn="2.6.3")
    earlier = replace(statistics, refused={"version": 5, "kernel": 2})
    later = replace(
        statistics,
        ovpnha="9",
        refused={"version": 8, "kernel": 2},
        links={"bcn0": False},
        instances=(replace(one, nodes=(node,)),),
    )
    found = make_sidecar(StatusLook(0.0, earlier, {}), StatusLook(1.0, later, {}), ME)
    assert isinstance(found, SidecarFacts)
    assert (found.version, found.master) == ("9", True)
    assert found.refused == {"version": 3, "kernel": 0}
    assert found.nodes == (NodeFacts("b", "2.6.3", heard=True),)
    assert found.openvpn == {"udp": "2.6.14"}
    assert ProblemKind.LINK_DOWN in {one.kind for one in found.problems}
    assert not isinstance(found.capabilities, Unread)
    first = make_sidecar(StatusLook(0.0, None, {}), StatusLook(1.0, later, {}), SidecarUser(0))
    assert isinstance(first, SidecarFacts)
    assert first.refused == {"version": 0, "kernel": 0}
    assert isinstance(first.capabilities, Unread)


@pytest.mark.parametrize("status", [None, Unread("run as root")])
def test_a_sidecar_that_does_not_run_or_may_not_be_asked(status: Unread | None) -> None:
    one = StatusLook(0.0, status, {})
    assert make_sidecar(one, one, ME) is status


def test_nothing_is_looked_at_without_a_configuration() -> None:
    found = look(None, 1.0)
    assert (found.status, found.links) == (None, {})
    assert hostsidecar.find_user(None).pid == 0


def test_what_went_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostsidecar, "CLASS", tmp_path)
    (tmp_path / "bcn0").mkdir()
    (tmp_path / "bcn0" / "mtu").write_text("1400\n")
    before = {"bcn0": {"rx_packets": 5, "tx_packets": 7, "rx_dropped": 1}, "gone": {}}
    after = {"bcn0": {"rx_packets": 9, "tx_packets": 7, "rx_dropped": 4}, "gone": {}}
    (found,) = make_links(StatusLook(1.0, None, before), StatusLook(3.5, None, after))
    assert (found.name, found.mtu, found.seconds) == ("bcn0", 1400, 2.5)
    assert (found.received, found.sent, found.errors) == (4, 0, 3)
