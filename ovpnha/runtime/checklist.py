"""The checks of all nodes as one list, and what ``ovpnha checks`` says of them to the eye.

Decides only words. What another node says of its checks has come in its hello: the names, what is
held of them, when they were last made, and the beginning of what they said.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.model import CheckState, InstanceName, NodeName, Verdict
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics
from ovpnha.runtime.answers import ChecksAnswer, ListedCheck
from ovpnha.runtime.rows import Cell, Grid, Level

LEVELS = {Verdict.OK: Level.GOOD, Verdict.UNKNOWN: Level.FAIR, Verdict.FAILED: Level.BAD}


def list_checks(status: NodeStatistics, wall: float) -> ChecksAnswer:
    """Those of this node and of every node that is heard; ``wall`` is seconds since 1970."""
    return ChecksAnswer(
        tuple(one for instance in status.instances for one in _of(status.node, instance, wall))
    )


def _of(own: NodeName, one: InstanceStatistics, wall: float) -> Iterator[ListedCheck]:
    for check in one.checking.checks:
        yield _listed(own, one.name, check, wall)
    for node in one.nodes:
        if node.believed:
            for check in node.checks:
                yield _listed(node.name, one.name, check, wall + (node.clock_offset or 0.0))


def _listed(node: NodeName, instance: InstanceName, one: CheckState, wall: float) -> ListedCheck:
    return ListedCheck(
        node=node,
        instance=instance,
        name=one.name,
        verdict=one.verdict,
        critical=one.critical,
        resting=one.resting,
        stuck=one.stuck,
        age=max(0.0, wall - one.checked) if one.checked else None,
        text=one.text,
    )


def describe_checks(answer: ChecksAnswer) -> Grid | Cell:
    """A row for each; a check of the whole node stands with each of its instances."""
    if not answer.checks:
        return Cell("No checks; docs/configuration.md, [[check]], tells what there may be.")
    rows = tuple(_row(one) for one in answer.checks)
    return Grid("", ("node", "instance", "check", "is", "age", "says"), rows, frozenset({"age"}))


def _row(one: ListedCheck) -> tuple[Cell, ...]:
    return (
        Cell(one.node),
        Cell(one.instance),
        Cell(one.name + (" (critical)" if one.critical else "")),
        Cell(_verdict(one), LEVELS[one.verdict]),
        Cell("never" if one.age is None else f"{one.age:.0f} s"),
        Cell(one.text),
    )


def _verdict(one: ListedCheck) -> str:
    """Why it stays as it is, too."""
    if one.stuck:
        return f"{one.verdict.value}, until: ovpnha reset {one.name}"
    return f"{one.verdict.value}, rests: not master" if one.resting else one.verdict.value
