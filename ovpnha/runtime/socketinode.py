"""Which socket OpenVPN has open for its clients, by what the kernel tells of all sockets.

A socket's inode says whether the one that was there still is: OpenVPN closes it when it gives up
its clients, though its process goes on (SIGUSR1, SIGHUP). Decides nothing.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path

UNCONNECTED, LISTENING = "07", "0A"
"""States of a socket that waits for anybody: UDP and TCP."""


def find_inode(address: str, port: int, proto: str, tables: Path = Path("/proc/self/net")) -> int:
    """The inode of the socket bound there, in this network namespace; 0 when there is none.

    Args:
        address: IPv4 or IPv6, as OpenVPN says its ``local``.
        port: Its port.
        proto: ``udp…`` or ``tcp…``.
        tables: Where ``udp``, ``udp6``, ``tcp`` and ``tcp6`` are.
    """
    try:
        parsed = ip_address(address)
        name = proto[:3] + ("6" if parsed.version == 6 else "")
        lines = (tables / name).read_text().splitlines()[1:]
    except (OSError, ValueError):
        return 0
    words = struct.unpack(f"={len(parsed.packed) // 4}I", parsed.packed)
    wanted = "".join(f"{word:08X}" for word in words) + f":{port:04X}"
    state = UNCONNECTED if name.startswith("udp") else LISTENING
    fields = (line.split() for line in lines)
    return next((int(one[9]) for one in fields if one[1] == wanted and one[3] == state), 0)
