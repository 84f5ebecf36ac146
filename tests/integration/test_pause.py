"""`ovpnha pause`: work on keepalived and the network, and no node takes over meanwhile."""

from __future__ import annotations

import pytest

from tests.integration.conftest import MakeLab
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.session import Session
from tests.lab.sidecar import run_command
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def give(lab: Lab, node: str, *command: str) -> str:
    """Give a command on this node."""
    return run_command(*command, "--config", lab.directory / "ovpnha.toml", "--node", node)


def role(lab: Lab, node: str) -> str:
    status = lab.nodes[node].sidecar.instance()
    return status["role"] if status else ""


def kinds(lab: Lab, node: str) -> set[str]:
    """The kinds of problems that this node tells of."""
    status = lab.nodes[node].sidecar.instance()
    return {one["kind"] for one in status["problems"]} if status else set()


def test_nobody_acts_while_keepalived_is_worked_on(make_lab: MakeLab) -> None:
    """The VIP goes to the standby and back; its OpenVPN is promoted when it acts again."""
    lab = make_lab()
    lab.start_cluster()
    session = Session(lab)
    moment = session.mark()
    for node in ("a", "b"):
        assert "udp: paused for 10 min" in give(lab, node, "pause", "--for", "10min")
    lab.nodes["a"].vip_manager.stop()
    wait_until(lambda: lab.vips.holder() == "b", "the VIP is on node b", 20)
    wait_until(lambda: "paused_with_vip" in kinds(lab, "b"), "node b says what it does not do", 20)
    wait_until(lambda: role(lab, "a") == "held", "node a holds its clients", 20)
    assert role(lab, "b") == "standby"
    lab.nodes["b"].vip_manager.stop()
    lab.nodes["a"].vip_manager.start()
    lab.wait_master("a")
    lab.nodes["b"].vip_manager.start()
    for node in ("a", "b"):
        assert give(lab, node, "resume") == "udp: acts again\n"
    assert not kinds(lab, "b") & {"paused", "paused_with_vip"}
    assert session.recovers(session.mark(), 20)
    assert session.noticed(moment).nothing
    assert session.finish() == ""


def test_a_standby_fetches_its_copy_anew_and_can_take_over(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.start_cluster()
    session = Session(lab)
    moment = session.mark()
    assert give(lab, "b", "resync") == "udp: in sync with a again, 1 client\n"
    with pytest.raises(LabError, match="is master, no standby"):
        give(lab, "a", "resync")
    give(lab, "b", "switchover")
    lab.wait_in_sync("a")
    assert lab.master.name == "b"
    session.linger(1.0)
    assert session.noticed(moment).nothing
    assert session.finish() == ""
