"""A process that hangs closes no socket."""

from __future__ import annotations

from collections import deque

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import Output, WriteManagement
from ovpnha.coordinator.pulse import Pulse
from ovpnha.model import Grade, InstanceName, Role
from tests.model_cluster import World


def listen(answer_within: float = 3.0) -> tuple[Pulse, deque[Output], Openvpn]:
    outputs: deque[Output] = deque()
    openvpn = Openvpn(InstanceName("udp"), outputs)
    openvpn.open()
    return Pulse(openvpn, answer_within), outputs, openvpn


def test_silence_is_asked_about_before_it_counts() -> None:
    pulse, outputs, openvpn = listen()
    assert not pulse.handle_timer(100.0)
    pulse.hear(10.0)
    assert not pulse.handle_timer(10.9)
    assert not pulse.handle_timer(11.0)
    openvpn.flush()
    assert outputs == deque([WriteManagement(InstanceName("udp"), b"load-stats\n")])
    assert not pulse.handle_timer(13.9)
    assert pulse.handle_timer(14.0)


def test_an_answer_ends_the_suspicion() -> None:
    pulse, _, _ = listen()
    pulse.hear(10.0)
    pulse.handle_timer(11.0)
    pulse.hear(11.1)
    assert pulse.due == 12.1
    pulse.stop()
    assert pulse.due is None


def test_a_pause_of_this_process_is_not_openvpns() -> None:
    pulse, _, _ = listen()
    pulse.hear(10.0)
    assert not pulse.handle_timer(11.0)
    assert not pulse.handle_timer(60.0)
    assert not pulse.handle_timer(62.9)
    assert pulse.handle_timer(63.0)


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
