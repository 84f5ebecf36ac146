"""The checksum of the internet (RFC 1071), for packets that no kernel fills in."""

from __future__ import annotations

import struct


def checksum(data: bytes) -> int:
    """Over an even number of bytes; over what has its own in it, 0."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)
