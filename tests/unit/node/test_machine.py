"""The role table: enforced, complete, and equal to the one in the documentation."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.errors import TransitionError
from ovpnha.model import Role
from ovpnha.node.role import diagram
from ovpnha.node.role.diagram import BEGIN, render, renew, transitions
from ovpnha.node.role.machine import MEANING, TRANSITIONS, RoleMachine, Trigger

DOCUMENT = Path(__file__).parents[3] / "docs" / "roles.md"


def test_every_role_has_a_row_and_every_trigger_a_meaning_and_a_use() -> None:
    assert set(TRANSITIONS) == set(Role)
    assert set(MEANING) == set(Trigger)
    assert {trigger for _, trigger, _ in transitions()} == set(Trigger)


def test_only_a_demote_leads_from_master_or_held_to_standby() -> None:
    """Of an OpenVPN that has the patch: another one has nothing to wipe."""
    ways = [(role, trigger) for role, trigger, target in transitions() if target is Role.STANDBY]
    serving = [(role, trigger) for role, trigger in ways if role in (Role.MASTER, Role.HELD)]
    assert serving == [(Role.MASTER, Trigger.PASSED), (Role.HELD, Trigger.DEMOTED)]


def test_openvpn_can_be_lost_in_any_role() -> None:
    assert all(row[Trigger.LOST] is Role.FAULT for row in TRANSITIONS.values())


@given(st.lists(st.sampled_from(Trigger)))
def test_the_machine_follows_the_table_and_nothing_else(triggers: list[Trigger]) -> None:
    machine = RoleMachine()
    assert machine.role is Role.INIT
    for trigger in triggers:
        before = machine.role
        if trigger in TRANSITIONS[before]:
            machine.move(trigger)
            assert machine.role is TRANSITIONS[before][trigger]
        else:
            with pytest.raises(TransitionError, match=before.value):
                machine.move(trigger)
            assert machine.role is before


def test_the_documentation_shows_the_table() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert renew(text) == text, "run: python -m ovpnha.node.role.diagram docs/roles.md"


def test_the_generated_part_is_renewed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "roles.md"
    begin, end = render().splitlines()[0], render().splitlines()[-1]
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n", "utf-8")
    monkeypatch.setattr(sys, "argv", ["diagram", str(path)])
    runpy.run_path(diagram.__file__, run_name="__main__")
    assert path.read_text("utf-8") == f"before\n{render()}\nafter\n"
    assert "held --> master: resumed" in render()


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        renew(f"{BEGIN} and no end")
