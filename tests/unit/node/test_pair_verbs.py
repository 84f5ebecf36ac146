"""What a pair passes on, and to which of its two nodes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ovpnha.machines import Process
from ovpnha.model import (
    BootId,
    CheckState,
    InstanceName,
    NodeName,
    Role,
    Unreachable,
    Verdict,
    VipPlace,
)
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    CloseManagement,
    HistoryChanged,
    LogEvent,
    OpenvpnFound,
    Output,
    RoleChanged,
    RunFence,
    SetGrade,
    WriteManagement,
)
from ovpnha.node.pair import Pair, spare_config
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.node.voice import MachineVoice, tag
from ovpnha.replication.config import ReplicationConfig
from tests.model_cluster import INSTANCE
from tests.model_openvpn import ModelOpenvpn
from tests.model_pair import MAIN, SPARE
from tests.unit.node.doubles import STATUS
from tests.unit.node.pairs import lone, lone_serving

ALONE = InstanceName("alone")
KEYS = (bytes(32),)
GONE = Unreachable("nobody has it open", "start it", absent=True)


def make_pair() -> Pair:
    """A node of two instances, one of which has a spare."""
    rng = random.Random(1)  # noqa: S311 - a test's dice
    replication = ReplicationConfig(cluster="c", node=NodeName("a"), keys=KEYS, links=("x", "y"))
    config = NodeConfig(replication, (InstanceConfig(INSTANCE), InstanceConfig(ALONE)))
    nodes = [
        Node(one, boot=BootId(rng.randbytes(16)), random=rng.randbytes, now=10.0)
        for one in (config, spare_config(config, {INSTANCE}))
    ]
    return Pair(nodes[0], nodes[1], 10.0, "x")


def outputs(pair: Pair) -> list[Output]:
    found = []
    while (output := pair.next_output()) is not None:
        found.append(output)
    return found


def figures(pair: Pair, name: InstanceName) -> InstanceStatistics:
    return next(one for one in pair.statistics(11.0).instances if one.name == name)


def test_the_node_of_the_spares_has_the_instances_that_have_one() -> None:
    pair = make_pair()
    main, spare = pair._cores.values()
    assert (main.name, main.instance_names) == ("a", (INSTANCE, ALONE))
    assert (spare.name, spare.instance_names) == ("a:spare", (INSTANCE,))
    assert [one.name for one in pair.statistics(11.0).instances] == [INSTANCE, ALONE]
    assert figures(pair, ALONE).spare is None
    assert figures(pair, INSTANCE).spare is not None
    assert pair.statistics(11.0).heard == ()


def test_an_instance_without_a_spare_is_as_of_a_node() -> None:
    pair = make_pair()
    pair.vip_changed(ALONE, True, 10.0)
    pair.management_up(ALONE, 10.0)
    writes = [one for one in outputs(pair) if isinstance(one, WriteManagement)]
    assert [(one.instance, one.process) for one in writes] == [(ALONE, Process.MAIN)]
    pair.process_ended(ALONE, MAIN, 10.5)
    pair.management_down(ALONE, "closed by openvpn", 10.5)
    said = outputs(pair)
    pair.management_unreachable(ALONE, GONE, 10.5)
    assert [one.instance for one in said if isinstance(one, SetGrade)] == [ALONE]
    assert [one.new for one in said if isinstance(one, RoleChanged)] == [Role.FAULT]
    pair.ask_restart(ALONE, b"1", 1.0, 10.6)
    pair.ask_cancel(ALONE, 10.6)
    assert not pair.ask_retire(ALONE, SPARE, 10.6)
    assert pair.restart_figures(ALONE, 10.6) is None
    assert pair.clients(ALONE) == ()
    pair.ask_pause(ALONE, 5.0, 10.6)
    pair.ask_resume(ALONE, 10.7)
    assert pair.ask_promote(ALONE, 5.0, 10.7)
    parts = pair._main.instance(ALONE).parts
    assert parts.vip.promised(10.8)
    pair.ask_demote(ALONE, 10.9)
    assert not parts.vip.promised(10.9)


def test_what_is_of_the_machine_is_told_to_both() -> None:
    pair = make_pair()
    main, spare = (core.instance(INSTANCE).parts for core in pair._cores.values())
    check = CheckState("dns", Verdict.FAILED, critical=True)
    pair.checks_told({INSTANCE: (check,), ALONE: ()}, 10.0)
    pair.vip_placed(INSTANCE, VipPlace("eth7", exists=False), 10.0)
    pair.grade_read(INSTANCE, False, 10.0)
    pair.link_changed("x", False, 10.0)
    pair.fence_done(NodeName("b"), "no", 10.0)
    pair.use_keys([bytes(range(32))], {INSTANCE: b"k" * 32, ALONE: b"l" * 32}, 10.0)
    pair.ask_pause(INSTANCE, 5.0, 10.0)
    for parts in (main, spare):
        assert parts.checks.states == (check,)
        assert parts.vip_problems.first is not None
        assert not parts.view.links_up
        assert not parts.announcer.managed
        assert parts.pause.active
    assert len({core._replication.keys for core in pair._cores.values()}) == 1
    events = [one.event for one in outputs(pair) if isinstance(one, LogEvent)]
    assert events.count("bcn link") == 1
    pair.ask_resume(INSTANCE, 10.1)
    assert not main.pause.active
    assert not spare.pause.active


def test_a_vip_manager_is_missed_once_and_by_the_process_that_has_the_slot() -> None:
    pair = make_pair()
    pair.vip_changed(INSTANCE, False, 10.0)
    for process in Process:
        pair.management_unreachable(INSTANCE, GONE, 10.0, process)
    pair.grade_read(INSTANCE, False, 10.1)
    events = [one.event for one in outputs(pair) if isinstance(one, LogEvent)]
    assert events.count("vip manager missing") == 1


def commands(openvpn: ModelOpenvpn, name: str) -> list[str]:
    return [line for line in openvpn.commands if line.startswith(name)]


@pytest.mark.parametrize("serving", list(Process))
def test_an_administrator_speaks_to_the_process_that_has_the_slot(serving: Process) -> None:
    world, one = lone_serving(serving, clients=1)
    pair = one.pair
    assert pair is not None
    openvpn = one.openvpns[serving]
    uid = next(iter(openvpn.clients))
    one.do(lambda pair, now: pair.ask_renegotiate(INSTANCE, None, 5.0, now))
    one.do(lambda pair, now: pair.ask_clients(INSTANCE, now))
    world.run(3.0)
    assert commands(openvpn, f"cluster-reneg {uid.hex()}")
    assert [one.uid for one in pair.table(INSTANCE, world.now)] == [uid]
    assert [one.uid for one in pair.roster(INSTANCE, world.now).clients] == [uid]
    assert pair.ask_promote(INSTANCE, 1.0, world.now)
    assert not pair.ask_resync(INSTANCE, world.now)
    one.do(lambda pair, now: pair.ask_demote(INSTANCE, now))
    assert one.grades[-1].reason == "demote asked: handing the vip over".replace("vip", "VIP")
    assert pair.switchover(INSTANCE, b"12345678") is None


def test_the_voice_of_a_machine_is_that_of_one_process() -> None:
    said: list[Output] = []
    from collections import deque

    queue: deque[Output] = deque()
    voice = MachineVoice(queue)
    grade = SetGrade(INSTANCE, 120, "master")
    found = OpenvpnFound(INSTANCE, STATUS)
    fence = RunFence(INSTANCE, NodeName("b"), STATUS.epoch, True)
    voice.take(SPARE, grade, serving=False)
    voice.take(SPARE, found, serving=False)
    voice.take(MAIN, fence, serving=True)
    voice.say(MAIN, Role.STANDBY)
    voice.repeat(MAIN)
    said.extend(queue)
    assert said == [fence]
    queue.clear()
    voice.say(SPARE, Role.MASTER)
    voice.say(SPARE, Role.MASTER)
    voice.repeat(SPARE)
    assert list(queue) == [grade, replace(found, process=SPARE)]


def test_what_the_only_process_says_is_passed_on_and_said_once() -> None:
    from collections import deque

    queue: deque[Output] = deque()
    voice = MachineVoice(queue)
    change = RoleChanged(INSTANCE, Role.STANDBY, Role.MASTER, STATUS.epoch, "why")
    told = [
        SetGrade(INSTANCE, 120, "master"),
        change,
        OpenvpnFound(INSTANCE, STATUS),
        RunFence(INSTANCE, NodeName("b"), STATUS.epoch, True),
    ]
    for output in told:
        voice.pass_on(MAIN, output)  # type: ignore[arg-type]
    voice.say(MAIN, Role.MASTER)
    assert list(queue) == told
    voice.repeat(MAIN)
    assert queue[-1] == told[2]


def test_what_is_of_a_process_says_of_which() -> None:
    for output in (CloseManagement(INSTANCE, "why"), WriteManagement(INSTANCE, b"x")):
        assert tag(output, MAIN) is output
        assert tag(output, SPARE) == replace(output, process=SPARE)
    other = LogEvent("info", "x")
    assert tag(other, SPARE) is other


def test_the_history_is_told_once() -> None:
    world, one = lone()
    one.kill_process(MAIN)
    world.run(2.0)
    changed = [output.entry for output in one.outputs if isinstance(output, HistoryChanged)]
    assert len({(entry.key, entry.revision) for entry in changed}) == len(changed)
    assert {entry.node for entry in changed} == {"a", "a:spare"}
