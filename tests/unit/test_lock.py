"""The lock is whole: what it names is installed without resolving, so nothing may be missing.

`pip check` does not look at extras (`coverage[toml]`), nor at other interpreters than its own.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)
}
PYTHONS = ("3.11", "3.12", "3.13")


def asked_by_ovpnha() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def applies(requirement: Requirement, python: str, extras: set[str]) -> bool:
    environment = {key: str(value) for key, value in default_environment().items()}
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": e}) for e in extras)


def asked_by(requirement: Requirement, python: str) -> list[Requirement]:
    extras = {"", *requirement.extras}
    asked = [Requirement(line) for line in distribution(requirement.name).requires or ()]
    return [one for one in asked if applies(one, python, extras)]


def everything_asked(python: str) -> dict[str, Requirement]:
    """Every requirement that is reached from pyproject.toml, by what it says."""
    found: dict[str, Requirement] = {}
    waiting = asked_by_ovpnha()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) not in found:
            found[str(requirement)] = requirement
            waiting += asked_by(requirement, python)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_whatever_a_locked_package_asks_for_is_locked_and_fits(python: str) -> None:
    for text, requirement in everything_asked(python).items():
        pin = PINS.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{text} is not in requirements.lock"
        assert requirement.specifier.contains(pin, prereleases=True), f"{text}, but {pin} is locked"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_locked_package_is_for_this_interpreter_and_asked_for(python: str) -> None:
    asked = {canonicalize_name(one.name) for one in everything_asked(python).values()}
    assert set(PINS) == asked
    for name in PINS:
        wanted = distribution(name).metadata["Requires-Python"] or ""
        assert Requirement(f"python{wanted}").specifier.contains(f"{python}.0"), f"{name}: {wanted}"


def test_every_pin_has_hashes_and_is_what_is_installed() -> None:
    blocks = re.split(r"^(?=\S+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINS)
    assert not [block.split()[0] for block in blocks if "--hash=sha256:" not in block]
    assert {name: distribution(name).version for name in PINS} == PINS
