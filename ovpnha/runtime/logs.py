"""Log lines: constant short phrases with keys, one line each, on the standard error output.

Decides the shape of a line, its priority in the journal, and how many may be written: a phrase that
comes again and again is left out for a while, and how often is told with the next one. Every line
carries ``monotonic``, seconds on the clock that all processes of this host share, so that a
takeover can be followed across daemons. Must never be given key material or bytes of the network.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ovpnha.config import LogConfig, LogFormat
from ovpnha.runtime.journal import is_journal

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""As syslog and the journal number them."""
BURST = 100
PERIOD = 10.0
"""A phrase may be written so often within so many seconds."""


def configure_logs(
    config: LogConfig,
    stream: TextIO | None = None,
    tap: Processor | None = None,
    spared: frozenset[str] = frozenset(),
) -> None:
    """Set structlog up for the whole process, and let what libraries log come the same way.

    ``tap`` is given each line from ``info`` on, whatever level is written. Of the phrases that are
    ``spared`` no line is left out, however often they come.
    """
    output = sys.stderr if stream is None else stream
    journal = is_journal(output)
    level = logging.getLevelNamesMapping()[config.level.upper()]
    taps: list[Processor] = [] if tap is None else [tap, _Threshold(level)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            Restraint(time.monotonic, spared),
            *taps,
            *([] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
            _add_monotonic,
            *_renderers(config.format, output, journal=journal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            level if tap is None else min(level, logging.INFO)
        ),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Libraries(logging.WARNING)], force=True)


@dataclass
class _Phrase:
    since: float
    count: int = 0
    left_out: int = 0


class Restraint:
    """Leaves out what one phrase says more than ``BURST`` times in ``PERIOD`` seconds."""

    def __init__(self, clock: Callable[[], float], spared: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._spared = spared
        self._phrases: dict[str, _Phrase] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A structlog processor; the first line of the next period has ``left_out``."""
        if event["event"] in self._spared:
            return event
        now = self._clock()
        phrase = self._phrases.setdefault(str(event["event"]), _Phrase(now))
        if now - phrase.since >= PERIOD:
            if phrase.left_out:
                event["left_out"] = phrase.left_out
            phrase.since, phrase.count, phrase.left_out = now, 0, 0
        phrase.count += 1
        if phrase.count > BURST:
            phrase.left_out += 1
            raise structlog.DropEvent
        return event


class _Threshold:
    """Leaves out what is less important than this level."""

    def __init__(self, level: int) -> None:
        self._level = level

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if logging.getLevelNamesMapping()[str(event["level"]).upper()] < self._level:
            raise structlog.DropEvent
        return event


class _Libraries(logging.Handler):
    """What asyncio, the HTTP server and others would print themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        text = record.getMessage().partition("\n")[0]
        say("a library says", library=record.name, text=text)


def _add_monotonic(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("monotonic", time.monotonic())
    return event


def _renderers(form: LogFormat, output: TextIO, *, journal: bool) -> list[Processor]:
    if form is LogFormat.CONSOLE:
        console = structlog.dev.ConsoleRenderer(
            colors=output.isatty(),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # the usual one shows variables
        )
        return [_prioritised(console) if journal else console]
    rendered = structlog.processors.JSONRenderer(default=str)
    return [
        structlog.processors.format_exc_info,
        _prioritised(rendered) if journal else rendered,
    ]


def _prioritised(render: Processor) -> Processor:
    """The same lines, each with its priority before it."""

    def prioritise(logger: WrappedLogger, method: str, event: EventDict) -> str:
        prefix = f"<{PRIORITIES[event['level']]}>"
        lines = str(render(logger, method, event)).splitlines()
        return "\n".join(prefix + line for line in lines)

    return prioritise
