"""How conntrackd is talked to: one number over its unix socket, and text until it closes.

Decides what its text means. The numbers are those of ``conntrackd.h``, which `conntrackd -f`, `-R`,
`-B`, `-n` and `-s` send: the program itself would want more rights than the sidecar has.
"""

from __future__ import annotations

import asyncio
import errno
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from ovpnha.node.tracking import Order

STATISTICS = 21
NUMBERS = {Order.FILL: 1, Order.TELL: 22, Order.ASK: 23, Order.FORGET: 33}
ANSWER_SECONDS = 10.0
ANSWER_LIMIT = 65536

_SECTION = re.compile(r"^(cache internal|external inject|message tracking):\s*$")
_COUNT = re.compile(r"^connections (created|updated|destroyed):\s+(\d+)\s+failed:\s+(\d+)$")
_ACTIVE = re.compile(r"^current active connections:\s+(\d+)$")
_MESSAGES = re.compile(r"^\s*(\d+) Malformed msgs\s+(\d+) Lost msgs$")


class ConntrackdError(Exception):
    """It does not do what it should; the text says why, and what to do."""


@dataclass(frozen=True)
class Statistics:
    """What conntrackd counts, since it started."""

    told: int  # entries that it tells the other nodes
    injected: dict[str, int]  # entries of another node, by what became of them in the kernel
    failed: dict[str, int]  # likewise, what the kernel refused
    malformed: int
    lost: int


async def ask(path: Path, number: int) -> str:
    """Send one command and return what it says; raises ConntrackdError."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(struct.pack("=i", number))
                return (await _read_to_end(reader)).decode(errors="replace")
            finally:
                writer.close()
    except TimeoutError:
        raise ConntrackdError("does not answer; systemctl restart conntrackd") from None
    except OSError as error:
        raise ConntrackdError(_explain(error, path)) from None


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    """All that comes until it closes: conntrackd writes each part of an answer by itself."""
    answer = b""
    while len(answer) < ANSWER_LIMIT and (part := await reader.read(ANSWER_LIMIT - len(answer))):
        answer += part
    return answer


def _explain(error: OSError, path: Path) -> str:
    if error.errno == errno.EACCES:
        return (
            f"does not let this user at {path}: install"
            " deploy/systemd/conntrackd.service.d/ovpnha.conf and restart conntrackd"
        )
    if error.errno in {errno.ENOENT, errno.ECONNREFUSED}:
        return f"does not run, or has not {path} in its configuration: systemctl status conntrackd"
    return f"cannot be asked: {error.strerror}"


def parse_statistics(text: str) -> Statistics:
    """Read the answer to ``STATISTICS``; raises ConntrackdError when it is of another kind."""
    section = ""
    told: int | None = None
    injected: dict[str, int] = {}
    failed: dict[str, int] = {}
    malformed = lost = 0
    for line in text.splitlines():
        if match := _SECTION.match(line):
            section = match[1]
        elif section == "cache internal" and (match := _ACTIVE.match(line)):
            told = int(match[1])
        elif section == "external inject" and (match := _COUNT.match(line)):
            injected[match[1]], failed[match[1]] = int(match[2]), int(match[3])
        elif section == "message tracking" and (match := _MESSAGES.match(line)):
            malformed, lost = int(match[1]), int(match[2])
    if told is None or not injected:
        raise ConntrackdError(
            "has another configuration than ovpnha needs: put what `ovpnha conntrackd-config`"
            " prints into /etc/conntrackd/conntrackd.conf, and restart it"
        )
    return Statistics(told, injected, failed, malformed, lost)
