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
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ovpnha.errors import OvpnhaError
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.crowd import Crowd
from ovpnha.runtime.restartrequest import RestartRequest
from ovpnha.runtime.unixlisteners import is_surely_listened_at

REQUEST_LIMIT = 4096
ANSWER_LIMIT = 16 * 1024 * 1024
IDLE_TIMEOUT = 10.0
CONNECTIONS_LIMIT = 16


class ControlError(OvpnhaError):
    """A command could not be given, or the daemon refused it."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class StatusRequest(_Request):
    """Ask for the statistics."""

    command: Literal["status"] = "status"


class PromoteRequest(_Request):
    """Promote now; fall back to held when the VIP does not come within ``expect_vip`` seconds."""

    command: Literal["promote"] = "promote"
    instance: str | None = None  # None: the only one
    expect_vip: float = Field(default=2.0, ge=0.0, le=60.0)
    unfenced: bool = False  # a person says that no fence is needed


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


class GuardRequest(_Request):
    """Ask whether this node may be given the VIP, or (``leave``) whether another would be better.

    With ``to`` the other one is that node, and better when it is in sync.
    """

    command: Literal["guard"] = "guard"
    instance: str | None = None
    leave: bool = False
    to: str | None = None


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


class EventsRequest(_Request):
    """Ask for the events that are remembered, or follow them from now on."""

    command: Literal["events"] = "events"
    since: float | None = None  # seconds since 1970; None: all that are remembered, or none before
    follow: bool = False


class HistoryRequest(_Request):
    """Ask for the newest changes of roles, of all nodes or only of this one."""

    command: Literal["history"] = "history"
    instance: str | None = None
    here: bool = False
    since: float = 0.0  # seconds since 1970
    last: int = Field(default=50, ge=1, le=10_000)


class SwitchoverRequest(_Request):
    """Move the role to a node of choice, from any node; returns when it has begun, or is refused.

    ``dry_run`` only says what would be done and what stands against it.
    """

    command: Literal["switchover"] = "switchover"
    instance: str | None = None
    to: str | None = Field(default=None, min_length=1, max_length=64)  # None: the best one
    within: float = Field(default=10.0, ge=0.1, le=60.0)  # seconds that the VIP may take
    dry_run: bool = False


class SwitchoverWaitRequest(_Request):
    """Wait until a switchover that was asked for here is in another phase; a second at most."""

    command: Literal["switchover-wait"] = "switchover-wait"
    instance: str | None = None
    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    phase: str = Field(max_length=32)  # in which it was


class PauseRequest(_Request):
    """Watch and replicate, and do not act, for so many seconds; again: that long from now on."""

    command: Literal["pause"] = "pause"
    instance: str | None = None  # None: all
    seconds: float = Field(default=3600.0, gt=0.0, le=86400.0)


class ResyncRequest(_Request):
    """As a standby, throw the copy away and fetch it anew."""

    command: Literal["resync"] = "resync"
    instance: str | None = None


class ResumeRequest(_Request):
    """Act again."""

    command: Literal["resume"] = "resume"
    instance: str | None = None  # None: all


class ChecksRequest(_Request):
    """Ask for the checks of this node and of the others."""

    command: Literal["checks"] = "checks"


class ResetRequest(_Request):
    """A check that has failed, or all, are mended."""

    command: Literal["reset"] = "reset"
    check: str | None = Field(default=None, max_length=64)


Request = Annotated[
    StatusRequest
    | PromoteRequest
    | DemoteRequest
    | HandOverRequest
    | GuardRequest
    | RenegotiateRequest
    | ClientsRequest
    | HistoryRequest
    | PauseRequest
    | ResumeRequest
    | ResyncRequest
    | SwitchoverRequest
    | SwitchoverWaitRequest
    | EventsRequest
    | ChecksRequest
    | ResetRequest
    | RestartRequest,
    Field(discriminator="command"),
]
Answer = TypeVar("Answer")
Handler = Callable[[Request], Awaitable[object]]

_REQUESTS: TypeAdapter[Request] = TypeAdapter(Request, config=ConfigDict(defer_build=True))


class Streams(Protocol):
    """Who serves a connection that only listens from its first request on."""

    async def serve(
        self, since: float | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the reader is gone, or nothing can come any more."""

    async def end(self) -> None:
        """End all of them, soon."""


class ControlServer:
    """Serves the socket.

    ``handler`` answers with a record, or raises an OvpnhaError whose text is the answer.
    """

    def __init__(self, path: Path, handler: Handler, streams: Streams | None = None) -> None:
        self._path = path
        self._streams = streams
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
        _REQUESTS.rebuild()  # now, and not when the first one comes: a failover may wait for it

    async def run(self) -> None:
        """Serve until cancelled; removes the socket then."""
        if self._socket is None:
            self.bind()
        one = self._socket
        server = await asyncio.start_unix_server(self._serve, sock=one, limit=REQUEST_LIMIT)
        try:
            async with server:
                try:
                    await server.serve_forever()
                finally:
                    if self._streams is not None:
                        await self._streams.end()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; a client's misbehaviour ends it and nothing else."""
        self._idle.add(writer)
        self._crowd.enter(writer)
        try:
            await self._converse(reader, writer)
        except TimeoutError:
            _cut_off(writer)  # what was not read by then would be kept as long as its reader is
        except (OSError, ValueError):
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
            request = _read_request(line)
            if isinstance(request, EventsRequest) and request.follow and self._streams is not None:
                await self._streams.serve(request.since, reader, writer)
                return
            answer = await self._answer(request)
            self._idle.add(writer)
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(IDLE_TIMEOUT):
                await writer.drain()

    async def _answer(self, request: Request | str) -> dict[str, Any]:
        if isinstance(request, str):
            return {"ok": False, "error": request}
        async with self._turn:
            await asyncio.sleep(0)
        try:
            return {"ok": True, **to_plain(await self._handler(request))}
        except OvpnhaError as error:
            return {"ok": False, "error": str(error)}


def _read_request(line: bytes) -> Request | str:
    """What somebody wants, or what is wrong with that."""
    try:
        return _REQUESTS.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        return f"{where}: {first['msg']}"


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
    """Whether a daemon serves this control socket, or hangs, or has lost its path to another."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # no more may wait for it
            return True
        except OSError:
            return is_surely_listened_at(path)
    return True


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
    with converse(path, request, timeout) as (answer, _file):
        return answer


@contextlib.contextmanager
def converse(
    path: Path, request: Request, timeout: float
) -> Iterator[tuple[dict[str, Any], BinaryIO]]:
    """Give a command to the daemon at ``path``: its answer, and what it says after that.

    Nothing is waited for longer than ``timeout`` seconds until the answer is there, and for ever
    after it.

    Raises:
        ControlError: As ``ask_plain``, also for what goes wrong while the rest is read.
    """
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(timeout)
            one.connect(str(path))
            one.sendall(request.model_dump_json().encode() + b"\n")
            with one.makefile("rb") as file:
                answer = json.loads(file.readline(ANSWER_LIMIT))
                if not answer.get("ok"):
                    raise ControlError(str(answer.get("error", "refused without a reason")))
                one.settimeout(None)
                yield dict(answer), file
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(f"{path}: ovpnha does not run here; start it first") from None
    except PermissionError:
        raise ControlError(f"{path}: no permission; be root or in the socket's group") from None
    except TimeoutError:
        raise ControlError(f"{path}: no answer within {timeout:g} s; see the log") from None
    except (OSError, ValueError):
        raise ControlError(f"{path}: the daemon hung up; see its log") from None
