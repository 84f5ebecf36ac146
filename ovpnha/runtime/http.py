"""The HTTP endpoint: ``/metrics``, ``/health``, ``/status``; read only.

Decides what each path answers. It serves from the event loop by an ASGI server, in calls short
enough not to delay a promotion; when it cannot serve, the daemon goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ovpnha.config import HttpConfig
from ovpnha.coordinator.outputs import NodeStatistics
from ovpnha.runtime.listening import listen_on
from ovpnha.runtime.metrics import NodeCollector, Scrape
from ovpnha.runtime.status import find_problems, to_plain

CONCURRENCY_LIMIT = 32
KEEP_ALIVE = 5
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, str, bytes]

log = structlog.get_logger()


class StatusApplication:
    """The ASGI application."""

    def __init__(
        self, statistics: Callable[[], NodeStatistics], scrape: Callable[[], Scrape]
    ) -> None:
        self._statistics = statistics
        self._scrape = scrape
        self._paths: dict[str, Callable[[], Awaitable[Answer]]] = {
            "/metrics": self._metrics,
            "/health": self._health,
            "/status": self._status,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
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
        return await self._paths[path]()

    async def _metrics(self) -> Answer:
        """Long texts are made in a thread; what is in them was read at one moment before."""
        scrape = self._scrape()
        body = await asyncio.to_thread(_render, scrape) if scrape.clients else _render(scrape)
        return 200, CONTENT_TYPE_LATEST, body

    async def _health(self) -> Answer:
        problems = find_problems(self._statistics())
        body = json.dumps({"healthy": not problems, "problems": problems}).encode() + b"\n"
        return 503 if problems else 200, JSON_TYPE, body

    async def _status(self) -> Answer:
        return 200, JSON_TYPE, json.dumps(to_plain(self._statistics())).encode() + b"\n"


def _render(scrape: Scrape) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(lambda: scrape))
    return generate_latest(registry)


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
    server = _EmbeddedServer(
        uvicorn.Config(
            application,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            limit_concurrency=CONCURRENCY_LIMIT,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
    )
    try:
        await server.serve(sockets=[listening])
    finally:
        listening.close()
