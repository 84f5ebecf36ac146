"""What ``ovpnha restart-openvpn`` asks the daemon for, and its answer; apart, to be loaded fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ovpnha.machines import Process, SparePolicy
from ovpnha.model import InstanceName

DONE = "done"
ENDED = frozenset({DONE, "failed"})
"""Phases of a move after which nothing follows (``ovpnha.node.moving``)."""
CRITICAL = frozenset({"holding", "promoting", "returning"})
"""Phases, of milliseconds, in which either process may be the one that will serve."""
ABSENT, SILENT, WAITING, FAULT = "absent", "silent", "waiting", "fault"
STANDBY, HELD, MASTER = "standby", "held", "master"
"""What a process may be (``ovpnha.node.arbiter.Place``)."""


Step = Literal["look", "renew", "move", "cancel", "wait", "farewell", "stay"]


class RestartRequest(BaseModel):
    """One step of a restart: of the process that serves, or of the one beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    command: Literal["restart-openvpn"] = "restart-openvpn"
    instance: str | None = None
    step: Step = "look"
    process: Process | None = Field(default=None, strict=False)  # ``renew``; None: the one beside
    within: float = Field(default=60.0, ge=0.1, le=3600.0)  # seconds that ``move`` may wait
    known: str = Field(default="", max_length=400)  # ``wait``: phase and reason as they were


@dataclass(frozen=True)
class RestartAnswer:
    """What the two processes are, and how far the last move is."""

    instance: InstanceName
    policy: SparePolicy
    serving: Process
    places: Mapping[str, str] = field(default_factory=dict)  # of each process, what it is
    pids: Mapping[str, int] = field(default_factory=dict)  # its number; 0: not known
    copies: Mapping[str, str] = field(default_factory=dict)  # how complete, as in ``Sync``
    problems: Mapping[str, str] = field(default_factory=dict)  # why it could not serve, if so
    phase: str = ""  # of the last move; "" when there was none
    reason: str = ""  # what it waits for, or why it failed
    seconds: float = 0.0
    obstacles: tuple[str, ...] = ()  # what stands against a restart, whoever is started
    settled: bool = True  # False: the sidecar has just begun, and does not know yet who serves
    clients: int = 0  # who is to be told to reconnect, since ``farewell``
    told: int = 0  # how many of them have been
    telling: bool = False  # not all of them know it yet
    parted: bool = False  # all of them know it, or another machine goes on with them
    waiting: int = 0  # a process that waits for descriptors and is to be ended by whoever may

    @property
    def known(self) -> str:
        """What ``wait`` is told."""
        return f"{self.phase} {self.reason}"[:400]


def is_master(answer: RestartAnswer) -> bool:
    """Whether it has clients to move: else no process serves here."""
    return answer.places.get(answer.serving) == MASTER


def is_over(answer: RestartAnswer) -> bool:
    """Whether the move has ended, well or not."""
    return answer.phase in ENDED


def is_done(answer: RestartAnswer) -> bool:
    """Whether it ended well."""
    return answer.phase == DONE
