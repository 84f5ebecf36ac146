"""What stands against a switchover: looked for where it is asked, and again on the master.

Decides to which node the role shall go, and whether it may: by what all nodes say of themselves, so
that each of them comes to the same answer. Changes nothing. Rules: docs/roles.md, "A switchover".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.machines import machine_of, sibling_of
from ovpnha.model import (
    NO_EPOCH,
    Epoch,
    Grade,
    InstanceState,
    NodeName,
    Role,
    SwitchPhase,
    SwitchReason,
    SwitchState,
    Sync,
)

UNDER_WAY = frozenset({SwitchPhase.PREPARING, SwitchPhase.READY, SwitchPhase.MOVING})

States = Mapping[NodeName, InstanceState]
_R = SwitchReason


@dataclass(frozen=True)
class Obstacle:
    """One thing that stands against it, in words and with what to do."""

    reason: SwitchReason
    text: str


@dataclass(frozen=True)
class SwitchPlan:
    """Who would give the role to whom; empty names where that is not known."""

    master: NodeName
    target: NodeName
    epoch: Epoch = NO_EPOCH  # of that master
    obstacles: tuple[Obstacle, ...] = ()


def find_masters(states: States) -> list[NodeName]:
    """The nodes that say they are master and have the VIP, the one in the highest epoch first."""
    masters = [name for name, one in states.items() if one.serves]
    return sorted(masters, key=lambda name: states[name].epoch, reverse=True)


def find_running(states: States) -> SwitchState | None:
    """The switchover that a master says is under way."""
    for one in states.values():
        running = one.switchover
        if one.role is Role.MASTER and running is not None and running.phase in UNDER_WAY:
            return running
    return None


def make_plan(states: States, wanted: NodeName | None) -> SwitchPlan:
    """What would be done, and everything that stands against it.

    Args:
        states: What every node says that is heard now, this one among them.
        wanted: The node that shall be master; None: the best one that can.
    """
    masters = find_masters(states)
    master = masters[0] if masters else NodeName("")
    target = _place(states, wanted) if wanted else _choose(states, master)
    obstacles = [*_judge_masters(states, masters), *_judge_target(states, master, target)]
    if find_running(states) is not None:
        text = "a switchover is under way already: wait until it is over, ovpnha status shows it"
        obstacles.append(Obstacle(_R.UNDER_WAY, text))
    epoch = states[master].epoch if masters else NO_EPOCH
    return SwitchPlan(master, target, epoch, tuple(obstacles))


def _place(states: States, wanted: NodeName) -> NodeName:
    """Which of the two processes of a machine is meant: the one that its VIP would be for.

    The other one says that no VIP manager reads its grade, as every node does where that is so.
    """
    sibling = sibling_of(wanted)
    other = states.get(sibling)
    if other is None or not other.managed:
        return wanted
    there = states.get(wanted)
    return wanted if there is not None and there.managed else sibling


def _choose(states: States, master: NodeName) -> NodeName:
    """The best graded standby in sync; the best graded of all others, where there is none."""

    def merit(name: NodeName) -> tuple[bool, bool, int]:
        one = states[name]
        ready = one.role is Role.STANDBY and one.sync is Sync.IN_SYNC
        return ready, one.managed, one.grade

    here = machine_of(master)
    others = sorted(name for name in states if machine_of(name) != here)
    return max(others, key=merit, default=NodeName(""))


def _judge_masters(states: States, masters: list[NodeName]) -> list[Obstacle]:
    if not masters:
        text = "no node that is heard is master and has the VIP: ovpnha status says what is wrong"
        return [Obstacle(_R.NO_MASTER, text)]
    found = []
    if len(masters) > 1:
        names = " and ".join(masters)
        text = f"{names} are master and have the VIP: repair the network between the VIP managers"
        found.append(Obstacle(_R.TWO_MASTERS, text))
    if states[masters[0]].paused:
        found.append(_paused(masters[0]))
    if not states[masters[0]].managed:
        found.append(_unmanaged(masters[0]))
    return found


def _unmanaged(node: NodeName) -> Obstacle:
    text = f"{node}: no VIP manager reads its grade: start keepalived there"
    return Obstacle(_R.NO_VIP_MANAGER, text)


def _paused(node: NodeName) -> Obstacle:
    return Obstacle(_R.PAUSED, f"{node}: is paused: ovpnha resume there")


def _judge_target(states: States, master: NodeName, target: NodeName) -> list[Obstacle]:
    if not target:
        return [Obstacle(_R.NO_TARGET, "no other node is heard: does ovpnha run there?")]
    state = states.get(target)
    if state is None:
        known = ", ".join(sorted(states)) or "none"
        return [Obstacle(_R.UNKNOWN, f"{target}: no such node is heard; heard: {known}")]
    if machine_of(target) == machine_of(master):
        return [Obstacle(_R.IS_MASTER, f"{target}: is master already; name another node")]
    return _judge_standby(target, state)


def _judge_standby(target: NodeName, state: InstanceState) -> list[Obstacle]:
    found = []
    if state.role is not Role.STANDBY:
        text = f"{target}: is {state.role.value}, no standby: ovpnha status there says why"
        found.append(Obstacle(_R.NOT_STANDBY, text))
    elif state.sync is not Sync.IN_SYNC:
        sync = state.sync.value.replace("_", " ")
        text = f"{target}: is not in sync (copy: {sync}): wait, or see ovpnha status there"
        found.append(Obstacle(_R.NOT_IN_SYNC, text))
    elif state.grade < Grade.IN_SYNC and not state.paused:  # a pause lowers it
        text = f"{target}: its grade is {state.grade}, not 90: ovpnha status there says why"
        found.append(Obstacle(_R.LOW_GRADE, text))
    if state.paused:
        found.append(_paused(target))
    if not state.managed:
        found.append(_unmanaged(target))
    return found
