"""The registry of scenarios: each is written once, and every lab takes it from here.

Pure: a scenario says what dies and what the client may notice. How that is done is the business of
the labs, each of which has a table from ``Victim`` to a deed: ``tests.lab.deaths`` in network
namespaces, ``tests.lab.compose.deaths`` in containers, ``tests.lab.stories`` for the table of VIP
managers, where more than a death may happen. docs/lab.md tells how to write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.lab.errors import LabError


class Place(StrEnum):
    """The two labs, and the table of all VIP managers in network namespaces."""

    NAMESPACES = "namespaces"
    CONTAINERS = "containers"
    MANAGERS = "managers"


class Victim(StrEnum):
    """What dies of the master."""

    OPENVPN = "its OpenVPN, by SIGKILL"
    CABLES = "every cable; its processes go on"
    NODE = "everything on it, at once"
    SERVICE = "everything on it, in order"
    OUTSIDE = "its cable to the clients"
    BACKCHANNEL = "its cable to the other nodes"
    OUTSIDE_AND_BACKCHANNEL = "its cables to the clients and to the other nodes"
    FROZEN = "nothing: its processes stand still, and go on later"
    SUCCESSOR = "every cable, and the successor's sidecar as the VIP arrives there"
    RETURN = "nothing: it comes back after a cut"
    BOOT = "nothing: all nodes boot at once"
    ALL = "all nodes, one after the other, which come back in another order"
    RESTARTED = "nothing: the only server's OpenVPN is restarted (`ovpnha restart-openvpn`)"
    MOVED = "nothing: its role is moved (`ovpnha switchover`)"
    FLAPS = "its cable to the clients, ten times in a minute"
    LOADED = "nothing: its role is moved (`ovpnha switchover`) under 100 Mbit/s"
    CHECKED = "what it serves for: a critical check fails, its OpenVPN runs"
    FENCED = "every cable; a required fence ends it"
    UNFENCED = "every cable; a required fence fails at first"
    FENCE_HANGS = "every cable; a required fence hangs, is killed and overruled"


@dataclass(frozen=True)
class Expected:
    """What the client may notice: an outage, and nothing else.

    It sees no hard reset and does not restart, its TCP session lives, a probe is answered again.
    ``own_ms`` bounds the median outage without the VIP's move, in network namespaces;
    ``outage_ms`` any outage in containers, loosely: what builds images has other things to do.
    """

    own_ms: float = 60.0
    outage_ms: float = 3000.0
    moves: bool = True
    """The VIP ends on another node than before."""
    reconnects: bool = False
    """No server has the client's keys any more: it does restart, and only has to come back."""


@dataclass(frozen=True)
class Scenario:
    """One way in which a cluster loses its master under traffic."""

    name: str
    sentence: str
    dies: Victim
    places: frozenset[Place]
    expected: Expected = field(default_factory=Expected)
    priorities: tuple[int, ...] = ()
    server_options: tuple[str, ...] = ()


_MANAGED = frozenset({Place.MANAGERS})
SCENARIOS = (
    Scenario(
        name="restart-one-server",
        sentence="OpenVPN of a server is restarted that has a spare process, and no other node.",
        dies=Victim.RESTARTED,
        places=frozenset({Place.NAMESPACES}),
        expected=Expected(moves=False),
        server_options=("explicit-exit-notify 1",),
    ),
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
    Scenario(
        name="switchover",
        sentence="An operator moves the role to the other node.",
        dies=Victim.MOVED,
        places=_MANAGED,
    ),
    Scenario(
        name="switchover-under-load",
        sentence="The same while 100 Mbit/s flow to the client.",
        dies=Victim.LOADED,
        places=_MANAGED,
    ),
    Scenario(
        name="node-loss",
        sentence="The master is gone for everybody else.",
        dies=Victim.CABLES,
        places=_MANAGED,
    ),
    Scenario(
        name="openvpn-crash",
        sentence="The master's OpenVPN crashes; its sidecar knows at once.",
        dies=Victim.OPENVPN,
        places=_MANAGED,
    ),
    Scenario(
        name="vip-network-cut",
        sentence="The master loses the clients' network, and is heard on the back channel.",
        dies=Victim.OUTSIDE,
        places=_MANAGED,
    ),
    Scenario(
        name="bcn-cut",
        sentence="The nodes do not hear each other any more; the master serves on.",
        dies=Victim.BACKCHANNEL,
        places=_MANAGED,
        expected=Expected(moves=False),
    ),
    Scenario(
        name="both-cut",
        sentence="The master loses the clients' network and the back channel, and keeps the LAN.",
        dies=Victim.OUTSIDE_AND_BACKCHANNEL,
        places=_MANAGED,
    ),
    Scenario(
        name="frozen-master",
        sentence="The master stands still (SIGSTOP) with its addresses, and goes on (SIGCONT).",
        dies=Victim.FROZEN,
        places=_MANAGED,
    ),
    Scenario(
        name="sidecar-dies-at-takeover",
        sentence="The master is gone, and the successor's sidecar dies as the VIP arrives.",
        dies=Victim.SUCCESSOR,
        places=_MANAGED,
    ),
    Scenario(
        name="failback-sticky",
        sentence="A master that was cut off comes back, and stays standby.",
        dies=Victim.RETURN,
        places=_MANAGED,
        expected=Expected(moves=False),
    ),
    Scenario(
        name="failback-preferred",
        sentence="A preferred master that was cut off comes back, and is given the VIP in sync.",
        dies=Victim.RETURN,
        places=_MANAGED,
        priorities=(100, 60),
    ),
    Scenario(
        name="two-nodes-boot-at-once",
        sentence="Nobody was there before: one of them serves, the other is in sync.",
        dies=Victim.BOOT,
        places=_MANAGED,
        expected=Expected(moves=False),
    ),
    Scenario(
        name="all-off-and-on",
        sentence="All nodes are switched off, the master last, and on again, the other one first.",
        dies=Victim.ALL,
        places=_MANAGED,
        expected=Expected(moves=False, reconnects=True),
        server_options=("explicit-exit-notify 1",),
    ),
    Scenario(
        name="link-flapping",
        sentence="The master's cable to the clients is pulled and plugged ten times in a minute.",
        dies=Victim.FLAPS,
        places=_MANAGED,
        expected=Expected(moves=False),
    ),
    Scenario(
        name="check-fails",
        sentence="A critical check of the master's service fails, and its OpenVPN runs.",
        dies=Victim.CHECKED,
        places=_MANAGED,
    ),
    Scenario(
        name="fence-succeeds",
        sentence="The master is silent; the other one has it ended first, and serves then.",
        dies=Victim.FENCED,
        places=_MANAGED,
    ),
    Scenario(
        name="fence-fails",
        sentence="The fence of a silent master fails once: nobody serves before it has worked.",
        dies=Victim.UNFENCED,
        places=_MANAGED,
    ),
    Scenario(
        name="fence-hangs",
        sentence="The fence of a silent master hangs: nobody serves before it is overruled.",
        dies=Victim.FENCE_HANGS,
        places=_MANAGED,
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
    return "\n".join(f"{one.name:26}{one.sentence} What dies: {one.dies}." for one in found)
