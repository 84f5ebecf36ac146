"""A process that hangs closes no socket."""

from __future__ import annotations

from collections import deque

from ovpnha.model import Grade, InstanceName, Role
from ovpnha.node.openvpn.liveness import Liveness
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import Output, WriteManagement
from tests.model_cluster import World


def listen(answer_within: float = 3.0) -> tuple[Liveness, deque[Output], Openvpn]:
    outputs: deque[Output] = deque()
    openvpn = Openvpn(InstanceName("udp"), outputs)
    openvpn.open()
    return Liveness(openvpn, answer_within), outputs, openvpn


def hangs(liveness: Liveness, now: float) -> bool:
    liveness.handle_timer(now)
    return liveness.hangs


def test_silence_is_asked_about_before_it_counts() -> None:
    liveness, outputs, openvpn = listen()
    assert not hangs(liveness, 100.0)
    liveness.hear(10.0)
    assert not hangs(liveness, 10.9)
    assert not hangs(liveness, 11.0)
    openvpn.flush()
    assert outputs == deque([WriteManagement(InstanceName("udp"), b"load-stats\n")])
    assert not hangs(liveness, 13.9)
    assert hangs(liveness, 14.0)


def test_an_answer_ends_the_suspicion() -> None:
    liveness, _, _ = listen()
    liveness.hear(10.0)
    liveness.handle_timer(11.0)
    liveness.hear(11.1)
    assert liveness.get_timer() == 12.1
    liveness.stop(11.2)
    assert liveness.get_timer() is None


def test_a_pause_of_this_process_is_not_openvpns() -> None:
    liveness, _, _ = listen()
    liveness.hear(10.0)
    assert not hangs(liveness, 11.0)
    assert not hangs(liveness, 60.0)
    assert not hangs(liveness, 62.9)
    assert hangs(liveness, 63.0)


def test_it_is_known_since_when_openvpn_answers() -> None:
    liveness, *_ = listen()
    assert liveness.answers_since(5.0) is None
    for second in range(4):
        liveness.hear(second * 3.0)
    assert liveness.answers_since(12.0) == 0.0
    assert liveness.answers_since(12.1) is None
    liveness.hear(12.1)
    assert liveness.answers_since(12.1) == 12.1


def test_a_hanging_master_gives_the_vip_up_and_a_waking_one_is_found_again() -> None:
    world = World(1)
    node = world.add("a")
    world.move_vip("a")
    world.run(1.0)
    assert node.plays(Role.MASTER)
    hanging, node.openvpn = node.openvpn, None
    world.run(5.0)
    assert node.grades[-1].grade == Grade.FAULT
    assert node.grades[-1].reason == "OpenVPN does not answer"
    assert node.plays(Role.FAULT)
    node.openvpn = hanging
    node.connect()
    world.run(1.0)
    assert node.plays(Role.MASTER)
