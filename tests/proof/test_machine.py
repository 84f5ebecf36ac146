"""A spare in the search of the packet-id rules: one more holder, on the machine of another."""

from __future__ import annotations

from tests.proof.machine import Rivals, SpareModel
from tests.proof.model import Model
from tests.proof.search import search

IDS = (2,)


def test_what_two_processes_of_one_machine_do_is_part_of_what_is_searched() -> None:
    whole, machine = Model(IDS, sidecar=False), SpareModel(IDS, sidecar=False)
    everything, here = search(whole), search(machine)
    print(f"{everything}\n{here}")
    assert here.violation is None
    assert here.complete
    reached = {whole.canonical(state) for state in here.came}
    assert reached < set(everything.came)
    assert len(reached) > 1000


def test_a_spare_that_is_promoted_while_the_old_process_still_sends_is_found() -> None:
    result = search(SpareModel(IDS, sidecar=False, waits=False))
    assert isinstance(result.violation, Rivals)
