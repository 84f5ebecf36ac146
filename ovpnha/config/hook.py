"""``[[hook]]``: a program of yours for what happens, and every event that there is.

Decides the words of events, and what a hook is told of each. The table of docs/configuration.md is
made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ovpnha.config.section import Section
from ovpnha.config.values import Argument, Name, Seconds, choice

HOOKS_MAX = 32


class HookEvent(StrEnum):
    """What a hook may wait for."""

    ROLE_CHANGED = "role_changed"
    FAULT = "fault"
    FAULT_OVER = "fault_over"
    NODE_JOINED = "node_joined"
    NODE_LEFT = "node_left"
    NOT_IN_SYNC = "not_in_sync"
    IN_SYNC = "in_sync"
    UNPROTECTED = "unprotected"
    UNPROTECTED_OVER = "unprotected_over"
    CHECK_FAILED = "check_failed"
    CHECK_RECOVERED = "check_recovered"
    SPLIT_BRAIN = "split_brain"
    SPLIT_BRAIN_OVER = "split_brain_over"
    SWITCHOVER_BEGUN = "switchover_begun"
    SWITCHOVER_DONE = "switchover_done"
    SWITCHOVER_FAILED = "switchover_failed"
    IDS_LOW = "ids_low"
    IDS_LOW_OVER = "ids_low_over"
    PROBLEM = "problem"
    PROBLEM_OVER = "problem_over"


_E = HookEvent
MEANINGS: Mapping[HookEvent, str] = {
    _E.ROLE_CHANGED: "the role of an instance of this node is another one",
    _E.FAULT: "an instance of this node cannot do its part any more",
    _E.FAULT_OVER: "it can again",
    _E.NODE_JOINED: "another node is heard and believed",
    _E.NODE_LEFT: "another node is not heard any more, or has said goodbye",
    _E.NOT_IN_SYNC: "a copy (of this node, or of the named one) is not whole any more",
    _E.IN_SYNC: "it is whole",
    _E.UNPROTECTED: "as master: a client has not been on another node for 10 s, as it is now",
    _E.UNPROTECTED_OVER: "all are, or this node is not master any more",
    _E.CHECK_FAILED: "a check of the service of this node has failed",
    _E.CHECK_RECOVERED: "it is good again",
    _E.SPLIT_BRAIN: "another node is master and has the VIP, too",
    _E.SPLIT_BRAIN_OVER: "one of the two is not any more",
    _E.SWITCHOVER_BEGUN: "this node, the master, begins to give its role to another one",
    _E.SWITCHOVER_DONE: "it has",
    _E.SWITCHOVER_FAILED: "it has not, and why",
    _E.IDS_LOW: "as master: a client has fewer than a million packet ids left to its newest key",
    _E.IDS_LOW_OVER: "none has",
    _E.PROBLEM: "a problem of any kind, as `ovpnha status` shows it",
    _E.PROBLEM_OVER: "it is over",
}
VARIABLES: Mapping[str, str] = {
    "OVPNHA_EVENT": "the word of the event",
    "OVPNHA_NODE": "this node",
    "OVPNHA_INSTANCE": "the instance that it is about; empty: the whole node",
    "OVPNHA_OTHER_NODE": "the other node that it is about; empty: none",
    "OVPNHA_LEVEL": "`info`, `warning` or `error`",
    "OVPNHA_TEXT": "what happened, in a line for people",
    "OVPNHA_TIME": "when, in seconds since 1970",
    "OVPNHA_OLD_ROLE": "of a change of role, of a fault and of its end: the role before",
    "OVPNHA_ROLE": "of the same: the role now",
    "OVPNHA_EPOCH": "of the same: the epoch",
    "OVPNHA_REASON": "of the same, of a node that left, and of a switchover that failed: why",
    "OVPNHA_CHECK": "of a check: its name",
    "OVPNHA_CRITICAL": "of a check: `True` or `False`",
    "OVPNHA_PROBLEM": "of a problem and of its end: its kind",
    "OVPNHA_FIX": "of the same: what to do",
    "OVPNHA_TARGET": "of a switchover: the node that shall be master",
}


class HookSection(Section):
    """A program of yours that runs when something has happened."""

    events: tuple[Annotated[HookEvent, choice(HookEvent)], ...] = Field(
        min_length=1,
        strict=False,
        description="The events that it runs for; the table below has them all.",
        examples=[["node_left", "fault"]],
    )
    command: tuple[Argument, ...] = Field(
        min_length=1,
        strict=False,
        description="Program and arguments, without a shell. Its environment is in the table "
        "below. Runs of one hook follow one another in the order of the events; hooks do not wait "
        "for each other, and nothing waits for a hook. Of more than 64 events that wait the oldest "
        "are left out.",
        examples=[["/etc/ovpnha/hooks/mail", "admin@example.org"]],
    )
    instance: Name | None = Field(
        default=None,
        description="Only events of this instance, and those of the whole node.",
        examples=["udp"],
    )
    after: Seconds = Field(
        default=0.0,
        description="Seconds for which something must have lasted that has an end (`unprotected` "
        "and all others with an `_over`, `not_in_sync`, `node_left`, `check_failed`): when it ends "
        "before, the hook hears neither of it nor of its end.",
        examples=[60.0],
    )
    timeout: Seconds = Field(
        default=10.0,
        description="Seconds after which a run is killed, with all that it began.",
        examples=[10.0],
    )


def render_events() -> str:
    """The tables of events and of the environment, as Markdown."""
    events = "\n".join(f"| `{event}` | {MEANINGS[event]} |" for event in HookEvent)
    return (
        f"| event | when |\n|---|---|\n{events}\n\n"
        f"{render_variables(VARIABLES)}\n"
        "Of the environment of ovpnha itself a hook has PATH, LANG and TZ. A variable that an event"
        " has nothing to say for is not set.\n"
    )


def render_variables(variables: Mapping[str, str]) -> str:
    """The table of what a program finds in its environment, as Markdown."""
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in variables.items())
    return f"| variable | what |\n|---|---|\n{rows}\n"
