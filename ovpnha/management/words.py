"""The words of the management protocol: hex ids, numbers and epochs, read from untrusted text.

Everything that reads ends in ``_untrusted`` and raises ManagementError only. Rules:
docs/management.md.
"""

from __future__ import annotations

import re

from ovpnha.errors import ManagementError
from ovpnha.errors import printable as fit_for_a_line
from ovpnha.model import (
    FINGERPRINT_SIZE,
    HOLDER_SIZE,
    NO_EPOCH,
    UID_SIZE,
    Epoch,
    Fingerprint,
    HolderId,
    NodeName,
    Uid,
)

NUMBER_DIGITS = 19
TEXT_LIMIT = 200

_EPOCH = re.compile(r"([0-9]{1,19})/([0-9A-Za-z._:-]{1,44})")


def read_hex_untrusted(text: str, size: int, what: str) -> bytes:
    """Read exactly ``size`` bytes of lower-case hex."""
    if len(text) == 2 * size and not text.strip("0123456789abcdef"):
        return bytes.fromhex(text)
    raise ManagementError(f"OpenVPN sent a {what} that is not {2 * size} lower-case hex digits")


def read_uid_untrusted(text: str) -> Uid:
    """Read the 8-byte name of a client's session."""
    return Uid(read_hex_untrusted(text, UID_SIZE, "uid"))


def read_fingerprint_untrusted(text: str) -> Fingerprint:
    """Read the 8-byte name of a data channel key."""
    return Fingerprint(read_hex_untrusted(text, FINGERPRINT_SIZE, "fingerprint"))


def read_holder_untrusted(text: str) -> HolderId:
    """Read a 128-bit holder id."""
    return HolderId(read_hex_untrusted(text, HOLDER_SIZE, "holder id"))


def read_number_untrusted(text: str, what: str) -> int:
    """Read a decimal number that is not negative."""
    if 0 < len(text) <= NUMBER_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    raise ManagementError(f"OpenVPN sent a {what} that is not a number")


def read_epoch(text: str) -> Epoch:
    """Read back what ``Epoch.__str__`` made; any other word was not ours and means no epoch."""
    match = _EPOCH.fullmatch(text)
    return Epoch(int(match[1]), NodeName(match[2])) if match else NO_EPOCH


def printable(raw: bytes) -> str:
    """Text for a log line: printable, one line, of bounded length."""
    text = raw[:TEXT_LIMIT].decode("utf-8", "replace")
    return fit_for_a_line(text)
