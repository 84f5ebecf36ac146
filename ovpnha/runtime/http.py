"""The HTTP endpoint: ``/metrics``, ``/health``, ``/status``; read only.

Decides what each path answers, and what a stranger may cost: connections are few and each has its
time, and an answer is given again for a while instead of being made anew, so that one who floods
the port takes neither descriptors nor the event loop from the clients. It serves by an ASGI server,
in calls short enough not to delay a promotion; when it cannot serve, the daemon goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from uvicorn.protocols.http.h11_impl import H11Protocol

from ovpnha.config import HttpConfig
from ovpnha.node.statistics import NodeStatistics
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.crowd import Crowd
from ovpnha.runtime.listening import BACKLOG, listen_on
from ovpnha.runtime.metrics import NodeCollector, Scrape
from ovpnha.runtime.problems import find_unhealthy, to_plain_status

CONNECTIONS_LIMIT = 32
REQUEST_WITHIN = 10.0
"""Seconds for one request and its answer; a connection that takes longer is cut off."""
KEEP_ALIVE = 5
HEADERS_LIMIT = 8 * 1024
REUSE = 10.0
"""For how many times as long as it took to make an answer is given again: making answers takes a
tenth of the event loop at most."""
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, str, bytes]

log = structlog.get_logger()


class Reused:
    """An answer that is made at most once at a time, and not again while it is fresh."""

    def __init__(self, make: Callable[[], Awaitable[Answer]], clock: Callable[[], float]) -> None:
        self._make = make
        self._clock = clock
        self._lock = asyncio.Lock()
        self._answer: Answer = (0, "", b"")
        self._fresh_until = float("-inf")

    async def get(self) -> Answer:
        """The answer as it is now, or was a moment ago."""
        async with self._lock:
            start = self._clock()
            if start >= self._fresh_until:
                self._answer = await self._make()
                end = self._clock()
                self._fresh_until = end + REUSE * (end - start)
            return self._answer


class StatusApplication:
    """The ASGI application."""

    def __init__(
        self,
        statistics: Callable[[], NodeStatistics],
        scrape: Callable[[], Scrape],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics
        self._scrape = scrape
        self._paths = {
            "/metrics": Reused(self._metrics, clock),
            "/health": Reused(self._health, clock),
            "/status": Reused(self._status, clock),
        }

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        """For the ASGI server."""
        if scope["type"] != "http":
            return
        status, content_type, body = await self._answer(scope["method"], scope["path"])
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})

    async def _answer(self, method: str, path: str) -> Answer:
        if path not in self._paths:
            return 404, TEXT_TYPE, b"not here: try /metrics, /health or /status\n"
        if method not in {"GET", "HEAD"}:
            return 405, TEXT_TYPE, b"only GET and HEAD\n"
        return await self._paths[path].get()

    async def _metrics(self) -> Answer:
        """Long texts are made in a thread; what is in them was read at one moment before."""
        scrape = self._scrape()
        body = await asyncio.to_thread(_render, scrape) if scrape.clients else _render(scrape)
        return 200, CONTENT_TYPE_LATEST, body

    async def _health(self) -> Answer:
        problems = find_unhealthy(self._statistics())
        told = {"healthy": not problems, "problems": to_plain(problems)}
        body = json.dumps(told).encode() + b"\n"
        return 503 if problems else 200, JSON_TYPE, body

    async def _status(self) -> Answer:
        return 200, JSON_TYPE, json.dumps(to_plain_status(self._statistics())).encode() + b"\n"


def _render(scrape: Scrape) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(lambda: scrape))
    return generate_latest(registry)


class _Visitor(H11Protocol):
    """One connection: one of a bounded crowd, with its time for each request."""

    def __init__(self, crowd: Crowd[_Visitor], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._crowd = crowd
        self._cut: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether it is being answered, and takes the answer."""
        answered = getattr(self.cycle, "response_complete", True)  # no cycle, no request yet
        return not answered and not self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._restart()
        self._crowd.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._crowd.leave(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._restart()
        self._crowd.asked(self)
        super().on_response_complete()

    def cut_off(self) -> None:
        """End the connection at once, whatever was not read of the answer."""
        self.transport.abort()

    def _restart(self) -> None:
        self._stop()
        self._cut = self.loop.call_later(REQUEST_WITHIN, self.cut_off)

    def _stop(self) -> None:
        if self._cut is not None:
            self._cut.cancel()


class _EmbeddedServer(uvicorn.Server):
    """Leaves the signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(config: HttpConfig, application: StatusApplication) -> None:
    """Serve until cancelled; returns at once when switched off, or after telling why it cannot."""
    if not config.listen:
        return
    try:
        listening = listen_on(config.listen)
    except OSError as error:
        log.warning("http endpoint off", listen=config.listen, reason=str(error))
        return
    try:
        await _server(application).serve(sockets=[listening])
    finally:
        listening.close()


def _server(application: StatusApplication) -> uvicorn.Server:
    crowd: Crowd[_Visitor] = Crowd(CONNECTIONS_LIMIT, lambda one: one.busy, _Visitor.cut_off)

    def visit(**arguments: Any) -> _Visitor:
        return _Visitor(crowd, **arguments)

    return _EmbeddedServer(
        uvicorn.Config(
            application,
            http=visit,  # type: ignore[arg-type]  # called, and never asked for its type
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEADERS_LIMIT,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
    )
