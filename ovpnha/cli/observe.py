"""Commands that only look: ``ovpnha history``, ``events``, ``nodes``."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovpnha.cli.common import (
    ConfigOption,
    InstanceOption,
    NodeOption,
    ask_daemon,
    print_json,
    read_duration,
)
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.model import InstanceName, NodeName
from ovpnha.replication.history import SharedHistory
from ovpnha.runtime.answers import HistoryAnswer, tell_time
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.control import (
    ControlError,
    EventsRequest,
    HistoryRequest,
    StatusRequest,
    is_alive,
)

if TYPE_CHECKING:
    from ovpnha.runtime.events import NodeEvent

UNITS = {"s": 1000, "m": 60_000, "h": 3600_000, "d": 86400_000, "w": 604800_000}
JsonOption = Annotated[bool, typer.Option("--json", help="The same, for programs.")]


def history(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    here: Annotated[bool, typer.Option("--here", help="Only what changed on this node.")] = False,
    since: Annotated[
        str, typer.Option("--since", help="Only what is younger: 2h, 7d, or 2026-11-26 20:15.")
    ] = "",
    last: Annotated[
        int, typer.Option("--last", min=1, max=10_000, help="Only so many, the newest.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show every change of a role of all nodes: when, why, what a promotion took, and its clients.

    It is the same on every node that hears the others, and goes back over restarts. When the
    sidecar does not run, what this node has on disk is shown. What each column means:
    docs/operations.md, "History".
    """
    moment = parse_since(since, time.time()) if since else 0.0
    request = HistoryRequest(instance=instance, here=here, since=moment, last=last)
    answer = _ask_or_read(config, node, request)
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    from ovpnha.cli.show import show_history
    from ovpnha.runtime.historypage import describe_history

    show_history(describe_history(answer), Console())


def _ask_or_read(config: Path, node: str | None, request: HistoryRequest) -> HistoryAnswer:
    """What the sidecar knows; when none runs, what the disk has."""
    loaded = load_config(config, node)
    if is_alive(loaded.control.socket):
        return ask_daemon(config, node, request, HistoryAnswer)
    from ovpnha.runtime.historyfile import HistoryFile
    from ovpnha.runtime.historypage import select_history

    found = HistoryFile(loaded.history.file).read()
    if found.problem:
        raise ControlError(found.problem)
    typer.echo("ovpnha does not run here: this is what the disk has", err=True)
    if found.skipped:
        typer.echo(f"{loaded.history.file}: {found.skipped} lines are damaged", err=True)
    known = SharedHistory(found.entries).entries
    name = None if request.instance is None else InstanceName(request.instance)
    return select_history(NodeName(loaded.cluster.node), known, request, name)


def nodes(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, as_json: JsonOption = False
) -> None:
    """Show all nodes: roles, grades, copies, versions, cluster keys, and how they are heard.

    As this node sees them. The cluster keys are told by their numbers, which every datagram shows:
    the first one seals, and all nodes should have the same. docs/operations.md, "Nodes".
    """
    from ovpnha.runtime.nodespage import list_nodes
    from ovpnha.runtime.status import StatusAnswer

    answer = list_nodes(ask_daemon(config, node, StatusRequest(), StatusAnswer).status)
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    from ovpnha.cli.show import show_nodes

    show_nodes(answer, Console())


def events(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as things happen, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", help="Only what is younger: 10m, or 2026-11-26 20:15.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for programs.")
    ] = False,
) -> None:
    """Show what happens on this node: roles, problems and their end, nodes, copies, checks, hooks.

    Without `--follow` what the sidecar remembers, the last 1,000 at most; with `--follow` what
    happens from now on, and before it what `--since` asks for. Ends with Ctrl-C, and with the
    sidecar. Who reads too slowly is told how many were left out. docs/operations.md, "Events".
    """
    from ovpnha.runtime.eventclient import follow_events

    moment = parse_since(since, time.time()) if since else None
    path = load_config(config, node).control.socket
    try:
        for event in follow_events(path, moment) if follow else _remembered(config, node, moment):
            typer.echo(json.dumps(to_plain(event)) if as_json else describe_event(event))
    except KeyboardInterrupt:
        raise typer.Exit from None


def _remembered(config: Path, node: str | None, since: float | None) -> tuple[NodeEvent, ...]:
    from ovpnha.runtime.events import EventsAnswer

    return ask_daemon(config, node, EventsRequest(since=since), EventsAnswer).events


def describe_event(event: NodeEvent) -> str:
    """One line for people."""
    place = " ".join(filter(None, (event.instance, event.node and f"node {event.node}")))
    parts = (tell_time(event.when, exact=True), event.kind, place)
    return f"{'  '.join(filter(None, parts))}: {event.text}"


def parse_since(text: str, now: float) -> float:
    """Seconds since 1970 of a text like ``2h``, ``7d`` or ``2026-11-26 20:15``."""
    age = read_duration(text, UNITS)
    if age is not None:
        return max(0.0, now - age)
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        hint = "must be a time that has passed such as 2h or 7d, or a moment: 2026-11-26 20:15"
        raise typer.BadParameter(hint, param_hint="--since") from None
