"""Reads the lines of an exported record. The parts themselves stay opaque.

Must never put a byte of a record into an exception. Rules: docs/management.md, "A record".
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from ovpnha.errors import ManagementError
from ovpnha.management.words import (
    read_fingerprint_untrusted,
    read_holder_untrusted,
    read_number_untrusted,
    read_uid_untrusted,
)
from ovpnha.model import HOT_LIMIT, RECORD_LIMIT, ClientRecord, ColdPart, Grant, Uid

GRANTS_LIMIT = 255
"""Most grants of one record: 15 holders, a few keys, a few ranges of each."""

COLD_LIMIT = 16
"""Most cold parts of one record."""

KIND_LIMIT = 255


def read_record_untrusted(lines: Sequence[str], asked: Uid) -> ClientRecord:
    """Read ``RECORD``, ``HOT``, ``COLD`` and ``GRANT`` lines; it must be the client asked for."""
    uid, generation = _read_head_untrusted(lines)
    if uid != asked:
        raise ManagementError("OpenVPN exported another client than the one asked for")
    hot: list[str] = []
    cold: dict[int, list[str]] = {}
    grants: list[Grant] = []
    last, pieces = "", list[str]()  # the kind of the cold part that is being read, and its text
    for line in lines[1:]:
        word, _, rest = line.partition(",")
        if word == "HOT":
            hot.append(rest)
        elif word == "COLD":
            kind, _, text = rest.partition(",")
            if kind != last or not pieces:
                last, pieces = kind, cold.setdefault(_read_kind_untrusted(kind), [])
            pieces.append(text)
        elif word == "GRANT":
            grants.append(_read_grant_untrusted(rest))
    return _assemble_untrusted(uid, generation, hot, cold, grants)


def _assemble_untrusted(
    uid: Uid, generation: int, hot: list[str], cold: dict[int, list[str]], grants: list[Grant]
) -> ClientRecord:
    record = ClientRecord(
        uid,
        generation,
        _decode_untrusted(hot),
        tuple(ColdPart(kind, _decode_untrusted(cold[kind])) for kind in sorted(cold)),
        tuple(grants),
    )
    if not 0 < len(record.hot) <= HOT_LIMIT:
        raise ManagementError(f"OpenVPN exported a hot part not of 1 to {HOT_LIMIT} bytes")
    if len(record.hot) + sum(len(part.data) for part in record.cold) > RECORD_LIMIT:
        raise ManagementError(f"OpenVPN exported a record of more than {RECORD_LIMIT} bytes")
    if len(grants) > GRANTS_LIMIT or len(cold) > COLD_LIMIT:
        raise ManagementError("OpenVPN exported a record of too many grants or cold parts")
    return record


def _read_head_untrusted(lines: Sequence[str]) -> tuple[Uid, int]:
    fields = lines[0].split(",") if lines else []
    if len(fields) < 3 or fields[0] != "RECORD":
        raise ManagementError("OpenVPN exported a record without its RECORD line")
    return read_uid_untrusted(fields[1]), read_number_untrusted(fields[2], "generation")


def _read_kind_untrusted(text: str) -> int:
    kind = read_number_untrusted(text, "kind of cold part")
    if not 0 < kind <= KIND_LIMIT:
        raise ManagementError(f"OpenVPN sent a kind of cold part not of 1 to {KIND_LIMIT}")
    return kind


def _read_grant_untrusted(text: str) -> Grant:
    fields = text.split(",")
    if len(fields) != 4:
        raise ManagementError("OpenVPN sent a GRANT line that has not four fields")
    start = read_number_untrusted(fields[2], "start of a range")
    end = read_number_untrusted(fields[3], "end of a range")
    if not start < end:
        raise ManagementError("OpenVPN sent an empty range")
    return Grant(
        read_holder_untrusted(fields[0]), read_fingerprint_untrusted(fields[1]), start, end
    )


def _decode_untrusted(texts: list[str]) -> bytes:
    try:
        return binascii.a2b_base64("".join(texts), strict_mode=True)
    except (binascii.Error, ValueError):
        raise ManagementError("OpenVPN exported a part that is not base64") from None
