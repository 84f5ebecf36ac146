"""The role goes to the other process of a machine because somebody has asked for it."""

from __future__ import annotations

import pytest

from ovpnha.machines import Process
from ovpnha.model import Descriptors, Grade, Role, Sync
from ovpnha.node.cluster.switchover import Switchover
from ovpnha.node.moving import (
    ANSWER_MAX,
    END_AFTER,
    HANDSHAKES,
    QUIESCE_AFTER,
    QUIESCE_EVERY,
    RENEWED_WITHIN,
    RETURN_MAX,
    MovePhase,
)
from ovpnha.node.openvpn.openvpn import QUIESCE_FOR
from ovpnha.node.outputs import OpenvpnFound, PassDescriptors
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair
from tests.unit.node.pairs import GAP, alone, ask, ends_asked, history, lone, move, phase, two


@pytest.mark.parametrize("seed", range(5))
def test_a_planned_move(seed: int) -> None:
    world, one = lone(seed)
    table, said, changed = one.openvpns[MAIN].table(), len(one.grades), len(one.roles)
    ask(one)
    world.run_until(phase(one, MovePhase.DONE))
    assert one.serves is SPARE
    assert one.openvpns[SPARE].table() == table
    assert one.openvpns[MAIN].role is Role.HELD
    orders = [line for line in one.openvpns[MAIN].commands if line.startswith("cluster-")]
    assert orders[-3:] == ["cluster-silence leave", "cluster-hold", "cluster-status"]
    assert one.told.figures.restarts == 1
    world.run(4.0)
    assert one.openvpns[MAIN].role is Role.STANDBY
    world.run_until(lambda: one.told.figures.main.sync is Sync.IN_SYNC)
    assert (len(one.grades), len(one.roles)) == (said, changed)
    reasons = {entry.reason for entry in history(one) if entry.new in (Role.MASTER, Role.HELD)}
    assert "openvpn restarted" in reasons


def test_the_shell_hears_of_the_openvpn_that_serves() -> None:
    world, one = lone()
    move(world, one)
    found = [output for output in one.outputs if isinstance(output, OpenvpnFound)]
    assert found[-1].process is SPARE


def test_fifty_moves_in_a_row() -> None:
    world, one = lone(clients=4)
    clients = set(one.openvpns[MAIN].clients)
    for number in range(50):
        ask(one, 30.0, bytes([number]))
        world.run_until(lambda: one.told.phase is MovePhase.DONE, 40.0)
        serving = one.serves
        assert serving is not None
        for uid in clients:
            assert one.openvpns[serving].send_packet(uid) is not None
    assert one.told.figures.restarts == 50


def test_who_has_left_without_a_word_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came by a move, so its goodbye cannot be read, and it gets no new key."""
    world, one = lone()
    monkeypatch.setattr(one.openvpns[SPARE], "renegotiate", lambda _uid: None)
    move(world, one)
    ask(one, 90.0)
    world.run(5.0)
    assert "new keys after the last move" in one.told.obstacles[0]
    took = 5.0 + world.run_until(phase(one, MovePhase.DONE), 90.0)
    assert took == pytest.approx(RENEWED_WITHIN, abs=0.1)
    assert one.serves is MAIN


def test_one_that_dies_before_anything_is_moved_is_followed_and_the_move_is_off() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, 5.0)
    world.run_until(phase(one, MovePhase.WAITING))
    one.kill_process(MAIN)
    assert world.run_until(lambda: one.serves is SPARE) < GAP
    assert (one.told.phase, one.told.reason) == (
        MovePhase.FAILED,
        "a process has ended meanwhile",
    )


def test_a_move_is_not_waited_for_longer_than_asked_while_nobody_is_known() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN)
    one.run_process(SPARE)
    one.barred.update(Process)
    one.set_vip(True)
    one.boot()
    ask(one, 0.5)
    world.run(0.4)
    assert phase(one, MovePhase.WAITING)()
    world.run(0.2)
    assert phase(one, MovePhase.FAILED)()
    assert one.told.reason == "it is not known yet which process serves"


def test_a_sidecar_that_has_just_begun_tells_that_it_does_not_know_who_serves() -> None:
    """Until then the main process stands for both, as the one that serves."""
    world, one = lone()
    move(world, one)
    world.run(4.0)
    one.end_sidecar()
    one.barred.add(SPARE)
    one.boot()
    world.run(0.2)
    told = one.told
    assert (told.settled, told.figures.serving, told.figures.main.place) == (False, MAIN, "standby")
    one.barred.clear()
    one.attach(SPARE)
    world.run(0.2)
    assert (one.told.settled, one.told.figures.serving) == (True, SPARE)


def test_a_server_without_the_patch_is_the_only_one_there_is() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, patched=False)
    one.set_vip(True)
    one.boot()
    world.run(5.0)
    assert one.told.figures.serving is MAIN
    one.set_vip(False)
    world.run(1.0)
    assert one.told.figures.main.place == "standby"


def test_one_that_waited_and_is_gone_served_nobody() -> None:
    world, one = alone(spares=False)
    one.run_process(SPARE)
    world.run(1.0)
    one.kill_process(SPARE, proof=None)
    world.run(0.1)
    assert one.pair is not None
    assert one.pair._slots[INSTANCE]._look(SPARE).ended


def test_descriptors_that_nobody_waits_for_any_more_are_passed_to_nobody() -> None:
    world, one = alone()
    one.run_process(SPARE)
    world.run_until(lambda: "cluster-descriptors" in one.openvpns[MAIN].commands)
    one.openvpns.pop(SPARE)
    one._detach(SPARE, "closed by openvpn")
    world.run(0.1)
    assert not [output for output in one.outputs if isinstance(output, PassDescriptors)]


def test_handshakes_are_waited_for() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, 1.0)
    world.run(0.5)
    assert one.told.phase is MovePhase.WAITING
    one.openvpns[MAIN].handshakes_told = 0
    assert world.run_until(phase(one, MovePhase.DONE)) < 0.05


def test_a_handshake_that_begins_as_the_hold_is_on_its_way_is_not_cut_off() -> None:
    """The first one serves on until that is over, and keeps what it has."""
    world, one = lone()
    main = one.openvpns[MAIN]
    ask(one, 1.0)
    world.run_until(phase(one, MovePhase.HOLDING))
    main.handshakes_told = 1
    world.run_until(phase(one, MovePhase.WAITING))
    assert world.run_until(lambda: one.serves is MAIN) < GAP
    world.run(0.2)
    assert (one.serves, one.openvpns[SPARE].role) == (MAIN, Role.STANDBY)
    assert (one.told.phase, len(main.clients)) == (MovePhase.WAITING, 3)
    main.handshakes_told = 0
    world.run_until(phase(one, MovePhase.DONE))
    assert one.serves is SPARE


@pytest.mark.parametrize("seed", range(5))
def test_what_was_asked_before_the_hold_is_no_answer_behind_it(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It answers late, and a handshake begins as it reads the hold."""
    world, one = lone(seed)
    main = one.openvpns[MAIN]
    receive = main.receive

    def begin_and_receive(data: bytes) -> None:
        main.handshakes_told = int(b"cluster-hold" in data)
        receive(data)

    monkeypatch.setattr(main, "receive", begin_and_receive)
    one.deaf.add(MAIN)
    ask(one, 1.0)
    world.run(0.03)
    one.hear_again()
    world.run_until(phase(one, MovePhase.HOLDING))
    world.run_until(lambda: not phase(one, MovePhase.HOLDING)())
    assert one.told.phase is MovePhase.WAITING
    assert world.run_until(lambda: one.serves is MAIN) < GAP
    monkeypatch.setattr(main, "receive", receive)
    world.run_until(phase(one, MovePhase.DONE))
    assert one.serves is SPARE


def make_slow(
    monkeypatch: pytest.MonkeyPatch, world: World, one: ModelPair, seconds: float
) -> list[bytes]:
    """Its main process takes so long for each write that asks its status; returns those."""
    write, read, free = one._write_to, list[bytes](), world.now

    def write_slowly(process: Process, connection: int, data: bytes) -> None:
        nonlocal free
        if process is SPARE:
            write(process, connection, data)
            return
        free = max(free, world.now)
        if b"cluster-status" in data:
            free += seconds
            read.append(data)
        world.later(free - world.now, write, process, connection, data)

    monkeypatch.setattr(one, "_write_to", write_slowly)
    return read


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.45])
def test_one_that_answers_slowly_is_asked_once_before_the_hold_and_once_in_its_write(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """So it is silent for no longer than it takes for the one write."""
    world, one = lone()
    read = make_slow(monkeypatch, world, one, seconds)
    ask(one)
    world.run_until(phase(one, MovePhase.HOLDING))
    assert world.run_until(phase(one, MovePhase.DONE)) < seconds + GAP
    assert one.serves is SPARE
    assert read == [
        b"cluster-status\n",
        b"cluster-silence leave\ncluster-hold\ncluster-status\n",
    ]


def test_what_was_said_while_something_stood_against_a_move_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, one = lone()
    main = one.openvpns[MAIN]
    read = make_slow(monkeypatch, world, one, 0.05)
    ask(one)
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    world.run(0.2)
    assert one.told.phase is MovePhase.WAITING
    assert read.count(b"cluster-status\n") == 1
    main.handshakes_told = 1
    one.do(lambda pair, now: pair.ask_resume(INSTANCE, now))
    world.run(0.2)
    assert "cluster-hold" not in main.commands
    main.handshakes_told = 0
    world.run_until(phase(one, MovePhase.DONE))


def test_a_question_that_left_behind_no_hold_holds_up_no_other_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, one = lone()
    assert one.pair is not None
    core = one.pair._slots[INSTANCE]._cores[MAIN]
    with monkeypatch.context() as lost:
        lost.setattr(core, "vip_changed", lambda *_: None)
        ask(one)
        world.run_until(phase(one, MovePhase.FAILED))
    ask(one)
    world.run_until(phase(one, MovePhase.DONE))


def test_nor_does_one_that_is_refused() -> None:
    world, one = lone()
    one.openvpns[MAIN].refuse_for_good["cluster-status"] = "unsuitable no"
    ask(one, 0.1)
    world.run(0.15)
    assert one.told.phase is MovePhase.FAILED
    one.openvpns[MAIN].refuse_for_good.clear()
    ask(one)
    world.run_until(phase(one, MovePhase.DONE))


def test_but_not_for_ever() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, 0.5)
    world.run(0.6)
    assert one.told.phase is MovePhase.FAILED
    assert one.told.reason == "clients are inside a handshake all the time"
    assert one.serves is MAIN


def quiesced(one: ModelPair) -> list[str]:
    found = [line for line in one.openvpns[MAIN].commands if line.startswith("cluster-quiesce")]
    return [line.partition(" ")[2] for line in found]


def test_where_handshakes_begin_all_the_time_none_begins_for_a_while() -> None:
    world, one = lone()
    one.openvpns[MAIN].guests = True
    ask(one, 60.0)
    took = world.run_until(phase(one, MovePhase.DONE))
    assert took == pytest.approx(QUIESCE_AFTER, abs=0.1)
    assert quiesced(one) == [str(QUIESCE_FOR)]
    assert one.serves is SPARE


def test_nobody_is_put_off_for_a_move_that_need_not_wait() -> None:
    world, one = lone()
    move(world, one)
    assert not quiesced(one)


def test_a_handshake_that_does_not_end_lets_all_the_others_begin_in_between() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, QUIESCE_AFTER + QUIESCE_EVERY + 1.0)
    world.run_until(lambda: quiesced(one) == ["5"])
    assert world.run_until(lambda: quiesced(one) == ["5", "5"]) == pytest.approx(QUIESCE_EVERY)
    world.run_until(phase(one, MovePhase.FAILED))
    world.run(0.01)
    assert one.told.reason == HANDSHAKES
    assert quiesced(one) == ["5", "5", "0"]


def test_a_move_that_is_given_up_ends_no_while_of_a_switchover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, QUIESCE_AFTER + 1.0)
    world.run_until(lambda: quiesced(one) == ["5"])
    monkeypatch.setattr(Switchover, "freezes", True)
    world.run_until(phase(one, MovePhase.FAILED))
    world.run(0.01)
    assert quiesced(one) == ["5"]


def test_nobody_is_put_off_while_something_else_stands_against_it() -> None:
    world, one = lone()
    one.openvpns[MAIN].guests = True
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    ask(one, 60.0)
    world.run(QUIESCE_AFTER + 1.0)
    assert not quiesced(one)
    one.do(lambda pair, now: pair.ask_resume(INSTANCE, now))
    took = world.run_until(phase(one, MovePhase.DONE))
    assert took == pytest.approx(QUIESCE_AFTER, abs=0.1)


def test_an_openvpn_that_cannot_put_anybody_off_is_waited_for_as_ever() -> None:
    world, one = lone()
    main = one.openvpns[MAIN]
    main.guests = True
    main.refuse_for_good["cluster-quiesce"] = "unknown command"
    ask(one, 60.0)
    world.run(QUIESCE_AFTER + 1.0)
    assert phase(one, MovePhase.WAITING)()
    main.guests = False
    world.run_until(phase(one, MovePhase.DONE))


def test_a_spare_that_lacks_clients_is_waited_for() -> None:
    world, one = lone()
    one.deaf.add(SPARE)
    one.openvpns[MAIN].connect_client("late")
    one.pump_process(MAIN)
    world.run(0.2)
    ask(one, 5.0)
    world.run(0.5)
    assert one.told.phase is MovePhase.WAITING
    assert one.told.obstacles
    one.hear_again()
    world.run_until(phase(one, MovePhase.DONE))
    assert len(one.openvpns[SPARE].clients) == 4


def test_other_options_are_refused_by_name_and_another_certificate_is_none() -> None:
    world, one = lone()
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE, digest="d2", certificate="c2")
    world.run(2.0)
    ask(one, 60.0)
    assert world.run_until(phase(one, MovePhase.FAILED)) < GAP  # it will not become another
    assert "configuration differs" in one.told.reason
    assert one.told.figures.spare.problem
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE, certificate="c2", issuer="i2")
    world.run_until(lambda: not one.told.obstacles)
    move(world, one)
    assert one.serves is SPARE


def test_an_older_openvpn_is_said_to_be_one() -> None:
    world, one = alone(spares=False)
    one.run_process(SPARE)
    world.run(1.0)
    assert one.told.figures.spare.place == "waiting"
    assert "cluster-descriptors" not in one.openvpns[MAIN].commands


def test_unsuitable_descriptors_are_told_and_tried_again() -> None:
    world, one = alone()
    one.run_process(SPARE).refuse["cluster-take"] = "unsuitable another port"
    world.run(1.0)
    assert one.told.figures.spare.place == "waiting"
    assert "another port" in one.told.obstacles[0]
    world.run_until(lambda: not one.told.obstacles)
    assert one.openvpns[SPARE].descriptors is Descriptors.TAKEN


def test_another_port_is_refused_by_name_as_soon_as_it_is_known_of_a_new_process() -> None:
    world, one = lone()
    one.kill_process(SPARE)
    world.run(0.1)
    refusal = "unsuitable port differs: the socket has 1194"
    one.run_process(SPARE).refuse["cluster-take"] = refusal
    world.run(1.0)
    ask(one, 60.0)
    world.run(0.5)
    assert one.told.phase is MovePhase.WAITING  # that one may be about to end
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE).refuse["cluster-take"] = refusal
    assert world.run_until(phase(one, MovePhase.FAILED)) < 1.0
    assert "port differs: the socket has 1194" in one.told.reason
    assert "port differs" in one.told.figures.spare.problem


def test_one_that_does_not_pass_on_is_asked_again() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN).refuse["cluster-descriptors"] = "failed no"
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.run_process(SPARE)
    world.run(1.0)
    assert one.told.figures.spare.place == "waiting"
    world.run_until(lambda: not one.told.obstacles)


def test_a_pause_stands_against_a_move() -> None:
    world, one = lone()
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    assert one.told.obstacles == ("a pause, a switchover or a demote is under way",)
    ask(one, 0.5)
    world.run(1.0)
    assert (one.serves, one.told.phase) == (MAIN, MovePhase.FAILED)


def test_a_paused_machine_that_serves_goes_on_after_a_crash() -> None:
    world, one = lone()
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    said = len(one.grades)
    for died in (MAIN, SPARE):
        one.kill_process(died)
        assert world.run_until(lambda died=died: one.serves is died.other) < GAP  # type: ignore[misc]
        one.run_process(died)
        world.run(3.0)
    assert one.figures.pause.paused_for > 0.0
    assert len(one.grades) == said


def test_a_pause_that_is_asked_in_a_move_costs_nothing() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.HOLDING))
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    assert world.run_until(lambda: one.serves is SPARE) < GAP
    assert one.told.phase in (MovePhase.PROMOTING, MovePhase.DONE)


def test_a_paused_machine_that_does_not_serve_begins_to_by_no_crash() -> None:
    world = World()
    one = add_pair(world, "a")
    world.run(3.0)
    one.do(lambda pair, now: pair.ask_pause(INSTANCE, 60.0, now))
    one.kill_process(MAIN)
    one.set_vip(True)
    world.run(1.0)
    assert (one.serves, one.told.figures.serving) == (None, SPARE)
    one.do(lambda pair, now: pair.ask_resume(INSTANCE, now))
    assert world.run_until(lambda: one.serves is SPARE) < GAP


def test_a_hold_that_is_not_answered_is_taken_back() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.WAITING))
    world.run_until(phase(one, MovePhase.HOLDING))
    one.deaf.add(MAIN)
    world.run(ANSWER_MAX + 0.05)
    assert one.told.phase is MovePhase.FAILED
    assert one.told.reason == "the process that serves has not answered the hold"
    one.hear_again()
    world.run(0.1)
    assert one.serves is MAIN
    assert one.openvpns[SPARE].role is Role.STANDBY
    assert len(one.openvpns[MAIN].clients) == 3


def test_one_that_dies_while_it_is_held_is_followed_by_the_other() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.HOLDING))
    one.kill_process(MAIN)
    assert world.run_until(lambda: one.serves is SPARE) < GAP
    assert one.told.phase is MovePhase.FAILED


def fail_to_promote(*, ends: bool) -> tuple[World, ModelPair]:
    """The spare is ordered to be master, and hears nothing any more."""
    world, one = lone()
    one.ends = ends
    ask(one)
    world.run_until(phase(one, MovePhase.PROMOTING))
    one.deaf.add(SPARE)
    world.run(ANSWER_MAX + 0.01)
    assert one.told.phase is MovePhase.RETURNING
    assert one.serves is None
    return world, one


def test_one_that_does_not_take_over_is_ended_before_the_first_serves_again() -> None:
    world, one = fail_to_promote(ends=True)
    world.run(END_AFTER - 0.02)
    assert one.serves is None
    world.run(0.1)
    assert one.serves is MAIN
    assert len(one.openvpns[MAIN].clients) == 3
    assert one.told.phase is MovePhase.FAILED
    assert one.grades[-1].grade == Grade.MASTER


def test_or_answers_after_all() -> None:
    world, one = fail_to_promote(ends=False)
    world.run(2.5)
    assert len(ends_asked(one)) == 2
    one.hear_again()
    world.run(0.1)
    assert one.serves is MAIN
    assert one.openvpns[SPARE].role is Role.HELD
    assert one.told.reason == "the other process has not answered the promotion"


@pytest.mark.parametrize("then", ["it answers", "it dies"])
def test_the_way_back_has_an_end(then: str) -> None:
    """Else the machine would say for ever that it serves, and nobody would."""
    world, one = fail_to_promote(ends=False)
    world.run(RETURN_MAX + 0.1)
    assert one.told.phase is MovePhase.FAILED
    assert one.told.reason.endswith("could not be ended: nobody serves until it answers or is dead")
    assert [event.level for event in one.logs if event.event == "move given up"] == ["error"]
    world.run(10.0)
    assert one.serves is None
    assert (one.grades[-1].grade, one.roles[-1].new) == (Grade.FAULT, Role.FAULT)
    if then == "it dies":
        one.kill_process(SPARE)
    one.hear_again()
    serving = MAIN if then == "it dies" else SPARE
    world.run_until(lambda: one.serves is serving)
    world.run(0.1)
    assert one.grades[-1].grade == Grade.MASTER
    assert len(one.openvpns[serving].clients) == 3


def test_one_that_dies_as_it_is_promoted_changes_nothing() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.PROMOTING))
    one.kill_process(SPARE)
    assert world.run_until(lambda: one.serves is MAIN) < GAP
    assert len(one.openvpns[MAIN].clients) == 3


@pytest.mark.parametrize("after", [0.01, 0.5, 2.0])
def test_one_that_dies_soon_after_is_followed_by_the_first(after: float) -> None:
    world, one = lone()
    table = one.openvpns[MAIN].table()
    move(world, one)
    world.run(after)
    one.kill_process(SPARE)
    assert world.run_until(lambda: one.serves is MAIN) < GAP
    assert one.openvpns[MAIN].table().keys() == table.keys()


def test_the_vip_may_leave_at_any_moment_of_a_move() -> None:
    for wanted in (MovePhase.HOLDING, MovePhase.PROMOTING):
        world, one = lone()
        ask(one)
        world.run_until(phase(one, wanted))
        one.set_vip(False)
        world.run(0.5)
        assert one.serves is None
        assert one.told.phase is MovePhase.FAILED
        one.set_vip(True)
        world.run(0.5)
        assert one.serves is MAIN
        assert len(one.openvpns[MAIN].clients) == 3


def test_a_second_request_changes_nothing_of_the_first() -> None:
    world, one = lone()
    one.openvpns[MAIN].handshakes_told = 1
    ask(one, 1.0, b"first")
    ask(one, 9.0, b"second")
    assert one.told.number == b"first"
    world.run(1.1)
    assert one.told.phase is MovePhase.FAILED
    assert 1.0 <= one.told.seconds < 1.1


def test_without_the_vip_nothing_is_moved() -> None:
    world = World()
    one = add_pair(world, "a")
    world.run(3.0)
    assert one.told.figures.serving is MAIN
    ask(one)
    world.run(0.1)
    assert one.told.phase is MovePhase.FAILED
    assert one.told.reason.startswith("no client is served here")
    assert (one.serves, one.told.figures.serving) == (None, MAIN)


def retire(one: ModelPair, process: Process) -> bool:
    taken: list[bool] = []
    one.do(lambda pair, now: taken.append(pair.ask_retire(INSTANCE, process, now)))
    return taken[0]


def test_without_the_vip_both_are_started_anew_one_after_the_other() -> None:
    world, _, other = two()
    said = len(other.grades)
    for process in (SPARE, MAIN):
        before = other.openvpns[process]
        assert retire(other, process)
        world.run(0.1)
        assert process not in other.openvpns
        assert other.told.figures.serving is process.other
        other.run_process(process)
        world.run_until(
            lambda process=process: (  # type: ignore[misc]
                other.told.figures.of(process).sync is Sync.IN_SYNC
            )
        )
        assert other.openvpns[process] is not before
    world.run(1.0)
    assert other.told.figures.serving is MAIN
    assert other.told.figures.crashes == 0
    assert other.grades[said:] == []


def test_who_keeps_clients_is_not_started_anew() -> None:
    _, one, other = two()
    other.reachable = False
    one.set_vip(False)
    one.world.run(0.5)
    assert one.told.figures.main.place == "held"
    assert not retire(one, MAIN)


def test_one_that_differs_can_be_retired() -> None:
    world, one = lone()
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE, digest="d2")
    world.run(2.0)
    assert one.told.figures.spare.place == "fault"
    assert retire(one, SPARE)
    world.run(0.1)
    assert SPARE not in one.openvpns


def test_who_does_not_serve_can_be_retired() -> None:
    world, one = lone()
    move(world, one)
    retired: list[bool] = []
    one.do(lambda pair, now: retired.append(pair.ask_retire(INSTANCE, SPARE, now)))
    one.do(lambda pair, now: retired.append(pair.ask_retire(INSTANCE, MAIN, now)))
    world.run(0.1)
    assert retired == [False, True]
    assert MAIN not in one.openvpns
    world.run(6.0)
    assert one.serves is SPARE
    one.do(lambda pair, now: retired.append(pair.ask_retire(INSTANCE, MAIN, now)))
    assert retired[-1] is False
