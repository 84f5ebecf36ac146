"""What a stock client's log says about what it noticed. Pure.

The client logs at verb 4 with machine-readable stamps. Noticing means: a hard reset (the session
starts anew), a restart (the client gives up and begins again), or an initialization completed
again; one loss of the server brings all of them about. A renegotiation is ordinary life and counted
apart: a control channel that comes up without a hard reset before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_STAMP = re.compile(r"^(\d+)\.(\d{6}) [0-9a-f]+ (.*)$")
HARD_RESET = "TLS: Initial packet from"
RESTART = "process restarting"
INACTIVE = "Inactivity timeout"
CONNECTED = "Initialization Sequence Completed"
CONTROL_CHANNEL = "Control Channel: TLS"
BAD_PACKET = "bad packet ID"
PUSH_REQUEST = "SENT CONTROL [server]: 'PUSH_REQUEST'"
PUSH_AGAIN_SECONDS = 5.0
"""What is pushed comes by itself, or when a client has asked for it. In a handshake over the turn
of a second the first of that is lost, stock OpenVPN's too, and it asks so many seconds later."""


@dataclass(frozen=True)
class LogLine:
    """One line: ``time`` in nanoseconds of the wall clock, and what it says."""

    time: int
    text: str


@dataclass(frozen=True)
class Noticed:
    """How often the client noticed something, by kind."""

    hard_resets: int
    restarts: int
    inactive: int
    reconnects: int
    renegotiations: int
    bad_packet_ids: int

    @property
    def nothing(self) -> bool:
        """The client knows of nothing but ordinary renegotiations."""
        return not (self.hard_resets or self.restarts or self.inactive or self.reconnects)


def parse_line(line: str) -> LogLine | None:
    """A log line with its stamp, or None for what is no log line."""
    match = _STAMP.match(line)
    if match is None:
        return None
    seconds, micros, text = match.groups()
    return LogLine(int(seconds) * 1_000_000_000 + int(micros) * 1000, text)


def noticed(lines: Iterable[LogLine], since: int = 0, until: int | None = None) -> Noticed:
    """Count what lies in ``since <= time < until`` (wall clock, nanoseconds)."""
    texts = [
        line.text for line in lines if line.time >= since and (until is None or line.time < until)
    ]
    hard_resets = _count(texts, HARD_RESET)
    return Noticed(
        hard_resets=hard_resets,
        restarts=_count(texts, RESTART),
        inactive=_count(texts, INACTIVE),
        reconnects=_count(texts, CONNECTED),
        renegotiations=max(0, _count(texts, CONTROL_CHANNEL) - hard_resets),
        bad_packet_ids=_count(texts, BAD_PACKET),
    )


def _count(texts: Iterable[str], needle: str) -> int:
    return sum(needle in text for text in texts)
