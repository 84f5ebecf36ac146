"""Two processes on one machine: who serves, and what the machine says when one ends."""

from __future__ import annotations

import pytest

from ovpnha.machines import Process
from ovpnha.model import Descriptors, Grade, Role, Silence, Sync
from ovpnha.node.moving import MovePhase
from ovpnha.node.openvpn.discovery import PORT_WITHIN
from ovpnha.node.outputs import EndProcess
from ovpnha.node.sides import DEATH_MAX, END_AGAIN, HEARD_FOR
from ovpnha.problems import ProblemKind
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, add_pair
from tests.unit.node.pairs import GAP, alone, ask, ends_asked, history, lone, told_by

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
    world, one = alone()
    world.run(5.0)
    assert one.grades[-1].grade == Grade.MASTER
    assert not one.openvpns[MAIN].holds_new
    assert [change.new for change in one.roles] == [Role.STANDBY, Role.MASTER]
    assert one.told.obstacles == ("the other process does not run",)
    ask(one, 0.2)
    world.run(0.3)
    assert (one.told.phase, one.told.reason) == (MovePhase.FAILED, one.told.obstacles[0])


def test_a_spare_that_comes_later_is_given_everything() -> None:
    world, one = alone()
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
