"""`ovpnha switchover`: the role goes to another node, and a ping stream of 10 ms loses nothing."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, sqrt

import pytest

from ovpnha.runtime.answers import SwitchoverAnswer
from ovpnha.runtime.control import SwitchoverRequest, ask
from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab.agents.flood import SIZE
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.measure import lost
from tests.lab.overflow import count_full_processors, count_full_queues
from tests.lab.rules import Rules
from tests.lab.session import Moment, Session
from tests.lab.sidecar import run_command
from tests.lab.stories import LOAD_MBIT, flood
from tests.lab.traffic import INTERVAL_MS
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MOST_LOST = 1
"""Probes of a switchover: the one that is under way while the switch learns the address."""

SETTLED = 0.5  # seconds until an answer that is still missing will not come
GOODBYE = ("explicit-exit-notify 1",)
BEGUN = "it has begun"


def begin(lab: Lab) -> Session:
    """A cluster with its client, and nothing stands against a move, to whomever.

    That a VIP manager reads the grade of a node which has just begun is known a while later.
    """
    lab.start_cluster()
    session = Session(lab)
    path = lab.nodes["a"].directory / "control.sock"

    def is_free(target: str) -> bool:
        request = SwitchoverRequest(to=target, dry_run=True)
        return not ask(path, request, SwitchoverAnswer, PATIENCE).obstacles

    for name in lab.nodes:
        if name != "a":
            wait_until(partial(is_free, name), f"nothing against a move to {name}", PATIENCE)
    return session


def switchover(lab: Lab, node: str, *arguments: str) -> str:
    """Give the command on this node."""
    config = lab.directory / "ovpnha.toml"
    return run_command("switchover", "--config", config, "--node", node, *arguments)


@dataclass
class Command:
    """The command while it runs; its outcome is what it printed, or why it failed."""

    lab: Lab
    node: str
    arguments: Sequence[str]
    outcome: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome.append(switchover(self.lab, self.node, *self.arguments))
        except LabError as error:
            self.outcome.append(f"failed: {error}")

    def wait(self) -> str:
        """Its outcome."""
        self._thread.join(60)
        (said,) = self.outcome
        return said


def phase(lab: Lab, node: str) -> str:
    """How far a switchover is, as this node sees it."""
    status = lab.nodes[node].sidecar.instance()
    told = status and status["switchover"]
    return told["phase"] if told else ""


def expect_nothing_lost(session: Session, moment: Moment, most: int = MOST_LOST) -> None:
    """Each stream lost a probe at most since the moment, and the client noticed nothing."""
    session.linger(SETTLED)
    print(f"longest gap {session.outage_ms(moment):.0f} ms")
    for stream in (session.forward, session.reverse):
        stream.stop()
        after = [one for one in stream.probes() if one.sent >= moment.monotonic]
        assert len(after) > SETTLED * 50
        print(f"lost {lost(after)} of {len(after)}")
        assert lost(after) <= most
    assert session.noticed(moment).nothing
    assert session.finish() == ""


@pytest.mark.parametrize("asked_on", ["a", "b"])
def test_of_a_ping_stream_nothing_is_lost(make_lab: MakeLab, asked_on: str) -> None:
    """There and back, whichever node it is asked for on."""
    lab = make_lab(server_options=GOODBYE)
    session = begin(lab)
    moment = session.mark()
    assert "udp: b is master, a is standby" in switchover(lab, asked_on)
    lab.wait_in_sync("a")
    report = json.loads(switchover(lab, asked_on, "--to", "a", "--json"))
    assert (report["phase"], report["master"], report["target"]) == ("done", "b", "a")
    assert list(report["times"]) == ["frozen", "promoted", "moved", "served"]
    lab.wait_in_sync("b")
    expect_nothing_lost(session, moment, 2 * MOST_LOST)


def test_of_three_nodes_the_one_that_is_named_is_master(make_lab: MakeLab) -> None:
    """The other has the better priority, and is as good."""
    lab = make_lab(nodes=3)
    session = begin(lab)
    moment = session.mark()
    assert "udp: c is master, a is standby" in switchover(lab, "b", "--to", "c")
    lab.wait_master("c")
    lab.wait_in_sync("a")
    lab.wait_in_sync("b")
    expect_nothing_lost(session, moment)


def test_through_translation_and_a_stateful_filter(make_lab: MakeLab) -> None:
    lab = make_lab(rules=Rules.SNAT_STATEFUL, conntrack=True)
    session = begin(lab)
    moment = session.mark()
    switchover(lab, "a", "--to", "b")
    lab.wait_in_sync("a")
    expect_nothing_lost(session, moment)


def overflows(lab: Lab) -> int:
    """Packets that a full machine dropped; no switchover loses one in this way."""
    processes = (lab.clients[0].process, *(node.openvpn for node in lab.nodes.values()))
    return sum(count_full_queues(one.pid) for one in processes) + count_full_processors()


def excused(dropped: int) -> int:
    """The most probes among so many datagrams that a full machine dropped.

    One in so many is a probe, on the average: more by three times the deviation are no surprise.
    """
    between = LOAD_MBIT * 1e6 / 8 / SIZE * INTERVAL_MS / 1000
    probes = dropped / between
    return ceil(probes + 3 * sqrt(probes))


def test_under_load_too(make_lab: MakeLab) -> None:
    """What the machine drops because it is full is not counted against the switchover."""
    lab = make_lab()
    session = begin(lab)
    load = lab.look_after(flood(lab)).start()
    try:
        calm = session.mark()
        session.linger(2.0)
        dropped = -overflows(lab)
        moment = session.mark()
        switchover(lab, "a", "--to", "b")
        session.linger(SETTLED)
        done = session.mark()
        dropped += overflows(lab)
        lab.wait_in_sync("a")
    finally:
        load.stop()
    probes = session.forward.probes()
    before = [one for one in probes if calm.monotonic <= one.sent < moment.monotonic]
    during = [one for one in probes if moment.monotonic <= one.sent < done.monotonic]
    print(
        f"lost {lost(during)} of {len(during)}, {lost(before)} of {len(before)} before;"
        f" a full machine dropped {dropped} datagrams"
    )
    as_before = ceil(lost(before) * len(during) / len(before))
    assert lost(during) <= MOST_LOST + max(excused(dropped), as_before)
    assert session.noticed(moment).nothing
    assert session.finish() == ""


def test_what_stands_against_it_is_told_and_nothing_happens(make_lab: MakeLab) -> None:
    lab = make_lab()
    session = begin(lab)
    plan = switchover(lab, "b", "--dry-run")
    assert "1. a begins no handshakes" in plan
    assert "Nothing stands against it." in plan
    for wanted, why in (("a", "a: is master already"), ("x", "x: no such node is heard")):
        with pytest.raises(LabError, match=why):
            switchover(lab, "b", "--to", wanted)
    moment = session.mark()
    lab.nodes["b"].vip_manager.stop()
    wait_until(lambda: not managed(lab, "b"), "node a sees that nobody reads b's grade", PATIENCE)
    with pytest.raises(LabError, match="b: no VIP manager reads its grade"):
        switchover(lab, "a")
    lab.nodes["b"].openvpn.kill()
    wait_until(lambda: role_heard(lab, "b") == "fault", "node a hears that b is in fault", PATIENCE)
    with pytest.raises(LabError, match="b: is fault, no standby"):
        switchover(lab, "a", "--dry-run")
    assert lab.master.name == "a"
    expect_nothing_lost(session, moment)


def role_heard(lab: Lab, name: str) -> str:
    """What this node is, as node a has heard."""
    status = lab.nodes["a"].sidecar.instance() or {"nodes": []}
    return next((str(one["role"]) for one in status["nodes"] if one["name"] == name), "")


def managed(lab: Lab, name: str) -> bool:
    """Whether a VIP manager reads this node's grade, as node a sees it."""
    status = lab.nodes["a"].sidecar.instance()
    return status is None or all(one["managed"] for one in status["nodes"] if one["name"] == name)


def test_a_vip_manager_that_dies_midway_costs_nothing(make_lab: MakeLab) -> None:
    """The target never gets the VIP, so all is as before."""
    lab = make_lab()
    session = begin(lab)
    moment = session.mark()
    lab.nodes["b"].vip_manager.kill()
    outcome = Command(lab, "b", ["--within", "1s"]).wait()
    assert "a serves on as before" in outcome
    assert lab.master.name == "a"
    lab.wait_in_sync("b")
    expect_nothing_lost(session, moment, 0)


def test_a_target_whose_openvpn_dies_midway_costs_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    session = begin(lab)
    moment = session.mark()
    b = lab.nodes["b"]
    b.openvpn.signal(signal.SIGSTOP)
    command = Command(lab, "a", ["--to", "b"])
    midway = {"preparing", "ready", "moving", "failed"}  # each for some 100 ms
    wait_until(lambda: phase(lab, "a") in midway, BEGUN, PATIENCE)
    b.openvpn.kill()
    outcome = command.wait()
    assert "failed: " in outcome
    assert lab.master.name == "a"
    b.openvpn.start()
    lab.wait_in_sync("b")
    lab.wait_master("a")
    expect_nothing_lost(session, moment, 0)


def test_a_sidecar_of_the_master_that_dies_midway(make_lab: MakeLab) -> None:
    """Wherever the VIP ends up, it is served, and no client notices."""
    lab = make_lab()
    session = begin(lab)
    moment = session.mark()
    a = lab.nodes["a"]
    command = Command(lab, "b", ["--to", "b", "--within", "2s"])
    wait_until(lambda: phase(lab, "b") not in {"", "wished"}, BEGUN, PATIENCE)
    a.sidecar.process.kill()
    outcome = command.wait()
    print(outcome)
    a.sidecar.process.start()
    wait_until(
        lambda: {one.grade() for one in lab.nodes.values()} == {120, 90}, "settled", PATIENCE
    )
    assert session.recovers(session.mark(), PATIENCE)
    session.linger(SETTLED)
    assert session.noticed(moment).nothing
    assert session.finish() == ""
