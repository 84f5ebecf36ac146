"""Two processes on one machine: who serves, what moves it, and what the machine says meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovpnha.machines import Process
from ovpnha.model import Descriptors, FencePolicy, Grade, NodeName, Role, Silence, Sync
from ovpnha.node.cluster.switchover import Switchover
from ovpnha.node.config import InstanceConfig
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
from ovpnha.node.openvpn.discovery import ANSWER_WITHIN, PORT_WITHIN
from ovpnha.node.openvpn.openvpn import QUIESCE_FOR
from ovpnha.node.outputs import (
    EndProcess,
    OpenvpnFound,
    PassDescriptors,
    RunFence,
    SendDatagram,
    WriteManagement,
)
from ovpnha.node.pair import Pair
from ovpnha.node.sides import DEATH_MAX, END_AGAIN, HEARD_FOR
from ovpnha.problems import ProblemKind
from ovpnha.replication.history import HistoryEntry
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair

GAP = 0.005
"""Seconds in which a client that is told nothing notices nothing."""


def lone(seed: int = 0, clients: int = 3) -> tuple[World, ModelPair]:
    """One server, no other machine, its main process serving and its spare in sync."""
    world = World(seed)
    one = add_pair(world, "a")
    one.set_vip(True)
    serve(world, one, clients)
    return world, one


def serve(world: World, one: ModelPair, clients: int = 3) -> None:
    """It is master, with clients, and its spare has them."""
    world.run_until(lambda: one.serves is MAIN)
    for number in range(clients):
        one.openvpns[MAIN].connect_client(f"client{number}")
    one.pump_process(MAIN)
    world.run_until(lambda: not one.told.obstacles)


def ask(one: ModelPair, within: float = 2.0, number: bytes = b"1") -> None:
    one.do(lambda pair, now: pair.ask_restart(INSTANCE, number, within, now))


def move(world: World, one: ModelPair) -> None:
    """A planned move, to its end."""
    ask(one)
    world.run_until(lambda: one.told.phase in (MovePhase.DONE, MovePhase.FAILED))


def phase(one: ModelPair, wanted: MovePhase) -> Callable[[], bool]:
    return lambda: one.told.phase is wanted


def ends_asked(one: ModelPair) -> list[EndProcess]:
    return [output for output in one.outputs if isinstance(output, EndProcess)]


# In peace.


def test_a_lone_server_serves_with_its_main_process_and_the_spare_has_a_copy() -> None:
    _, one = lone()
    main, spare = one.openvpns[MAIN], one.openvpns[SPARE]
    assert (main.descriptors, spare.descriptors) == (Descriptors.OWN, Descriptors.TAKEN)
    assert (main.silence, spare.silence) == (Silence.DRAIN, Silence.LEAVE)
    assert spare.table() == main.table()
    assert one.grades[-1].grade == Grade.MASTER
    assert [change.new for change in one.roles] == [Role.STANDBY, Role.MASTER]


def test_on_a_lone_server_the_spare_protects() -> None:
    world, one = lone()
    assert one.figures.exporter.protected == 3
    world.run(0.1)
    assert one.openvpns[MAIN].holds_new
    assert one.figures.nodes == ()
    assert one.figures.spare is not None
    assert one.figures.spare.other.sync is Sync.IN_SYNC


def test_without_a_spare_process_a_server_is_as_ever() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(5.0)
    assert one.grades[-1].grade == Grade.MASTER
    assert not one.openvpns[MAIN].holds_new
    assert [change.new for change in one.roles] == [Role.STANDBY, Role.MASTER]
    assert one.told.obstacles == ("the other process does not run",)
    ask(one, 0.2)
    world.run(0.3)
    assert (one.told.phase, one.told.reason) == (MovePhase.FAILED, one.told.obstacles[0])


def test_a_spare_that_comes_later_is_given_everything() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.openvpns[MAIN].connect_client("early")
    one.pump_process(MAIN)
    one.run_process(SPARE)
    world.run_until(lambda: not one.told.obstacles)
    assert one.openvpns[SPARE].table() == one.openvpns[MAIN].table()


# A process ends.


@pytest.mark.parametrize("proof", [0.0001, 0.0005, 0.002])
@pytest.mark.parametrize("seed", range(5))
def test_a_crash_is_made_up_for_and_the_machine_says_nothing_of_it(seed: int, proof: float) -> None:
    world, one = lone(seed)
    table, said, changed = one.openvpns[MAIN].table(), len(one.grades), len(one.roles)
    one.kill_process(MAIN, proof=proof)
    assert world.run_until(lambda: one.serves is SPARE) < GAP
    assert one.openvpns[SPARE].table() == table
    world.run(3.0)
    assert (len(one.grades), len(one.roles)) == (said, changed)
    assert one.told.figures.crashes == 1
    assert one.openvpns[SPARE].silence is Silence.DRAIN
    [promoted] = [
        entry for entry in history(one) if entry.node == "a:spare" and entry.new is Role.MASTER
    ]
    assert promoted.reason == "openvpn crashed"


def history(one: ModelPair) -> tuple[HistoryEntry, ...]:
    assert one.pair is not None
    return one.pair.history()


def test_who_comes_back_waits_and_is_the_spare_of_the_other() -> None:
    world, one = lone()
    one.kill_process(MAIN)
    world.run_until(lambda: one.serves is SPARE)
    one.run_process(MAIN)
    world.run_until(lambda: not one.told.obstacles)
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN
    assert one.openvpns[MAIN].silence is Silence.LEAVE
    one.kill_process(SPARE)
    assert world.run_until(lambda: one.serves is MAIN) < GAP
    assert one.told.figures.crashes == 2


def test_fifty_crashes_in_a_row() -> None:
    world, one = lone(clients=4)
    clients = set(one.openvpns[MAIN].clients)
    for _ in range(50):
        serving = one.serves
        assert serving is not None
        one.kill_process(serving)
        world.run_until(lambda serving=serving: one.serves is serving.other)  # type: ignore[misc]
        one.run_process(serving)
        world.run_until(lambda: not one.told.obstacles)
        assert set(one.openvpns[serving.other].clients) == clients
        for uid in clients:
            assert one.openvpns[serving.other].send_packet(uid) is not None


def test_the_end_of_a_connection_is_no_proof() -> None:
    world, one = lone()
    world.run(HEARD_FOR)
    one.ends = False
    one.kill_process(MAIN, proof=None)
    world.run(END_AGAIN - 0.01)
    assert not ends_asked(one)
    world.run(0.02)
    assert ends_asked(one) == [EndProcess(INSTANCE, MAIN, "OpenVPN is down: closed by openvpn")]
    world.run(DEATH_MAX - END_AGAIN - 0.02)
    assert one.serves is None
    assert one.grades[-1].grade == Grade.MASTER
    world.run(0.05)
    assert one.grades[-1].grade == Grade.FAULT
    assert one.roles[-1].new is Role.FAULT
    assert len(ends_asked(one)) > 2
    one.do(lambda pair, now: pair.process_ended(INSTANCE, MAIN, now))
    assert world.run_until(lambda: one.serves is SPARE) < GAP
    assert one.grades[-1].grade == Grade.MASTER
    assert (one.roles[-1].old, one.roles[-1].new) == (Role.FAULT, Role.MASTER)


def test_a_connection_that_comes_back_costs_nothing() -> None:
    world, one = lone()
    said = len(one.grades)
    one._detach(MAIN, "closed by openvpn")
    world.run(0.1)
    one.attach(MAIN)
    world.run(3.0)
    assert one.serves is MAIN
    assert not ends_asked(one)
    assert len(one.grades) == said


def test_one_that_hangs_is_ended_at_once() -> None:
    world, one = lone()
    one.deaf.add(MAIN)
    assert world.run_until(lambda: one.serves is SPARE) < 6.0
    assert "does not answer" in ends_asked(one)[0].reason
    assert one.grades[-1].grade == Grade.MASTER


@pytest.mark.parametrize("first", list(Process))
@pytest.mark.parametrize("seconds", [5.0, 15.0, 20.0])
def test_who_is_heard_again_first_has_the_other_ended_only_if_that_stays_silent(
    first: Process, seconds: float
) -> None:
    """The machine starves, or was suspended: nobody is dead, and nobody is to be moved."""
    world, one = lone()
    one.deaf.add(MAIN)
    world.run(1.2)
    one.deaf.add(SPARE)  # it is found to hang later
    world.run(seconds)
    one.hear_again(first)
    world.run(HEARD_FOR - 0.1)
    one.hear_again()
    world.run(30.0)
    assert not ends_asked(one)
    assert one.serves is MAIN
    assert one.grades[-1].grade == Grade.MASTER
    assert not one.told.obstacles


@pytest.mark.parametrize("seconds", [5.0, 15.0, 20.0])
def test_one_that_stays_silent_when_the_other_is_heard_is_ended(seconds: float) -> None:
    world, one = lone()
    one.deaf |= {MAIN, SPARE}
    world.run(seconds)
    one.hear_again(SPARE)
    took = world.run_until(lambda: one.serves is SPARE, 15.0)
    assert took > HEARD_FOR - 0.1
    assert {end.process for end in ends_asked(one)} == {MAIN}


def test_a_spare_that_hangs_is_ended_and_the_next_one_follows() -> None:
    world, one = lone()
    one.deaf.add(SPARE)
    world.run_until(lambda: SPARE not in one.openvpns, 20.0)
    [end] = ends_asked(one)
    assert (end.process, end.reason) == (SPARE, "OpenVPN does not answer")
    assert one.serves is MAIN
    one.run_process(SPARE)
    world.run_until(lambda: not one.told.obstacles)
    world.run(20.0)
    assert len(ends_asked(one)) == 1


def test_one_that_cannot_be_ended_is_ended_again_ever_more_rarely() -> None:
    world, one = lone()
    one.ends = False
    one.deaf.add(SPARE)
    world.run(200.0)
    assert 3 <= len(ends_asked(one)) <= 7
    assert {end.process for end in ends_asked(one)} == {SPARE}
    assert one.serves is MAIN
    before = len(ends_asked(one))
    one.do(lambda pair, now: pair.ask_retire(INSTANCE, SPARE, now))
    assert len(ends_asked(one)) == before + 1


def test_a_spare_that_hangs_beside_one_that_cannot_serve_is_left() -> None:
    world, one = lone()
    one.ends = False
    one.deaf |= {MAIN, SPARE}
    world.run(60.0)
    assert not [end for end in ends_asked(one) if end.process is SPARE]


def test_a_spare_that_was_told_to_end_and_hangs_is_ended() -> None:
    world, one = lone()
    one.deaf.add(SPARE)
    one.do(lambda pair, now: pair.ask_retire(INSTANCE, SPARE, now))
    world.run_until(lambda: SPARE not in one.openvpns, 3.5)
    assert [end.reason for end in ends_asked(one)] == ["it was told to end and has not"]
    assert one.serves is MAIN


def test_that_one_was_told_to_end_holds_while_the_other_is_not_reached() -> None:
    world, one = lone()
    one.deaf.add(SPARE)
    one.do(lambda pair, now: pair.ask_retire(INSTANCE, SPARE, now))
    world.run(0.5)
    one._detach(MAIN, "closed by openvpn")
    one.attach(MAIN)
    took = world.run_until(lambda: SPARE not in one.openvpns, 20.0)
    assert took < 3.0
    assert [end.reason for end in ends_asked(one)] == ["it was told to end and has not"]
    assert one.serves is MAIN


def test_one_that_was_told_to_end_and_only_closes_its_connection_is_ended() -> None:
    world, one = lone()
    one.deaf.add(SPARE)
    one.do(lambda pair, now: pair.ask_retire(INSTANCE, SPARE, now))
    world.run(0.5)
    one._detach(SPARE, "closed by openvpn")
    world.run_until(lambda: SPARE not in one.openvpns, 3.0)
    assert [end.process for end in ends_asked(one)] == [SPARE]
    world.run(30.0)
    assert len(ends_asked(one)) == 1, "who has ended is left alone"
    assert one.serves is MAIN


def test_who_was_told_to_end_and_serves_is_not_ended() -> None:
    """The other one has died: whoever is left goes on."""
    world, one = lone()
    one.deaf.add(SPARE)
    one.do(lambda pair, now: pair.ask_retire(INSTANCE, SPARE, now))
    world.run(0.5)
    one._waiting.clear()
    one.deaf.clear()
    one.kill_process(MAIN)
    world.run_until(lambda: one.serves is SPARE, 1.0)
    world.run(1.0)
    one.run_process(MAIN)
    world.run(60.0)
    assert ends_asked(one) == []
    assert one.serves is SPARE


def test_both_at_once_are_a_fault_as_ever() -> None:
    world, one = lone()
    one.kill_process(SPARE)
    one.kill_process(MAIN)
    world.run(0.1)
    assert one.grades[-1].grade == Grade.FAULT
    one.run_process(MAIN)
    world.run_until(lambda: one.serves is MAIN)
    assert not one.openvpns[MAIN].clients


def test_a_spare_that_dies_is_missed_by_nobody() -> None:
    world, one = lone()
    said = len(one.grades)
    one.kill_process(SPARE)
    world.run(6.0)
    assert one.serves is MAIN
    assert len(one.grades) == said
    assert not [entry for entry in history(one) if entry.new is Role.FAULT]
    assert one.told.figures.other.place == "absent"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_port_that_another_program_has_is_told_of(wanted: bool) -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.wanted, one.foreign = wanted, True
    one.run_process(MAIN)
    one.set_vip(True)
    one.boot()
    world.run(PORT_WITHIN - 0.1)
    assert ProblemKind.PORT_TAKEN not in told_by(one)
    world.run(0.5)
    assert one.grades[-1].grade == Grade.FAULT
    [problem] = [what for what in one.figures.problems if what.kind is ProblemKind.PORT_TAKEN]
    assert problem.text == "OpenVPN waits: another program has its port"
    assert "ss -ulpn" in problem.fix
    one.foreign = False
    world.run_until(lambda: one.serves is MAIN, 3.0)
    world.run(0.1)
    assert one.grades[-1].grade == Grade.MASTER
    assert ProblemKind.PORT_TAKEN not in told_by(one)


@pytest.mark.parametrize("vip", [False, True])
def test_a_spare_that_wins_the_port_at_boot_follows_nobody_that_has_died(*, vip: bool) -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.set_vip(vip)
    one.boot()
    one.run_process(SPARE)
    one.run_process(MAIN)
    world.run_until(lambda: one.told.figures.serving is SPARE)
    world.run(3.0)
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN
    assert one.serves is (SPARE if vip else None)
    assert one.told.figures.crashes == 0
    assert "warning" not in [event.level for event in one.logs if event.event == "slot moved"]


def test_one_that_waits_for_the_port_at_boot_has_not_died() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.set_vip(True)
    one.foreign = True
    one.run_process(MAIN)
    one.boot()
    world.run(1.0)
    assert one.told.figures.serving is MAIN
    one.foreign = False
    one.run_process(SPARE)
    world.run_until(lambda: one.serves is SPARE)
    world.run(3.0)
    assert one.told.figures.crashes == 0
    one.kill_process(SPARE)
    world.run_until(lambda: one.serves is MAIN)
    assert one.told.figures.crashes == 1


def test_a_spare_that_starts_slowly_is_given_nothing() -> None:
    """One that is not ready for long is not one without the option, which could serve."""
    world, one = lone()
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE, held_start=True).refuse_for_good["hold"] = "not yet"
    world.run(8.0)
    assert one.told.figures.spare.place == "silent"
    one.kill_process(MAIN)
    world.run(2.0)
    assert one.told.figures.serving is MAIN
    assert one.grades[-1].grade == Grade.FAULT
    one.run_process(MAIN)
    world.run_until(lambda: one.serves is MAIN)


# A planned move.


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
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, spares=False)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.run_process(SPARE)
    world.run(1.0)
    one.kill_process(SPARE, proof=None)
    world.run(0.1)
    assert one.pair is not None
    assert one.pair._slots[INSTANCE]._look(SPARE).ended


def test_descriptors_that_nobody_waits_for_any_more_are_passed_to_nobody() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
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
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, spares=False)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.run_process(SPARE)
    world.run(1.0)
    assert one.told.figures.spare.place == "waiting"
    assert "cluster-descriptors" not in one.openvpns[MAIN].commands


def test_unsuitable_descriptors_are_told_and_tried_again() -> None:
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
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


# Wishes.


def promote(one: ModelPair, within: float) -> None:
    one.do(lambda pair, now: pair.ask_promote(INSTANCE, within, now))


def demote(one: ModelPair) -> None:
    one.do(lambda pair, now: pair.ask_demote(INSTANCE, now))


def promised() -> tuple[World, ModelPair]:
    """One that serves because the VIP was promised to it, and dies."""
    world = World()
    one = add_pair(world, "a")
    world.run(3.0)
    promote(one, 5.0)
    world.run_until(lambda: one.serves is MAIN)
    one.kill_process(MAIN)
    return world, one


def test_who_loses_the_slot_has_no_promise() -> None:
    """It comes back beside the one that has the VIP."""
    world, one = promised()
    world.run(0.1)
    one.set_vip(True)
    world.run_until(lambda: one.serves is SPARE)
    one.run_process(MAIN)
    for _ in range(500):
        world.run(0.01)
        assert one.serves is SPARE
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN


def test_what_was_promised_to_one_that_dies_the_other_one_keeps() -> None:
    world, one = promised()
    world.run_until(lambda: one.serves is SPARE)
    one.run_process(MAIN)
    world.run(2.0)
    assert one.serves is SPARE
    world.run(4.0)
    assert one.serves is None, "the VIP has not come in time"


@pytest.mark.parametrize(("within", "paused"), [(0.5, False), (5.0, False), (5.0, True)])
def test_a_promise_waits_until_it_is_known_whose_the_slot_is(
    within: float, *, paused: bool
) -> None:
    world, one = lone()
    move(world, one)
    world.run(4.0)
    one.end_sidecar()
    one.set_vip(False)
    one.deaf.add(SPARE)
    one.boot()
    world.run(0.2)
    promote(one, within)
    if paused:
        one.do(lambda pair, now: pair.ask_pause(INSTANCE, 0.1, now))
    world.run(1.0)
    assert one.told.obstacles == ("it is not known yet which process serves",)
    one.hear_again()
    for _ in range(300):
        world.run(0.01)
        assert one.openvpns[MAIN].role is Role.STANDBY
    assert one.serves is (SPARE if within > 1.0 and not paused else None)


def test_what_is_asked_in_a_move_is_done_after_it() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.PROMOTING))
    demote(one)
    assert one.grades[-1].grade == Grade.MASTER
    world.run(0.1)
    assert (one.serves, one.told.phase) == (SPARE, MovePhase.DONE)
    assert "demote" in one.grades[-1].reason
    assert one.told.obstacles[0] == "a pause, a switchover or a demote is under way"


def test_a_demote_that_was_asked_outlives_a_crash() -> None:
    world, one = lone()
    demote(one)
    handed = one.grades[-1]
    assert handed.grade < Grade.MASTER
    one.kill_process(MAIN)
    world.run_until(lambda: one.serves is SPARE)
    world.run(1.0)
    assert one.grades[-1] == handed
    one.set_vip(False)
    world.run(1.0)
    assert one.openvpns[SPARE].role is Role.HELD


# The sidecar.


@pytest.mark.parametrize("serving", list(Process))
def test_a_new_sidecar_finds_who_serves(serving: Process) -> None:
    world, one = lone()
    if serving is SPARE:
        move(world, one)
    one.end_sidecar()
    world.run(0.5)
    changes = len(one.roles)
    one.boot()
    world.run(3.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert [change.new for change in one.roles[changes:]] == [Role.MASTER]


@pytest.mark.parametrize("wanted", [MovePhase.HOLDING, MovePhase.PROMOTING])
def test_a_sidecar_that_dies_in_a_move_is_followed_by_one_that_serves(wanted: MovePhase) -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, wanted))
    one.end_sidecar()
    world.run(0.2)
    one.boot()
    world.run(3.0)
    assert one.serves is not None
    assert len(one.openvpns[one.serves].clients) == 3


@pytest.mark.parametrize("vip", ["stays", "comes back"])
@pytest.mark.parametrize("serving", list(Process))
def test_nobody_is_promoted_beside_one_that_a_script_holds_up(serving: Process, vip: str) -> None:
    """The sidecar starts anew meanwhile: it has seen neither as it was."""
    world, one = lone()
    one.ends = False
    if serving is SPARE:
        move(world, one)
        world.run(4.0)
    one.end_sidecar()
    one.deaf.add(serving)
    one.boot()
    if vip == "comes back":
        world.run(1.0)
        one.set_vip(False)
        world.run(20.0)
        one.set_vip(True)
    world.run(30.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert one.grades[-1].grade == Grade.FAULT
    assert {asked.process for asked in ends_asked(one)} == {serving}
    one.hear_again()
    world.run(5.0)
    assert one.serves is serving
    one.kill_process(serving)
    assert world.run_until(lambda: one.serves is serving.other) < GAP


@pytest.mark.parametrize("serving", list(Process))
def test_nobody_is_promoted_beside_one_that_cannot_be_reached(serving: Process) -> None:
    world, one = lone()
    if serving is SPARE:
        move(world, one)
        world.run(4.0)
    one.end_sidecar()
    one.barred.add(serving)
    one.boot()
    world.run(20.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert one.grades[-1].grade == Grade.FAULT
    assert "Permission denied" in one.grades[-1].reason
    assert not ends_asked(one)  # it is not known that there is one
    one.barred.clear()
    one.attach(serving)
    world.run(1.0)
    assert (one.serves, one.grades[-1].grade) == (serving, Grade.MASTER)


def test_a_process_that_hangs_when_the_vip_leaves_is_not_followed_when_it_comes_back() -> None:
    world, one = lone()
    one.ends = False
    one.deaf.add(MAIN)
    world.run_until(lambda: one.grades[-1].grade == Grade.FAULT, 10.0)
    one.set_vip(False)
    world.run(1.0)
    one.set_vip(True)
    world.run(10.0)
    assert (one.serves, one.told.figures.serving) == (MAIN, MAIN)


def test_one_that_is_connected_again_and_hangs_then_is_ended() -> None:
    world, one = lone()
    one._detach(MAIN, "closed by openvpn")
    world.run(0.1)
    one.deaf.add(MAIN)
    one.attach(MAIN)
    world.run_until(lambda: one.serves is SPARE, 15.0)
    assert "does not answer" in ends_asked(one)[-1].reason


def test_one_that_was_stopped_for_a_while_believes_in_both() -> None:
    world, one = lone()
    exports = one.figures.openvpn.counters["exports"]
    assert one.pair is not None
    one._timer += 1  # no timer is due for a while
    world.run(10.0)
    one.do(lambda pair, now: pair.handle_timer(now))
    world.run(0.5)
    assert not [event for event in one.logs if event.event == "node lost"]
    assert one.figures.openvpn.counters["exports"] == exports


@pytest.mark.parametrize("wanted", [False, True])
def test_a_spare_that_sleeps_says_no_goodbye(*, wanted: bool) -> None:
    world, one = unwanted()
    one.wanted = wanted
    one.boot()
    world.run(1.0)
    before = len(one.outputs)
    one.do(lambda pair, now: pair.stop(now))
    assert len(one.outputs) - before == (2 if wanted else 1)


def test_a_stop_says_goodbye_for_both_and_nothing_else() -> None:
    _, one = lone()
    before = len(one.outputs)
    one.do(lambda pair, now: pair.stop(now))
    rest = one.outputs[before:]
    assert len(rest) > 1
    assert all(isinstance(output, SendDatagram) for output in rest)


def test_the_log_names_the_spare() -> None:
    _, one = lone()
    tagged = [event for event in one.logs if "process" in event.fields]
    assert tagged
    assert not [event for event in one.logs if event.event == "vip manager missing"]


# With other machines.


def two() -> tuple[World, ModelPair, ModelPair]:
    """Two machines, each with two processes; the first serves."""
    world = World()
    one, other = add_pair(world, "a"), add_pair(world, "b")
    one.set_vip(True)
    serve(world, one)
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    world.run(0.1)
    return world, one, other


def test_where_there_are_other_machines_the_spare_protects_nobody() -> None:
    world, one, other = two()
    assert one.figures.exporter.protected == 3
    other.reachable = False
    world.run(3.0)
    assert one.told.obstacles == ()
    assert one.figures.exporter.protected == 0
    assert one.figures.exporter.oldest_unprotected > 0.0
    assert not one.openvpns[MAIN].holds_new
    other.reachable = True
    world.run(3.0)
    assert one.figures.exporter.protected == 3
    assert one.openvpns[MAIN].holds_new


def test_a_machine_that_is_cut_off_is_so_whatever_its_spare_says() -> None:
    world, one, other = two()
    assert other.grades[-1].grade == Grade.IN_SYNC
    one.reachable = False
    world.run(20.0)
    assert other.grades[-1].grade == Grade.LONE
    assert other.grades[-1].reason == "no other node is heard"


def test_a_machine_takes_over_from_another_and_its_spare_is_in_sync_again() -> None:
    world, one, other = two()
    table = one.openvpns[MAIN].table()
    one.end_sidecar()
    one.openvpns.clear()
    one.vip = False
    other.set_vip(True)
    assert world.run_until(lambda: other.serves is MAIN) < GAP
    assert other.openvpns[MAIN].table() == table
    world.run_until(lambda: not other.told.obstacles)
    assert other.roles[-1].new is Role.MASTER


def test_a_standby_whose_main_process_dies_is_as_good_by_its_spare() -> None:
    world, one, other = two()
    said = len(other.grades)
    other.kill_process(MAIN)
    world.run(5.0)
    assert other.told.figures.serving is SPARE
    assert len(other.grades) == said
    other.run_process(MAIN)
    world.run_until(lambda: other.told.figures.serving is MAIN)
    world.run(0.1)
    assert other.openvpns[SPARE].silence is Silence.LEAVE
    assert other.openvpns[MAIN].silence is Silence.DRAIN
    assert one.serves is MAIN


def test_the_role_goes_to_another_machine_and_never_to_a_spare() -> None:
    world, one, other = two()
    assert one.pair is not None
    assert one.pair.plan_switchover(INSTANCE, None, world.now).target == "b"
    kill, back = MAIN, MAIN
    other.kill_process(kill)
    world.run(1.0)
    plan = one.pair.plan_switchover(INSTANCE, None, world.now)
    assert (plan.target, plan.obstacles) == ("b:spare", ())
    asked = one.pair.plan_switchover(INSTANCE, NodeName("b"), world.now)
    assert (asked.target, asked.obstacles) == ("b:spare", ())
    other.run_process(back)
    world.run(3.0)
    assert one.pair.plan_switchover(INSTANCE, NodeName("b"), world.now).target == "b"
    named = one.pair.plan_switchover(INSTANCE, NodeName("b:spare"), world.now)
    assert named.target == "b"
    assert one.pair.plan_switchover(INSTANCE, NodeName("a"), world.now).obstacles


def test_a_switchover_from_machine_to_machine() -> None:
    world, one, other = two()
    one.do(lambda pair, now: pair.ask_switchover(INSTANCE, b"12345678", NodeName("b"), 5.0, now))
    world.run_until(lambda: other.serves is MAIN)
    world.run_until(lambda: one.grades[-1].grade == Grade.DEGRADED)
    assert one.told.obstacles
    one.set_vip(False)
    other.set_vip(True)
    world.run(1.0)
    assert one.pair is not None
    figures = one.pair.switchover(INSTANCE, b"12345678")
    assert figures is not None
    assert (one.serves, other.serves) == (None, MAIN)
    assert len(other.openvpns[MAIN].clients) == 3


def test_what_a_switchover_has_promised_ends_with_its_process() -> None:
    """The master calls it off: who serves meanwhile would be a second one."""
    world, one, other = two()
    one.do(lambda pair, now: pair.ask_switchover(INSTANCE, b"12345678", NodeName("b"), 5.0, now))
    world.run_until(lambda: other.serves is MAIN)
    other.kill_process(MAIN)
    for _ in range(300):
        world.run(0.01)
        assert other.openvpns[SPARE].role is Role.STANDBY
    assert one.serves is MAIN


def test_a_move_on_one_machine_is_none_to_the_other() -> None:
    world, one, other = two()
    table, said = one.openvpns[MAIN].table(), len(other.grades)
    move(world, one)
    assert one.serves is SPARE
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    assert other.openvpns[MAIN].table().keys() == table.keys()
    assert {one.grade for one in other.grades[said:]} <= {Grade.IN_SYNC, Grade.DEGRADED}
    world.run(1.0)
    assert other.grades[-1].grade == Grade.IN_SYNC
    assert one.figures.exporter.protected == 3


@pytest.mark.parametrize("serving", list(Process))
def test_a_required_fence_asks_for_nobody_when_a_process_has_crashed(serving: Process) -> None:
    world = World()
    one = ModelPair(world, "a", fenced())
    world.nodes["a"] = one
    one.run_process(MAIN)
    one.run_process(SPARE)
    one.boot()
    one.set_vip(True)
    world.run(1.0)
    assert one.serves is None  # nobody knows who was master before
    overruled = 30.0
    one.do(lambda pair, now: pair.ask_promote(INSTANCE, overruled, now, unfenced=True))
    serve(world, one)
    if serving is SPARE:
        move(world, one)
        world.run_until(lambda: not one.told.obstacles)
    one.kill_process(serving)
    assert world.run_until(lambda: one.serves is serving.other) < GAP
    assert not [output for output in one.outputs if isinstance(output, RunFence)]


def fenced() -> InstanceConfig:
    return InstanceConfig(INSTANCE, ("192.0.2.10",), fence=FencePolicy.REQUIRED)


def test_a_fence_cuts_off_a_machine_and_no_spare() -> None:
    world = World()
    one, other = add_pair(world, "a"), ModelPair(world, "b", fenced())
    world.nodes["b"] = other
    other.run_process(MAIN)
    other.boot()
    one.set_vip(True)
    serve(world, one)
    move(world, one)
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    world.run(0.01)
    one.end_sidecar()
    one.openvpns.clear()
    world.run(3.0)
    other.set_vip(True)
    world.run(2.0)
    [asked] = [output for output in other.outputs if isinstance(output, RunFence)]
    assert (asked.node, asked.epoch.node) == ("a", "a:spare")
    assert other.serves is None
    other.do(lambda pair, now: pair.fence_done(NodeName("a"), "", now))
    world.run_until(lambda: other.serves is MAIN)


def test_other_machines_show_no_spare_that_is_not_there() -> None:
    world, one, other = two()
    assert sorted(node.name for node in one.figures.nodes) == ["b", "b:spare"]
    other.kill_process(SPARE)
    world.run(0.5)
    assert [node.name for node in one.figures.nodes] == ["b"]
    other.run_process(SPARE)
    world.run(0.5)
    assert sorted(node.name for node in one.figures.nodes) == ["b", "b:spare"]


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("proof", ["before the end of the connection", "behind it"])
def test_the_step_that_proves_a_death_has_the_promotion(proof: str, unread: bool) -> None:
    """Whatever of both comes last; also when the spare has just been told news."""
    _, one = lone()
    pair, now = one.pair, one.world.now
    assert pair is not None
    if unread:
        one.openvpns[MAIN].connect_client("late")
        pair.receive_management(INSTANCE, one.openvpns[MAIN].take_output(), now, MAIN)
    steps: list[Callable[[], None]] = [
        lambda: pair.process_ended(INSTANCE, MAIN, now),
        lambda: pair.management_down(INSTANCE, "closed by openvpn", now, MAIN),
    ]
    for step in steps if proof.startswith("before") else reversed(steps):
        assert b"cluster-promote" not in take_written(pair, SPARE)
        step()
    assert b"cluster-promote" in take_written(pair, SPARE)


def take_written(pair: Pair, process: Process) -> bytes:
    """Take all that a pair wants done; returns what it has for this process."""
    outputs = iter(pair.next_output, None)
    return b"".join(
        output.data
        for output in outputs
        if isinstance(output, WriteManagement) and output.process is process
    )


# A spare that nobody wants.


def unwanted() -> tuple[World, ModelPair]:
    """One server whose configuration says that it has no spare."""
    world = World()
    one = ModelPair(world, "a", InstanceConfig(INSTANCE, ("192.0.2.10",)))
    world.nodes["a"] = one
    one.wanted = False
    one.run_process(MAIN)
    one.set_vip(True)
    return world, one


def told_by(one: ModelPair) -> list[ProblemKind]:
    return [problem.kind for problem in one.figures.problems]


def test_where_no_spare_is_wanted_and_none_is_there_is_one_node() -> None:
    world, one = unwanted()
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(20.0)
    assert one.pair is not None
    assert one.pair.restart_figures(INSTANCE, world.now) is None
    assert one.figures.spare is None
    assert ProblemKind.SPARE_UNWANTED not in told_by(one)
    assert [change.new for change in one.roles] == [Role.STANDBY, Role.MASTER]
    assert one.grades[-1].grade == Grade.MASTER
    assert {event.event for event in one.logs}.isdisjoint({"process changed its role"})
    sent = [output for output in one.outputs if isinstance(output, SendDatagram)]
    one.pair._spare.greet(world.now)
    one.do(lambda pair, now: pair.grade_read(INSTANCE, True, now))
    assert [output for output in one.outputs if isinstance(output, SendDatagram)] == sent


def test_a_machine_without_a_spare_refuses_the_vip_at_once_without_its_openvpn() -> None:
    world, one = unwanted()
    one.openvpns.clear()
    one.boot()
    assert one.grades[-1].grade == Grade.FAULT
    assert "nobody has the socket open" in one.grades[-1].reason
    one.run_process(MAIN)
    world.run_until(lambda: one.serves is MAIN)
    assert one.grades[-1].grade == Grade.MASTER


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("barred", [False, True])
def test_an_openvpn_that_is_not_reached_is_a_fault(*, barred: bool, wanted: bool) -> None:
    """Where the VIP is not known before OpenVPN has said it, and where the sockets are closed."""
    world, one = unwanted()
    one.wanted, one.knows_vip, one.barred = wanted, barred, set(Process) if barred else set()
    one.openvpns.clear()
    one.boot()
    world.run(ANSWER_WITHIN - 0.1)
    assert not one.grades
    world.run(0.2)
    assert [one.new for one in one.roles] == [Role.FAULT]
    assert one.grades[-1].grade == Grade.FAULT
    assert ("Permission denied" if barred else "nobody has") in one.grades[-1].reason
    assert ProblemKind.SERVER_DOWN in told_by(one)
    assert "openvpn lost" in [event.event for event in one.logs]
    one.barred.clear()
    one.run_process(MAIN)
    one.tell_vip()
    if barred:
        one._miss(SPARE)
    world.run_until(lambda: one.serves is MAIN)
    assert one.grades[-1].grade == Grade.MASTER


@pytest.mark.parametrize("wanted", [False, True])
def test_a_spare_that_is_found_meanwhile_serves_on(*, wanted: bool) -> None:
    """Nobody knows the VIP yet; the main process is not there, and nobody's fault."""
    world, one = lone()
    move(world, one)
    world.run(4.0)
    one.kill_process(MAIN)
    one.end_sidecar()
    before, grades = len(one.outputs), len(one.grades)
    one.wanted, one.knows_vip = wanted, False
    one.boot()
    world.run(ANSWER_WITHIN + 1.0)
    found = [output for output in one.outputs[before:] if isinstance(output, OpenvpnFound)]
    assert {output.process for output in found} == {SPARE}
    assert len(one.grades) == grades
    one.tell_vip()
    world.run(1.0)
    assert (one.serves, one.grades[-1].grade) == (SPARE, Grade.MASTER)


@pytest.mark.parametrize("hears", ["at once", "late", "not at all"])
def test_nobody_is_promoted_beside_a_spare_that_nobody_wants(hears: str) -> None:
    """It serves; then the configuration, or an older one, says that there is none."""
    world, one = lone()
    move(world, one)
    world.run(4.0)
    table = one.openvpns[SPARE].table()
    one.end_sidecar()
    one.wanted = False
    if hears != "at once":
        one.deaf.add(SPARE)
    if hears == "not at all":
        one.ends = False
        one.barred.add(SPARE)
    one.boot()
    world.run(5.0)
    if hears == "late":
        one.hear_again()
    world.run(20.0)
    assert one.serves is SPARE
    assert one.openvpns[SPARE].table() == table
    [problem] = [what for what in one.figures.problems if what.kind is ProblemKind.SPARE_UNWANTED]
    assert 'spare = "restart"' in problem.fix
    assert one.grades[-1].grade == (Grade.FAULT if hears == "not at all" else Grade.MASTER)


def test_a_spare_that_is_started_unasked_never_leaves_the_main_process_waiting() -> None:
    world, one = unwanted()
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(5.0)
    one.run_process(SPARE)
    world.run(1.0)
    assert ProblemKind.SPARE_UNWANTED in told_by(one)
    assert (one.serves, one.grades[-1].grade) == (MAIN, Grade.MASTER)
    one.kill_process(MAIN)
    world.run(0.1)
    one.run_process(MAIN)
    world.run(3.0)
    assert one.serves is SPARE
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN
    one.kill_process(SPARE)
    world.run(1.0)
    assert one.serves is MAIN
    assert ProblemKind.SPARE_UNWANTED not in told_by(one)


def test_to_other_machines_it_is_a_node_only_from_when_it_is_there() -> None:
    world, one = unwanted()
    one.boot()
    other = ModelPair(world, "b", InstanceConfig(INSTANCE, ("192.0.2.10",)))
    world.nodes["b"] = other
    other.wanted = False
    other.run_process(MAIN)
    other.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.openvpns[MAIN].connect_client("early")
    one.pump_process(MAIN)
    world.run(30.0)
    assert [node.name for node in other.figures.nodes] == ["a"]
    assert other.figures.sync is Sync.IN_SYNC
    one.run_process(SPARE)
    world.run(3.0)
    assert sorted(node.name for node in other.figures.nodes) == ["a", "a:spare"]
    assert one.openvpns[SPARE].table() == one.openvpns[MAIN].table()
    assert not [event for event in (*one.logs, *other.logs) if event.event == "node lost"]


def test_its_own_spare_is_nobody_to_whom_the_vip_was_handed_over() -> None:
    """After a demote the grade is low while another node could take the VIP, and no longer."""
    world = World(1)
    a, b = add_pair(world, "a"), world.add("b")
    world.run(0.5)
    world.move_vip("a")
    serve(world, a)
    world.run_until(lambda: b.in_sync)
    a.do(lambda pair, now: pair.ask_demote(INSTANCE, now))
    world.move_vip(None)
    world.run(0.1)
    assert a.grades[-1].grade == Grade.DEGRADED
    b.kill_openvpn()
    world.run(0.2)
    assert a.grades[-1].grade == Grade.MASTER
