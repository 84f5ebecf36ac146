"""What each kind of check finds, against real sockets and programs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ovpnha.checks.judge import CheckOutcome
from ovpnha.config import CheckSection
from ovpnha.runtime.bounded import plain_environment
from ovpnha.runtime.checksum import checksum
from ovpnha.runtime.clientprobe import (
    Pushed,
    echo_request,
    is_answer,
    probe_client,
    read_pushed,
)
from ovpnha.runtime.probes import run_probe
from tests.unit.runtime.shortage import no_descriptors

GOOD, BAD, LATER = CheckOutcome.GOOD, CheckOutcome.BAD, CheckOutcome.LATER


async def look(**keys: Any) -> tuple[CheckOutcome, str]:
    section = CheckSection.model_validate({"name": "one", "timeout": 5.0, **keys})
    return await run_probe(section, plain_environment(OVPNHA_CHECK="one"))


def sh(text: str) -> dict[str, Any]:
    return {"kind": "command", "command": ["/bin/sh", "-c", text]}


async def test_a_command_says_how_it_is() -> None:
    assert await look(**sh('echo "$OVPNHA_CHECK is fine"')) == (GOOD, "one is fine")
    assert await look(**sh("echo gone; exit 2")) == (BAD, "gone")
    assert await look(**sh("exit 2")) == (BAD, "exit code 2")
    assert await look(**sh("exit 75")) == (LATER, "not yet known")
    assert await look(**sh("echo looking; exit 75")) == (LATER, "looking")
    assert await look(**sh("kill -9 $$")) == (BAD, "exit code -9")
    assert await look(**sh("sleep 60"), timeout=0.3) == (BAD, "no result within 0.3 s")
    outcome, text = await look(kind="command", command=["/nowhere"])
    assert (outcome, text) == (BAD, "/nowhere: No such file or directory")


def own_name() -> str:
    return Path(f"/proc/{os.getpid()}/comm").read_text().strip()


def make_zombie() -> int:
    """A process that has ended and was not waited for."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def bury(pid: int) -> None:
    os.waitpid(pid, 0)


async def test_a_process_is_found_by_its_name_or_its_file(tmp_path: Path) -> None:
    assert (await look(kind="process", target=own_name()))[0] is GOOD
    assert await look(kind="process", target="nobody-has-this") == (
        BAD,
        "no process nobody-has-this runs",
    )
    file = tmp_path / "pid"
    assert await look(kind="process", target=str(file)) == (
        BAD,
        f"{file}: No such file or directory",
    )
    file.write_text("no number")
    assert await look(kind="process", target=str(file)) == (BAD, f"{file}: has no process id")
    file.write_text(f"{os.getpid()}\n")
    assert await look(kind="process", target=str(file)) == (GOOD, f"process {os.getpid()}")


async def test_one_that_has_ended_and_was_not_buried_does_not_run(tmp_path: Path) -> None:
    pid = make_zombie()
    try:
        (tmp_path / "pid").write_text(str(pid))
        outcome, text = await look(kind="process", target=str(tmp_path / "pid"))
        assert (outcome, text.endswith("does not run")) == (BAD, True)
    finally:
        bury(pid)


@contextlib.asynccontextmanager
async def serving(answer: bytes, *, silent: bool = False) -> AsyncIterator[int]:
    """A server that answers any request with this."""
    end = asyncio.Event()
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        if silent:
            await end.wait()
        else:
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()
        if len(answer) > 1000:
            writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        end.set()
        server.close()
        await asyncio.gather(*(task for task in tasks if task is not None))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_tcp_takes_connections_or_not() -> None:
    async with serving(b"") as port:
        target = f"127.0.0.1:{port}"
        assert await look(kind="tcp", target=target) == (GOOD, f"{target} takes connections")
    outcome, text = await look(kind="tcp", target=f"127.0.0.1:{free_port()}")
    assert outcome is BAD
    assert text.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "outcome", "end"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nfine", GOOD, "status 200"),
        (b"HTTP/1.0 302 Found\r\n\r\n", GOOD, "status 302"),
        (b"HTTP/1.1 503 No\r\n\r\n", BAD, "status 503"),
        (b"HTTP/1.1 199 No\r\n\r\n", BAD, "status 199"),
        (b"", BAD, "no HTTP answer"),
        (b"SSH-2.0-x\r\n", BAD, "no HTTP answer"),
        (b"HTTP/1.1\r\n", BAD, "no HTTP answer"),
        (b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n", BAD, "no HTTP answer"),
        (b"x" * 200_000, BAD, ""),
    ],
)
async def test_http_answers_with_a_good_status_or_not(
    answer: bytes, outcome: CheckOutcome, end: str
) -> None:
    async with serving(answer) as port:
        found, text = await look(kind="http", target=f"http://127.0.0.1:{port}/health?a=b")
    assert (found, text.endswith(end)) == (outcome, True)


async def test_http_that_never_answers_is_bounded() -> None:
    async with serving(b"", silent=True) as port:
        found = await look(kind="http", target=f"http://127.0.0.1:{port}", timeout=0.3)
    assert found == (BAD, "no result within 0.3 s")


async def test_https_with_no_tls_behind_it() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        outcome, _ = await look(kind="http", target=f"https://127.0.0.1:{port}/", timeout=2.0)
    assert outcome is BAD


@pytest.mark.parametrize(
    ("code", "outcome", "text"),
    [(0, GOOD, "192.0.2.1 answers"), (1, BAD, "192.0.2.1 does not answer")],
)
async def test_ping_by_the_program_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome: CheckOutcome, text: str
) -> None:
    (tmp_path / "ping").write_text(f"#!/bin/sh\necho $*\nexit {code}\n")
    (tmp_path / "ping").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert await look(kind="ping", target="192.0.2.1") == (outcome, text)


# The client: what needs no tunnel (the rest: tests/integration/test_checks.py).

SAYS: dict[str, tuple[str, CheckOutcome, str]] = {
    "completes": ("echo Initialization Sequence Completed; sleep 60", GOOD, "connected"),
    "is refused": ("echo AUTH: Received control message: AUTH_FAILED", BAD, "AUTH_FAILED"),
    "ends": ("exit 1", BAD, "see its configuration"),
}


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., CheckSection]:
    def make(text: str, **keys: Any) -> CheckSection:
        program = tmp_path / "openvpn"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        given = {"name": "c", "kind": "client", "client_config": "/etc/c.conf", "timeout": 5.0}
        return CheckSection.model_validate({**given, "client_program": str(program), **keys})

    return make


@pytest.mark.parametrize("case", SAYS)
async def test_a_client_connects_or_says_why_not(
    client: Callable[..., CheckSection], case: str
) -> None:
    text, outcome, end = SAYS[case]
    found, said = await probe_client(client(text, target=""), plain_environment())
    assert (found, said.endswith(end)) == (outcome, True)


async def test_a_client_without_an_address_to_ask(client: Callable[..., CheckSection]) -> None:
    one = client("echo Initialization Sequence Completed; sleep 60")
    outcome, text = await probe_client(one, plain_environment())
    assert (outcome, "name one" in text) == (BAD, True)
    missing = one.model_copy(update={"client_program": "/nowhere"})
    assert (await probe_client(missing, {}))[1] == "/nowhere: No such file or directory"


async def test_a_client_whose_device_is_not_there(client: Callable[..., CheckSection]) -> None:
    told = "PUSH_REPLY,ifconfig 10.8.0.2 255.255.255.0,route-gateway 10.8.0.1"
    push = f"PUSH: Received control message: '{told}'"
    one = client(f'echo "{push}"; echo Initialization Sequence Completed; sleep 60')
    outcome, text = await probe_client(one, plain_environment())
    assert outcome is BAD
    assert text.startswith("connected, but ovpnha-check cannot be used")


async def test_clients_at_once_and_what_is_taken_have_devices_of_their_own(
    client: Callable[..., CheckSection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was left behind by a sidecar that was killed ends by itself."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "ovpnha-check")])
    one = client(
        f'echo "$*" >>{tmp_path}/said; while [ $(wc -l <{tmp_path}/said) -lt 2 ]; do :; done'
    )
    await asyncio.gather(*(probe_client(one, plain_environment()) for _ in range(2)))
    said = [line.split() for line in (tmp_path / "said").read_text().splitlines()]
    devices = {words[words.index("--dev") + 1] for words in said}
    assert devices == {"ovpnha-check2", "ovpnha-check3"}
    assert all("--inactive 15" in " ".join(words) for words in said)


@pytest.mark.parametrize("option", ["daemon", "log-append /tmp/log"])
async def test_a_client_that_its_check_would_not_hear_is_not_started(
    client: Callable[..., CheckSection], tmp_path: Path, option: str
) -> None:
    config = tmp_path / "check.conf"
    config.write_text(f"client\n# daemon\n\n{option}\n")
    one = client(f"touch {tmp_path}/started", client_config=str(config))
    outcome, text = await probe_client(one, plain_environment())
    assert (outcome, text.startswith(f"{config}: {option.split()[0]}: ")) == (BAD, True)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("pushed", ["ifconfig x y", "ifconfig 10.8.0.2 x,route-gateway dhcp"])
async def test_a_client_that_is_pushed_what_is_no_address(
    client: Callable[..., CheckSection], pushed: str
) -> None:
    push = f"PUSH: Received control message: 'PUSH_REPLY,{pushed}'"
    one = client(f'echo "{push}"; echo Initialization Sequence Completed; sleep 60')
    outcome, text = await probe_client(one, plain_environment())
    assert (outcome, text.startswith("connected, but no IPv4 address")) == (BAD, True)


async def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    found = await asyncio.to_thread(lambda: asyncio.run(look(kind="process", target=str(pipe))))
    assert found == (BAD, f"{pipe}: has no process id")


@pytest.mark.parametrize(
    ("options", "pushed"),
    [
        (
            "route 10.1.0.0,route-gateway 10.8.0.1,ifconfig 10.8.0.2 255.255.255.0",
            Pushed("10.8.0.2", "10.8.0.1"),
        ),
        ("ifconfig 10.8.0.6 10.8.0.5", Pushed("10.8.0.6", "10.8.0.5")),
        (
            "route 10.8.0.1,topology net30,ifconfig 10.8.0.6 10.8.0.5",
            Pushed("10.8.0.6", "10.8.0.1"),
        ),
        (
            "route 10.8.0.0 255.255.255.0,topology net30,ifconfig 10.8.0.6 10.8.0.5",
            Pushed("10.8.0.6", ""),
        ),
        ("ifconfig 10.8.0.2 255.255.255.0", Pushed("10.8.0.2", "")),
        ("ifconfig-ipv6 fd00::2/64 fd00::1", Pushed("", "")),
        ("ifconfig 10.8.0.2", Pushed("10.8.0.2", "")),
    ],
)
def test_what_the_server_pushes(options: str, pushed: Pushed) -> None:
    assert read_pushed(options) == pushed


def test_the_request_and_its_answer() -> None:
    packet = echo_request("10.8.0.2", "10.8.0.1", b"mk", 7)
    assert checksum(packet[:20]) == 0
    assert checksum(packet[20:]) == 0
    assert packet[12:20] == bytes([10, 8, 0, 2, 10, 8, 0, 1])
    answer = packet[:12] + packet[16:20] + packet[12:16] + b"\0" + packet[21:]
    assert is_answer(answer, "10.8.0.1", b"mk")
    assert not is_answer(answer, "10.8.0.9", b"mk")
    assert not is_answer(answer, "10.8.0.1", b"xx")
    assert not is_answer(packet, "10.8.0.2", b"mk")
    assert not is_answer(b"", "10.8.0.1", b"mk")
    assert not is_answer(bytes(40), "10.8.0.1", b"mk")


def test_the_unit_lets_checks_look_at_what_they_look_at() -> None:
    unit = Path(__file__).parents[3] / "deploy" / "systemd" / "ovpnha.service"
    settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    assert "AF_PACKET" in settings["RestrictAddressFamilies"].split()  # kind client
    assert "CAP_NET_RAW" in settings["AmbientCapabilities"].split()  # kinds client and ping
    assert settings.get("ProtectProc", "default") == "default"  # kind process


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "tcp", "target": "127.0.0.1:9"},
        {"kind": "http", "target": "http://127.0.0.1:9/"},
        {"kind": "process", "target": "/proc/self/stat"},
        {"kind": "process", "target": "nobody"},
        {"kind": "command", "command": ["/bin/true"]},
        {"kind": "ping", "target": "127.0.0.1"},
        {"kind": "client", "client_config": "/nowhere"},
    ],
    ids=lambda keys: f"{keys['kind']}-{keys.get('target', '')[:5]}",
)
async def test_nobody_is_blamed_for_our_want_of_descriptors(keys: dict[str, Any]) -> None:
    """An error that is raised is *not yet known* to who runs the check."""
    number: int | None = errno.EMFILE
    with no_descriptors():
        try:
            outcome, _ = await look(**keys)
        except OSError as error:
            outcome, number = LATER, error.errno
    assert (outcome, number) == (LATER, errno.EMFILE)
