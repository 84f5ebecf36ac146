"""The check of the kind ``client``: a stock OpenVPN client, and one packet through its tunnel.

::

    openvpn --config CLIENT_CONFIG --dev ovpnha-check …   (its own process, no address, no routes)
        │  handshake with the VIP, as any client              ── says: PUSH_REPLY, then "Completed"
        ▼
    tunnel device, without an address ◄── AF_PACKET ── ICMP echo request from the client's address
        │                                              to the one that must answer
        ▼
    server ─► tun ─► kernel ─► answer ─► server ─► device ─► AF_PACKET: it serves

The device has no address, so the host it runs on takes no packet for its own, and its routes stay
as they are: that the same host is the server makes no difference. The answer comes from an address
of this host, so its own kernel takes it for forged and drops it after it was seen here. The device
goes with the process, whatever ends it. Without an address to ask (``target = ""``) there is no
device at all: the handshake is enough. Two such checks may run at once, and a sidecar that was
killed leaves its client behind for a while: a name that is taken is passed over.

Decides what counts as served. IPv4 only: a tunnel of IPv6 alone says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import re
import signal
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ovpnha.checks.judge import CheckOutcome
from ovpnha.config import CheckSection
from ovpnha.runtime.aside import aside
from ovpnha.runtime.bounded import SHORT, Program, start_program
from ovpnha.runtime.checksum import checksum

DEVICE = "ovpnha-check"
DEVICES = (DEVICE, *(f"{DEVICE}{number}" for number in range(2, 100)))
ALONE = 10
"""Seconds without a packet in its tunnel after which a client that nobody ends, ends by itself."""
HIDDEN = frozenset({"daemon", "inetd", "log", "log-append", "syslog"})
"""Options with which a client says nothing here, or leaves the one who started it."""
CONFIG_LIMIT = 64 * 1024
LINE_LIMIT = 16 * 1024
PING_GAP = 0.3  # seconds between two requests: the first may be lost while the route is learnt
LEAVE = 0.5  # seconds for a client to say goodbye, so that the server forgets it
SPARE = 0.2  # seconds: what was found is told before the run is ended
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
IPV4 = 0x0800  # of what a packet socket sends and takes
COMPLETED = "Initialization Sequence Completed"
PUSHED = re.compile(r"PUSH_REPLY,([^']*)")
TROUBLE = re.compile(r"(AUTH_FAILED|VERIFY ERROR.*|TLS Error: .*|Options error: .*|Cannot .*)")

_NO_TUNNEL = ("--dev", "null")

Result = tuple[CheckOutcome, str]


@dataclass(frozen=True)
class Pushed:
    """What the server has told the client of its tunnel."""

    own: str  # "" when it has no IPv4 address
    server: str  # the server's own address in the tunnel; "" when it does not tell


def read_pushed(options: str) -> Pushed:
    """From a PUSH_REPLY. The server is where routes go, or what it says that it is."""
    own = server = host = ""
    net30 = False
    for words in (option.split() for option in options.split(",")):
        match words:
            case ["topology", "net30"]:
                net30 = True
            case ["route", address]:
                host = address
            case ["ifconfig", address, *rest]:
                own, server = address, server or _remote(rest)
            case ["route-gateway", address]:
                server = address
    # Nobody has the remote end of net30; the server's own address is a route to one host.
    return Pushed(own, host if net30 else server)


def _remote(rest: Sequence[str]) -> str:
    """The second address of ``ifconfig`` is a mask in a topology of subnets."""
    other = rest[0] if rest else ""
    return "" if other.startswith("255.") else other


async def probe_client(one: CheckSection, environment: Mapping[str, str]) -> Result:
    """Connect, ask through the tunnel, and leave."""
    assert one.client_config is not None  # noqa: S101 - the section sees to it
    until = asyncio.get_running_loop().time() + one.timeout - LEAVE - SPARE
    config = one.client_config
    if option := await aside(f"client\0{config}", partial(find_hidden, config)):
        return CheckOutcome.BAD, describe_hidden(config, option)
    if one.target == "":
        return await _run(one, environment, "", until)
    with _devices.take() as device:
        return await _run(one, environment, device, until)


def find_hidden(path: Path) -> str:
    """The option of such a configuration that hides the client from its check; "" for none."""
    with contextlib.suppress(OSError):
        lines = path.read_bytes()[:CONFIG_LIMIT].decode("utf-8", "replace").splitlines()
        words = (line.split(maxsplit=1) for line in lines)
        return next((word[0] for word in words if word and word[0] in HIDDEN), "")
    return ""  # the client says it better


def describe_hidden(path: Path, option: str) -> str:
    """What is wrong with it, and the fix."""
    return f"{path}: {option}: its check does not hear such a client; remove that line"


async def _run(
    one: CheckSection, environment: Mapping[str, str], device: str, until: float
) -> Result:
    tunnel = ("--dev", device, "--dev-type", "tun", "--disable-dco") if device else _NO_TUNNEL
    command = (
        *(one.client_program, "--config", str(one.client_config), *tunnel),
        *("--ifconfig-noexec", "--route-noexec", "--nobind"),
        *("--verb", "3", "--suppress-timestamps", "--inactive", str(ALONE + int(one.timeout))),
        *("--connect-retry-max", "1", "--auth-nocache", "--explicit-exit-notify", "1"),
    )
    try:
        program = await start_program(command, environment, capture=True)
    except OSError as error:
        if error.errno in SHORT:
            raise
        return CheckOutcome.BAD, f"{command[0]}: {error.strerror or error}"
    log = _Log(program.output)
    try:
        return await _use(one, log, device, until) if device else await _connect(log)
    finally:
        await _leave(program, log)


async def _connect(log: _Log) -> Result:
    pushed = await log.completed()
    return log.failure() if pushed is None else (CheckOutcome.GOOD, "connected")


async def _use(one: CheckSection, log: _Log, device: str, until: float) -> Result:
    loop = asyncio.get_running_loop()
    pushed = await log.completed()
    if pushed is None:
        return log.failure()
    target = one.target or pushed.server
    if not (_is_ipv4(pushed.own) and _is_ipv4(target)):
        return (
            CheckOutcome.BAD,
            "connected, but no IPv4 address in the tunnel can be asked; name one",
        )
    try:
        with _Tunnel(device) as tunnel:
            await tunnel.ask(pushed.own, target, max(PING_GAP, until - loop.time()))
    except TimeoutError:
        return CheckOutcome.BAD, f"connected, but {target} does not answer through the tunnel"
    except OSError as error:
        if error.errno in SHORT:
            raise
        return (
            CheckOutcome.BAD,
            f"connected, but {device} cannot be used: {error.strerror or error}",
        )
    return CheckOutcome.GOOD, f"connected, {target} answers through the tunnel"


def _is_ipv4(text: str) -> bool:
    """A server may push what is none: nothing, or ``route-gateway dhcp``."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


async def _leave(program: Program, log: _Log) -> None:
    """The server shall not keep a client that is gone until it misses it."""
    try:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            program.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(LEAVE):
                await log.drain()
    finally:
        await program.end()


class _Devices:
    """Names of tunnel devices that are in use here."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    @contextlib.contextmanager
    def take(self) -> Iterator[str]:
        """One that nobody has, on this host or here; the first one, when there is none."""
        taken = self._used | {name for _, name in socket.if_nameindex()}
        device = next((name for name in DEVICES if name not in taken), DEVICE)
        self._used.add(device)
        try:
            yield device
        finally:
            self._used.discard(device)


_devices = _Devices()


class _Log:
    """What the client says, line by line."""

    def __init__(self, stream: asyncio.StreamReader | None) -> None:
        self._stream = stream
        self._trouble = ""
        self._pushed: Pushed | None = None

    async def _line(self) -> str | None:
        assert self._stream is not None  # noqa: S101 - it is captured
        try:
            raw = await self._stream.readline()
        except ValueError:  # a line without end
            return ""
        return raw[:LINE_LIMIT].decode("utf-8", "replace") if raw else None

    async def completed(self) -> Pushed | None:
        """What it was pushed once it is connected; None when it has ended before."""
        while (line := await self._line()) is not None:
            if told := PUSHED.search(line):
                self._pushed = read_pushed(told[1])
            if trouble := TROUBLE.search(line):
                self._trouble = trouble[1].strip()
            if COMPLETED in line:
                return self._pushed or Pushed("", "")
        return None

    async def drain(self) -> None:
        """Read until it has ended: one that cannot write does not end."""
        while await self._line() is not None:
            pass

    def failure(self) -> Result:
        """Why it has ended."""
        return CheckOutcome.BAD, f"does not connect: {self._trouble or 'see its configuration'}"


class _Tunnel:
    """The client's device, as a place to send packets into."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)

    def __enter__(self) -> _Tunnel:
        try:
            _set_up(self._device)
            self._socket.bind((self._device, IPV4))
        except OSError:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def ask(self, own: str, target: str, within: float) -> None:
        """Send requests until one is answered; TimeoutError when none is."""
        loop = asyncio.get_running_loop()
        mark = os.urandom(2)
        async with asyncio.timeout(within):
            for sequence in range(1, 65536):
                packet = echo_request(own, target, mark, sequence)
                with contextlib.suppress(BlockingIOError):
                    self._socket.sendto(packet, (self._device, IPV4))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_GAP):
                        while not is_answer(await loop.sock_recv(self._socket, 2048), target, mark):
                            pass
                        return


def _set_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", device.encode(), 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", device.encode(), flags | IFF_UP))


def echo_request(source: str, target: str, mark: bytes, sequence: int) -> bytes:
    """An IPv4 packet with an ICMP echo request."""
    body = b"ovpnha check    "
    number = struct.pack("!H", sequence)
    summed = struct.pack("!H", checksum(b"\x08\x00\x00\x00" + mark + number + body))
    icmp = b"\x08\x00" + summed + mark + number + body
    ends = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(target).packed
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1)
    head = start + struct.pack("!H", checksum(start + b"\x00\x00" + ends)) + ends
    return head + icmp


def is_answer(packet: bytes, target: str, mark: bytes) -> bool:
    """Whether a packet is the answer of that address to a request with this mark."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != 1:
        return False
    icmp = packet[(packet[0] & 15) * 4 :]
    source = ipaddress.IPv4Address(packet[12:16])
    return source == ipaddress.IPv4Address(target) and icmp[:1] == b"\x00" and icmp[4:6] == mark
