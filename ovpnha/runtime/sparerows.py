"""What ``status`` says of the two processes of a server on one machine.

Decides only words, as ``ovpnha/runtime/rows.py`` does.
"""

from __future__ import annotations

from ovpnha.model import Sync
from ovpnha.node.statistics import ProcessFigures, SpareFigures
from ovpnha.runtime.restartrequest import MASTER

COPIES = {
    Sync.SYNCING: ", its copy is being made",
    Sync.PARTIAL: ", in sync but for some clients",
    Sync.IN_SYNC: ", in sync",
}


def describe_processes(told: SpareFigures) -> tuple[str, bool]:
    """Which one serves and what the other one is; whether that has every client."""
    serving, other = told.of(told.serving), told.other
    ready = other.sync is Sync.IN_SYNC and not other.problem
    text = f"the {told.serving} process {_does(serving)}, the {told.serving.other} one"
    return f"{text} {_does(other)}{COPIES.get(other.sync, '')}", ready


def _does(one: ProcessFigures) -> str:
    return "serves" if one.place == MASTER else f"is {one.place}"
