"""What commands have in common: the options that most take, and how the daemon is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ovpnha.config import load_config
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.control import Answer, HandOverRequest, Request, ask

ANSWER_TIMEOUT = 15.0
HUNG_AFTER = 2.0  # seconds: a daemon that is late by so much would keep a stop waiting
SHORT = {"": 1000, "s": 1000, "ms": 1}

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file, the same on all nodes.")
]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", envvar="OVPNHA_NODE", help="Name of this node, else the host name."),
]
InstanceOption = Annotated[
    str | None,
    typer.Option("--instance", "-i", help="Name of the instance; not needed when there is one."),
]


def print_json(record: object) -> None:
    """A record, as JSON for programs."""
    typer.echo(json.dumps(to_plain(record), indent=2))


def read_duration(text: str, units: Mapping[str, int]) -> float | None:
    """Seconds of a text like ``2s``; None when it is none. ``units`` are in milliseconds."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([a-z]*)", text, re.ASCII)
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]] / 1000


def parse_duration(text: str, option: str) -> float:
    """Seconds of a text like ``2s``, ``500ms`` or ``1.5``, given for an option."""
    seconds = read_duration(text, SHORT)
    if seconds is None:
        raise typer.BadParameter("must be a duration such as 2s or 500ms", param_hint=option)
    return seconds


def ask_daemon(config: Path, node: str | None, request: Request, answer: type[Answer]) -> Answer:
    """Give the daemon of this configuration a command, and wait for its answer."""
    timeout = ANSWER_TIMEOUT
    if isinstance(request, HandOverRequest):
        timeout = request.within + HUNG_AFTER
    return ask(load_config(config, node).control.socket, request, answer, timeout)
