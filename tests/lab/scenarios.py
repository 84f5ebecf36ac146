"""The registry of scenarios: each is written once, and every lab takes it from here.

Pure: a scenario says what dies and what the client may notice. How that is done is the business of
the labs, each of which has a table from ``Victim`` to a deed: ``tests.lab.deaths`` in network
namespaces, ``tests.lab.compose.deaths`` in containers. docs/lab.md tells how to write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.lab.errors import LabError


class Place(StrEnum):
    """The two labs."""

    NAMESPACES = "namespaces"
    CONTAINERS = "containers"


class Victim(StrEnum):
    """What dies of the master."""

    OPENVPN = "its OpenVPN, by SIGKILL"
    CABLES = "every cable; its processes go on"
    NODE = "everything on it, at once"
    SERVICE = "everything on it, in order"


@dataclass(frozen=True)
class Expected:
    """What the client may notice: an outage, and nothing else.

    It sees no hard reset and does not restart, its TCP session lives, a probe is answered again.
    ``own_ms`` bounds the median outage without the VIP's move, in network namespaces;
    ``outage_ms`` any outage in containers, loosely: what builds images has other things to do.
    """

    own_ms: float = 60.0
    outage_ms: float = 3000.0


@dataclass(frozen=True)
class Scenario:
    """One way in which a cluster loses its master under traffic."""

    name: str
    sentence: str
    dies: Victim
    places: frozenset[Place]
    expected: Expected = field(default_factory=Expected)


SCENARIOS = (
    Scenario(
        name="kill-openvpn",
        sentence="The master's OpenVPN crashes.",
        dies=Victim.OPENVPN,
        places=frozenset({Place.NAMESPACES}),
    ),
    Scenario(
        name="cut-node",
        sentence="The master loses all its networks, and does not know why.",
        dies=Victim.CABLES,
        places=frozenset({Place.NAMESPACES, Place.CONTAINERS}),
    ),
    Scenario(
        name="kill-node",
        sentence="The master is gone as after a power cut.",
        dies=Victim.NODE,
        places=frozenset({Place.CONTAINERS}),
    ),
    Scenario(
        name="stop-node",
        sentence="The master is stopped, and gives its role away before it goes.",
        dies=Victim.SERVICE,
        places=frozenset({Place.CONTAINERS}),
    ),
)


def find(name: str) -> Scenario:
    """The scenario of this name; LabError if there is none."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise LabError(f"there is no scenario {name}; --list says what there is")


def all_at(place: Place) -> list[Scenario]:
    """All that one of the labs can run, in order."""
    return [scenario for scenario in SCENARIOS if place in scenario.places]


def choose(place: Place, names: Sequence[str]) -> list[Scenario]:
    """Those of these names, all where there is none; LabError for one that cannot run there."""
    known = all_at(place)
    chosen = [find(name) for name in names]
    for scenario in chosen:
        if scenario not in known:
            raise LabError(f"{scenario.name} cannot run in {place}; --list says what can")
    return chosen or known


def describe(place: Place) -> str:
    """One line for each of them, for people."""
    found = all_at(place)
    return "\n".join(f"{one.name:14}{one.sentence} What dies: {one.dies}." for one in found)
