"""What ``make nat`` says: a row for each kind of connection and move, and what must hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from tests.lab.rules import Rules


class Death(StrEnum):
    """How the VIP is made to move."""

    KILL = "kill"
    CUT = "cut"
    DEMOTE = "demote"


class Leg(StrEnum):
    """Which move of one life it is: from a to b, back, and from a to b once more."""

    THERE = "there"
    BACK = "back"
    THERE_AGAIN = "there-again"


class Traffic(StrEnum):
    """The kinds of connections."""

    TWO_WAY = "two-way"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    IDLE = "idle"
    MANY = "many"
    UDP = "udp"
    ICMP = "icmp"


ICMP = Traffic.ICMP
FAMILIES = ("ipv4", "ipv6")
DOOMED = Rules.MASQUERADE
"""Translates to the node's own address, which moves nowhere: no session can live."""
BEYOND_MOVE_MS = 250.0
"""What a stall may last longer than the move of the VIP, median: TCP's own retransmission."""


@dataclass(frozen=True)
class Fate:
    """How the sessions of one kind fared: all alive, their longest stall, what went wrong."""

    alive: bool
    stall_ms: float
    errors: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """One kind of connection over one move.

    ``control`` is without conntrackd and without the rules that go with it. ``vip_move_ms`` is
    from the death, or the order, until every address is on the other node.
    """

    rules: Rules
    death: Death
    leg: Leg
    traffic: Traffic
    family: str
    control: bool
    alive: bool
    stall_ms: float
    vip_move_ms: float
    error: str = ""

    @property
    def must_live(self) -> bool:
        """Whether the product promises this row."""
        return not self.control and self.rules is not DOOMED

    @property
    def beyond_ms(self) -> float:
        """The stall without the move of the VIP."""
        return self.stall_ms - self.vip_move_ms

    def as_json(self) -> dict[str, Any]:
        """The row as an object of the result file."""
        return asdict(self)


def broken_promises(rows: Iterable[Row]) -> list[str]:
    """One line for each promise that was not kept."""
    promised = [row for row in rows if row.must_live]
    broken = [
        f"{_name(row)}: dead{f', {row.error}' if row.error else ''}"
        for row in promised
        if not row.alive
    ]
    for rules, traffic, group in _groups(promised):
        beyond = median(row.beyond_ms for row in group)
        if beyond > BEYOND_MOVE_MS:
            broken.append(f"{rules}, {traffic}: median stall {beyond:.0f} ms beyond the VIP's move")
    return broken


def _name(row: Row) -> str:
    return f"{row.rules}, {row.death}, {row.leg}, {row.traffic}, {row.family}"


def _groups(rows: Sequence[Row]) -> Iterator[tuple[Rules, Traffic, list[Row]]]:
    for rules in Rules:
        for traffic in Traffic:
            if group := [row for row in rows if (row.rules, row.traffic) == (rules, traffic)]:
                yield rules, traffic, group


def table(rows: Sequence[Row]) -> str:
    """For each rules and kind: how many lived, median and largest stall, with and without."""
    head = f"{'rules':14}{'traffic':10}{'alive':>9}{'median':>8}{'max':>7}"
    lines = [f"{head}{'control':>11}{'median':>8}{'max':>7}  (stall in ms, of those alive)"]
    for rules, traffic, group in _groups(rows):
        ours = _figures([row for row in group if not row.control])
        theirs = _figures([row for row in group if row.control])
        lines.append(f"{rules:14}{traffic:10}{ours}  {theirs}")
    return "\n".join(lines)


def _figures(rows: Sequence[Row]) -> str:
    if not rows:
        return f"{'-':>9}{'-':>8}{'-':>7}"
    alive = [row.stall_ms for row in rows if row.alive]
    count = f"{len(alive)}/{len(rows)}"
    if not alive:
        return f"{count:>9}{'-':>8}{'-':>7}"
    return f"{count:>9}{median(alive):8.0f}{max(alive):7.0f}"
