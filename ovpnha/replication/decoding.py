"""Reading messages that other nodes sealed: strict, bounded, one exception.

A sealed datagram is authentic, yet a node can be of another version, broken or taken over. Whatever
breaks docs/wire.md raises ``RefusedDatagram("malformed")`` before anything of the datagram is used.
Types that a newer version added are skipped; how the fields of a message are read: ``layout``.
"""

from __future__ import annotations

from typing import Any

import msgpack

from ovpnha.replication.fields import ARRAY_LIMIT
from ovpnha.replication.layout import MESSAGES, Values
from ovpnha.replication.messages import (
    Message,
)
from ovpnha.replication.records import malformed, number_untrusted
from ovpnha.replication.sealing import PAYLOAD_LIMIT


def decode_untrusted(payload: bytes) -> tuple[list[Message], int]:
    """The messages of one datagram, and how many were of unknown type."""
    messages: list[Any] = []
    unknown = 0
    for values in _arrays_untrusted(payload):
        content = MESSAGES.get(number_untrusted(values[0]))
        if content is None:
            unknown += 1
        else:
            messages.append(content.layout.read_untrusted(values[1:]))
    return messages, unknown


def _arrays_untrusted(payload: bytes) -> list[Values]:
    unpacker = msgpack.Unpacker(
        max_buffer_size=PAYLOAD_LIMIT,
        max_array_len=ARRAY_LIMIT,
        max_map_len=0,
        max_ext_len=0,
        max_str_len=PAYLOAD_LIMIT,
        max_bin_len=PAYLOAD_LIMIT,
    )
    arrays: list[Values] = []
    whole = 0
    try:
        unpacker.feed(payload)
        for values in unpacker:
            arrays.append(values)
            whole = unpacker.tell()
    except Exception:  # msgpack raises whatever comes: it is the task boundary of its own parser
        raise malformed() from None
    if whole != len(payload) or not all(type(values) is list and values for values in arrays):
        raise malformed()
    return arrays
