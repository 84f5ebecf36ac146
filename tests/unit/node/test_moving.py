"""What stands against a planned move, and what becomes of one in odd company."""

from __future__ import annotations

import pytest

from ovpnha.machines import Process, sibling_of
from ovpnha.model import Descriptors, NodeName
from ovpnha.node.master.rekey import SHORT
from ovpnha.node.moving import (
    CANCELLED,
    END_AFTER,
    HANDSHAKES,
    NOBODY_SERVED,
    QUIESCE_AFTER,
    RETURN_MAX,
    Move,
    MovePhase,
)
from ovpnha.node.outputs import PassDescriptors
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair
from tests.unit.node.pairs import ask, lone


def phase_of(one: ModelPair) -> MovePhase | None:
    return one.told.phase


def serving(one: ModelPair) -> Process:
    return one.told.figures.serving


def test_two_that_know_of_no_spares_are_said_to_be_old() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    for process in Process:
        one.run_process(process, spares=False).descriptors = Descriptors.OWN
    one.boot()
    one.set_vip(True)
    world.run_until(lambda: one.serves is MAIN)
    world.run(0.2)
    assert "knows of no spares" in one.told.obstacles[0]


def test_an_openvpn_without_the_patch_serves_as_ever() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, patched=False)
    one.boot()
    one.set_vip(True)
    world.run(3.0)
    assert one.told.figures.serving is MAIN
    assert [grade.reason for grade in one.grades][-1] == (
        "OpenVPN without the patch, and the VIP is here"
    )


def test_while_the_vip_is_not_known_one_without_the_patch_could_serve() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, patched=False)
    one.boot()
    world.run(3.0)
    assert one.told.figures.main.place == "standby"


@pytest.mark.parametrize("comes", [False, True])
def test_a_vip_that_is_only_promised_is_waited_for(comes: bool) -> None:
    """No hold would follow. Whatever becomes of the move, clients get new keys when asked."""
    world = World()
    one = add_pair(world, "a")
    world.run(2.0)
    one.do(lambda pair, now: pair.ask_promote(INSTANCE, 20.0, now))
    world.run_until(lambda: one.serves is MAIN)
    one.openvpns[MAIN].connect_client("x")
    one.pump_process(MAIN)
    ask(one)
    world.run(1.0)
    assert (phase_of(one), one.told.reason) == (MovePhase.WAITING, one.told.obstacles[0])
    assert one.told.obstacles == ("the VIP is only promised, and has not come yet",)
    if comes:
        one.set_vip(True)
    world.run(2.0)
    assert phase_of(one) is (MovePhase.DONE if comes else MovePhase.FAILED)
    one.set_vip(True)
    world.run(5.0)
    one.do(lambda pair, now: pair.ask_renegotiate(INSTANCE, None, 10.0, now))
    world.run(5.0)
    commands = one.openvpns[serving(one)].commands
    assert [line for line in commands if line.startswith("cluster-reneg ")]


def test_few_packet_ids_stand_against_it() -> None:
    world, one = lone(clients=1)
    [client] = one.openvpns[MAIN].clients.values()
    for room, stands in ((SHORT - 1, True), (SHORT, False)):
        client.keys[0].limit = client.keys[0].next_id + room
        world.run(30.0)
        assert any("few packet ids" in text for text in one.told.obstacles) is stands


def test_so_does_a_client_that_is_not_there_as_it_is_now() -> None:
    world, one = lone(clients=1)
    assert one.pair is not None
    exporter = one.pair._slots[INSTANCE].parts(MAIN).exporter
    [uid] = exporter.table
    exporter.table.lose_copy(uid, sibling_of(NodeName("a")), world.now)
    assert one.told.obstacles == ("not all clients are there as they are now",)


def test_who_is_asked_before_anything_is_known_waits() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    for process in Process:
        one.run_process(process).descriptors = Descriptors.OWN
    one.deaf |= {MAIN, SPARE}
    one.boot()
    ask(one, 9.0)
    world.run(0.2)
    assert one.told.obstacles == ("it is not known yet which process serves",)
    assert phase_of(one) is MovePhase.WAITING
    one.hear_again()
    world.run(1.0)
    assert phase_of(one) is MovePhase.FAILED
    assert one.told.reason == NOBODY_SERVED


def cancel(one: ModelPair) -> None:
    one.do(lambda pair, now: pair.ask_cancel(INSTANCE, now))


def test_what_is_not_wanted_any_more_does_not_come_later() -> None:
    """The spare that was missing comes up: nobody would watch it serve."""
    world, one = lone()
    cancel(one)
    assert phase_of(one) is None
    one.kill_process(SPARE)
    world.run(0.1)
    ask(one, 90.0)
    world.run(2.0)
    assert phase_of(one) is MovePhase.WAITING
    cancel(one)
    assert (phase_of(one), one.told.reason) == (MovePhase.FAILED, CANCELLED)
    one.run_process(SPARE)
    world.run(5.0)
    assert (one.serves, one.told.obstacles) == (MAIN, ())
    cancel(one)
    ask(one)
    world.run(0.1)
    assert (phase_of(one), one.serves) == (MovePhase.DONE, SPARE)


def test_clients_are_not_put_off_for_what_is_not_wanted_any_more() -> None:
    world, one = lone()
    main = one.openvpns[MAIN]
    main.handshakes_told = 1
    ask(one, 90.0)
    world.run(QUIESCE_AFTER + 0.1)
    assert main.quiesced
    cancel(one)
    world.run(0.1)
    assert not main.quiesced


def test_what_has_begun_goes_on_to_its_end() -> None:
    world, one = lone()
    ask(one, 90.0)
    world.run_until(lambda: phase_of(one) is MovePhase.HOLDING)
    cancel(one)
    assert phase_of(one) is MovePhase.HOLDING
    world.run_until(lambda: phase_of(one) is MovePhase.DONE)
    assert one.serves is SPARE


def test_but_waits_no_longer() -> None:
    """A handshake has begun as the hold was on its way."""
    world, one = lone()
    ask(one, 90.0)
    world.run_until(lambda: phase_of(one) is MovePhase.HOLDING)
    one.openvpns[MAIN].handshakes_told = 1
    cancel(one)
    world.run_until(lambda: phase_of(one) is MovePhase.FAILED)
    assert one.told.reason == HANDSHAKES
    one.openvpns[MAIN].handshakes_told = 0
    world.run(2.0)
    assert one.serves is MAIN


def test_one_that_waits_for_whom_nobody_knows_is_given_up_too() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.deaf |= {MAIN, SPARE}
    one.boot()
    ask(one, 9.0)
    world.run(0.2)
    cancel(one)
    assert (phase_of(one), one.told.reason) == (MovePhase.FAILED, CANCELLED)


def test_a_slot_that_moves_by_itself_leaves_a_waiting_move_alone() -> None:
    world = World()
    one = add_pair(world, "a")
    world.run(2.0)
    one.kill_process(MAIN)
    world.run(0.1)
    assert one.told.figures.serving is SPARE
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    ask(one, 1.0)
    one.run_process(MAIN)
    world.run(0.5)
    assert phase_of(one) is MovePhase.WAITING
    assert serving(one) is SPARE
    world.run(1.0)
    assert phase_of(one) is MovePhase.FAILED
    assert serving(one) is MAIN


def test_one_that_waits_and_ends_leaves_nothing_open() -> None:
    world, one = lone()
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE).refuse_for_good["cluster-take"] = "unsuitable no"
    world.run(0.5)
    assert one.told.figures.spare.place == "waiting"
    one._detach(SPARE, "closed by openvpn")
    world.run(0.1)
    one.attach(SPARE)
    world.run(0.5)
    assert one.told.figures.spare.place == "waiting"
    assert one.serves is MAIN


def test_a_move_that_is_over_has_no_timer() -> None:
    move = Move(b"1", 1.0, 3.0)
    assert move.get_timer(1.0) == 3.0
    move.enter(MovePhase.HOLDING, 2.0)
    assert move.get_timer(2.0) == 2.5
    assert move.get_timer(2.5) is None
    move.enter(MovePhase.RETURNING, 2.5)
    assert move.get_timer(2.5) == 2.5 + END_AFTER
    assert move.get_timer(2.5 + END_AFTER) == 2.5 + RETURN_MAX
    move.enter(MovePhase.DONE, 2.2)
    assert move.get_timer(2.2) is None


def test_a_crash_ends_a_move_that_waits() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, 9.0)
    world.run(0.1)
    one.kill_process(MAIN)
    world.run_until(lambda: one.serves is SPARE)
    assert one.told.phase is MovePhase.FAILED
    assert one.told.reason == "a process has ended meanwhile"


def test_copies_without_packet_ids_stand_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = lone()
    assert one.pair is not None
    importer = one.pair._slots[INSTANCE].parts(SPARE).importer
    monkeypatch.setattr(importer, "rangeless", lambda _now: 1)
    assert one.told.obstacles[-1] == "clients are there that have no packet ids"


def test_descriptors_that_nobody_wants_any_more_go_nowhere() -> None:
    world, one = lone()
    assert one.pair is not None
    sharing = one.pair._slots[INSTANCE].parts(MAIN).sharing
    sharing.offered = True
    before = len(one.outputs)
    world.run(1.0)
    assert not sharing.offered
    assert not [output for output in one.outputs[before:] if isinstance(output, PassDescriptors)]


@pytest.mark.parametrize("phase", [MovePhase.HOLDING, MovePhase.PROMOTING, MovePhase.RETURNING])
def test_while_a_process_has_not_answered_there_is_nothing_to_do(phase: MovePhase) -> None:
    world, one = lone()
    assert one.pair is not None
    slot = one.pair._slots[INSTANCE]
    if phase is not MovePhase.HOLDING:
        one.deaf.add(SPARE)
    ask(one)
    world.run_until(lambda: phase_of(one) is phase)
    assert not slot.advance(world.now)
    assert phase_of(one) is phase
