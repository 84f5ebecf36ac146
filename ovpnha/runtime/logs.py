"""Log lines: constant short phrases with keys, one line each, on the standard error output.

Decides the shape of a line. Every line carries ``monotonic``, seconds on the clock that all
processes of this host share, so that a takeover can be followed across daemons. Must never be
given key material or bytes of the network.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from ovpnha.config import LogConfig, LogFormat


def configure_logs(config: LogConfig, stream: TextIO | None = None) -> None:
    """Set structlog up for the whole process."""
    output = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_monotonic,
            *_renderers(config.format, output),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )


def _add_monotonic(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("monotonic", time.monotonic())
    return event


def _renderers(form: LogFormat, output: TextIO) -> list[structlog.typing.Processor]:
    if form is LogFormat.CONSOLE:
        return [structlog.dev.ConsoleRenderer(colors=output.isatty())]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
