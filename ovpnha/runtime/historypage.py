"""Which changes of roles are shown, and every word of it; no layout.

Decides only words. docs/operations.md, "History", explains each column. Names and reasons come from
other nodes too; what a terminal would obey in them was refused when they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovpnha.model import InstanceName, NodeName, Role
from ovpnha.replication.history import HistoryEntry, cut
from ovpnha.runtime.answers import HistoryAnswer, count_clients, tell_time
from ovpnha.runtime.control import HistoryRequest
from ovpnha.runtime.rows import Cell, Grid, Level

LEVELS = {Role.MASTER: Level.GOOD, Role.HELD: Level.FAIR, Role.FAULT: Level.BAD}
OUTCOMES: Mapping[str, str] = {
    "fenced": "done in",
    "fence_failed": "failed after",
    "fence_overruled": "overruled after",
}
COLUMNS = ("time", "node", "from", "to", "epoch", "silence", "serves", "heard", "clients", "cause")


@dataclass(frozen=True)
class HistoryPage:
    """All that ``history`` shows."""

    heading: str
    changes: Grid | None  # None: there are none
    notes: tuple[str, ...] = ()


def select_history(
    node: NodeName,
    entries: Iterable[HistoryEntry],
    request: HistoryRequest,
    instance: InstanceName | None,
) -> HistoryAnswer:
    """Those that were asked for; entries are in their order."""
    wanted = [
        entry
        for entry in entries
        if entry.when >= request.since
        and instance in (None, entry.instance)
        and (entry.node == node or not request.here)
    ]
    shown = tuple(wanted[-request.last :])
    return HistoryAnswer(node, shown, len(wanted) - len(shown))


def describe_history(answer: HistoryAnswer) -> HistoryPage:
    """The whole page."""
    notes = []
    if answer.more:
        notes.append(f"{answer.more} older ones are not shown: --last")
    if answer.problem:
        notes.append(f"not kept over a restart: {answer.problem}")
    count = len(answer.entries)
    changes = "1 change of a role" if count == 1 else f"{count} changes of roles"
    several = len({entry.instance for entry in answer.entries}) > 1
    fenced = any(map(_fence, answer.entries))
    return HistoryPage(
        f"{changes}, as node {answer.node} knows them",
        _grid(answer.entries, several=several, fenced=fenced) if count else None,
        tuple(notes),
    )


def _grid(entries: tuple[HistoryEntry, ...], *, several: bool, fenced: bool) -> Grid:
    """A column that would say the same of all, or nothing, is left out."""
    columns = [*COLUMNS[:2], *(["instance"] if several else []), *COLUMNS[2:]]
    if fenced:
        columns.insert(columns.index("serves"), "fence")
    rows = tuple(_row(entry, several=several, fenced=fenced) for entry in entries)
    return Grid("", tuple(columns), rows)


def _row(entry: HistoryEntry, *, several: bool, fenced: bool) -> tuple[Cell, ...]:
    place = [cut(entry.node), *([cut(entry.instance)] if several else [])]
    texts = [tell_time(entry.when, exact=True), *place]
    times = entry.figures.get("times", 1.0)
    cause = entry.reason
    if times > 1:
        until = tell_time(entry.when + entry.figures.get("until", 0.0))
        cause += f" ({times:.0f} times in a row, the last time at {until})"
    return (
        *map(Cell, texts),
        Cell(entry.old.value),
        Cell(entry.new.value, LEVELS.get(entry.new, Level.PLAIN)),
        *(
            Cell(text)
            for text in (
                *(f"{entry.epoch.counter}", _time(entry, "silent")),
                *([_fence(entry)] if fenced else []),
                *(_time(entry, "promoted"), _time(entry, "first_packet")),
                *(_clients(entry), cause),
            )
        ),
    )


def _time(entry: HistoryEntry, name: str) -> str:
    """Of a promotion: the silence before the VIP; from there to OpenVPN's word, to a client's."""
    return _milliseconds(entry.figures[name]) if name in entry.figures else ""


def _fence(entry: HistoryEntry) -> str:
    """What became of its fence; "" when none was asked, or nothing is told of it."""
    for name, words in OUTCOMES.items():
        if name in entry.figures:
            return f"{words} {_milliseconds(entry.figures[name])}"
    return "asked" if "fence_asked" in entry.figures else ""


def _clients(entry: HistoryEntry) -> str:
    figures = entry.figures
    texts = [count_clients(int(figures.get("clients", 0)))]
    texts += _counts(figures, {"dropped": "dropped", "lacking": "lacking"})
    texts += _counts(figures, {"reconnecting": "told to reconnect"})
    texts += _counts(figures, {"rekeyed": "with new keys", "rekey_pending": "without yet"})
    texts += _counts(figures, {"rekey_left": "left with theirs"})
    return ", ".join(texts)


def _counts(figures: Mapping[str, float], words: Mapping[str, str]) -> list[str]:
    return [f"{figures[name]:.0f} {word}" for name, word in words.items() if figures.get(name)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
