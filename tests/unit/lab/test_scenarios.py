"""Every scenario is written once, and the labs that it names can run it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.lab import cli, scenarios
from tests.lab.compose import cli as compose_cli
from tests.lab.compose.deaths import DEATHS as IN_CONTAINERS
from tests.lab.deaths import DEATHS as IN_NAMESPACES
from tests.lab.errors import LabError
from tests.lab.scenarios import SCENARIOS, Place, Scenario, Victim, choose, describe, find
from tests.lab.stories import STORIES

CAN = {
    Place.NAMESPACES: set(IN_NAMESPACES),
    Place.CONTAINERS: set(IN_CONTAINERS),
    Place.MANAGERS: set(STORIES),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_lab_that_is_named_can_kill_what_dies(scenario: Scenario) -> None:
    assert scenario.places
    assert all(scenario.dies in CAN[place] for place in scenario.places)


def test_no_deed_and_no_victim_is_without_a_scenario() -> None:
    used = {(place, one.dies) for one in SCENARIOS for place in one.places}
    assert used == {(place, victim) for place, victims in CAN.items() for victim in victims}
    assert {victim for _, victim in used} == set(Victim)


def test_names_are_of_one_kind_and_no_two_are_the_same() -> None:
    names = [one.name for one in SCENARIOS]
    assert len(names) == len(set(names))
    assert all(name.replace("-", "").islower() for name in names)
    assert [find(name).name for name in names] == names
    with pytest.raises(LabError, match="no scenario power-cut"):
        find("power-cut")


def test_both_commands_take_and_list_what_the_registry_has() -> None:
    for app, place in ((cli.app, Place.NAMESPACES), (compose_cli.app, Place.CONTAINERS)):
        listed = CliRunner().invoke(app, ["--list"])
        assert listed.exit_code == 0
        assert listed.output == f"{describe(place)}\n"
        refused = CliRunner().invoke(app, ["--scenario", "power-cut"])
        assert refused.exit_code == 2
        assert "there is no scenario power-cut" in refused.output


def test_what_is_chosen_can_run_there_and_without_a_choice_it_is_everything() -> None:
    names = {place: [one.name for one in choose(place, [])] for place in Place}
    assert names[Place.NAMESPACES] == ["restart-one-server", "kill-openvpn", "cut-node"]
    assert names[Place.CONTAINERS] == ["cut-node", "kill-node", "stop-node"]
    assert choose(Place.CONTAINERS, ["stop-node"]) == [find("stop-node")]
    with pytest.raises(LabError, match="kill-openvpn cannot run in containers"):
        choose(Place.CONTAINERS, ["kill-openvpn"])


def test_the_page_shows_an_entry_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "lab.md").read_text()
    (shown,) = re.findall(r"^```python\n(Scenario\(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    source = Path(scenarios.__file__).read_text()
    entries = [ast.dump(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert ast.dump(ast.parse(shown.strip(), mode="eval").body) in entries
