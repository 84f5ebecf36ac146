"""The section ``[log]``: what is logged, and in which form."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ovpnha.config.section import Section
from ovpnha.config.values import choice


class LogLevel(StrEnum):
    """The least important event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a log line looks like."""

    JSON = "json"
    CONSOLE = "console"


class LogConfig(Section):
    """Log lines, written to the standard error output."""

    level: Annotated[LogLevel, choice(LogLevel)] = Field(
        default=LogLevel.INFO,
        description="Least important event that is logged: `debug`, `info`, `warning` or `error`.",
        examples=["info"],
    )
    format: Annotated[LogFormat, choice(LogFormat)] = Field(
        default=LogFormat.CONSOLE,
        description="`console`, for the eye, or `json`, one object a line. In the journal each "
        "line has its priority (`journalctl -p warning`).",
        examples=["json"],
    )
