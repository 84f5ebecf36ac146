"""Reads the events that a sidecar says over its control socket, until one of the two ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ovpnha.runtime.codec import from_plain
from ovpnha.runtime.control import ControlError, EventsRequest, converse
from ovpnha.runtime.events import STOPPING, NodeEvent

ANSWER_TIMEOUT = 15.0


def follow_events(path: Path, since: float | None) -> Iterator[NodeEvent]:
    """Each event, as it comes; the last one says that the sidecar ends.

    Raises:
        ControlError: It does not run, refuses, or has ended without a word.
    """
    request = EventsRequest(since=since, follow=True)
    with converse(path, request, ANSWER_TIMEOUT) as (_answer, lines):
        for line in lines:
            event = from_plain(NodeEvent, json.loads(line))
            yield event
            if event.kind == STOPPING:
                return
    raise ControlError(f"{path}: the sidecar has ended without a word; see its log")
