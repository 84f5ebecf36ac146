"""The control socket: what ``ovpnha status``, ``promote``, ``demote`` and the like speak.

One JSON object a line: ``{"command": …}`` in, ``{"ok": true, …}`` or ``{"ok": false, "error": …}``
out. Decides who may (owner and group of the socket, mode 0660), what a request may say, and for
how long an answer is waited for. One request is answered in a turn of the event loop, so that no
number of them delays what serves the clients. What a request leads to is the core's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ovpnha.errors import OvpnhaError
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.crowd import Crowd

REQUEST_LIMIT = 4096
ANSWER_LIMIT = 16 * 1024 * 1024
IDLE_TIMEOUT = 10.0
CONNECTIONS_LIMIT = 16


class ControlError(OvpnhaError):
    """A command could not be given, or the daemon refused it."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StatusRequest(_Request):
    """Ask for the statistics."""

    command: Literal["status"] = "status"


class PromoteRequest(_Request):
    """Promote now; fall back to held when the VIP does not come within ``expect_vip`` seconds."""

    command: Literal["promote"] = "promote"
    instance: str | None = None  # None: the only one
    expect_vip: float = Field(default=2.0, ge=0.0, le=60.0)


class DemoteRequest(_Request):
    """Give up the role and all clients."""

    command: Literal["demote"] = "demote"
    instance: str | None = None


class HandOverRequest(_Request):
    """Give the role to another node, if one can take it: OpenVPN is about to be stopped.

    Concerns the instance of that name, else the one whose OpenVPN is the process ``pid``, else all.
    """

    command: Literal["hand-over"] = "hand-over"
    instance: str | None = None
    pid: int | None = Field(default=None, gt=0)
    within: float = Field(default=10.0, ge=0.0, le=60.0)


class RenegotiateRequest(_Request):
    """Renegotiate with one client, or with all at ``rate`` a second."""

    command: Literal["renegotiate"] = "renegotiate"
    instance: str | None = None
    uid: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")
    rate: float = Field(default=50.0, gt=0.0, le=1000.0)


class ClientsRequest(_Request):
    """Ask who is connected, on any node."""

    command: Literal["clients"] = "clients"
    instance: str | None = None


Request = Annotated[
    StatusRequest
    | PromoteRequest
    | DemoteRequest
    | HandOverRequest
    | RenegotiateRequest
    | ClientsRequest,
    Field(discriminator="command"),
]
Answer = TypeVar("Answer")
Handler = Callable[[Request], Awaitable[object]]

_REQUESTS: TypeAdapter[Request] = TypeAdapter(Request)


class ControlServer:
    """Serves the socket.

    ``handler`` answers with a record, or raises an OvpnhaError whose text is the answer.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._idle: set[asyncio.StreamWriter] = set()
        self._crowd: Crowd[asyncio.StreamWriter] = Crowd(
            CONNECTIONS_LIMIT, lambda one: one not in self._idle, _cut_off
        )
        self._turn = asyncio.Lock()
        self._socket: socket.socket | None = None

    def bind(self) -> None:
        """Take the path. ControlError when another daemon has it: nothing else may be touched."""
        self._socket = _bind(self._path)

    async def run(self) -> None:
        """Serve until cancelled; removes the socket then."""
        if self._socket is None:
            self.bind()
        server = await asyncio.start_unix_server(
            self._serve, sock=self._socket, limit=REQUEST_LIMIT
        )
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; a client's misbehaviour ends it and nothing else."""
        self._idle.add(writer)
        self._crowd.enter(writer)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, ValueError):
            return  # went away, was sent away, sends nothing, or a line without end
        finally:
            self._idle.discard(writer)
            self._crowd.leave(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_TIMEOUT):
                line = await reader.readline()
            if not line:
                return
            self._crowd.asked(writer)
            self._idle.discard(writer)
            answer = await self._answer(line)
            self._idle.add(writer)
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(IDLE_TIMEOUT):
                await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = _REQUESTS.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "request"
            return {"ok": False, "error": f"{where}: {first['msg']}"}
        async with self._turn:
            await asyncio.sleep(0)
        try:
            return {"ok": True, **to_plain(await self._handler(request))}
        except OvpnhaError as error:
            return {"ok": False, "error": str(error)}


def _cut_off(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, whatever was not read of the answer."""
    writer.transport.abort()


def _bind(path: Path) -> socket.socket:
    """A listening socket, mode 0660; takes the path of a dead daemon over, not of a live one."""
    if is_alive(path):
        raise ControlError(f"{path}: another ovpnha is running; stop it first")
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o117)
    try:
        path.unlink(missing_ok=True)
        one.bind(str(path))
    except OSError as error:
        one.close()
        raise ControlError(f"{path}: cannot make the control socket: {error.strerror}") from None
    finally:
        os.umask(before)
    return one


def is_alive(path: Path) -> bool:
    """Whether a daemon serves this control socket."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.settimeout(1.0)
        probe.connect(str(path))
        return True
    return False


def ask(path: Path, request: Request, answer: type[Answer], timeout: float) -> Answer:
    """Give one command to the daemon at ``path`` and return its answer, which is such a record.

    Raises:
        ControlError: As ``ask_plain``, or the daemon is of a version that answers otherwise.
    """
    plain = ask_plain(path, request, timeout)
    try:
        return from_plain(answer, plain)
    except ValueError as error:
        raise ControlError(
            f"{path}: the answer is not understood ({error}): the daemon is of another version of"
            " ovpnha; restart it with the one that is installed"
        ) from None


def ask_plain(path: Path, request: Request, timeout: float) -> dict[str, Any]:
    """Give one command to the daemon at ``path``; its answer, as any program sees it.

    Raises:
        ControlError: The daemon does not run, does not answer in ``timeout`` seconds, or refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(timeout)
            one.connect(str(path))
            one.sendall(request.model_dump_json().encode() + b"\n")
            with one.makefile("rb") as file:
                answer = json.loads(file.readline(ANSWER_LIMIT))
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(f"{path}: ovpnha does not run here; start it first") from None
    except PermissionError:
        raise ControlError(f"{path}: no permission; be root or in the socket's group") from None
    except TimeoutError:
        raise ControlError(f"{path}: no answer within {timeout:g} s; see the log") from None
    except (OSError, ValueError):
        raise ControlError(f"{path}: the daemon hung up; see its log") from None
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "refused without a reason")))
    return dict(answer)
