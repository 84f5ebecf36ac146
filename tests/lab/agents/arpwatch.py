"""``arpwatch.py INTERFACE FILE``: a line "TIME MAC ADDRESS" for each address that is announced.

Announced is an address by gratuitous ARP, or by an unsolicited neighbour advertisement. MAC is who
it is said to be at. The first line is "ready".
"""

from __future__ import annotations

import socket
import struct
import sys
import time

ARP, IPV6, ALL = 0x0806, 0x86DD, 0x0003
ICMPV6, ADVERTISEMENT = 58, 136
SOLICITED = 0x40


def main(interface: str, path: str) -> None:
    """Write until it is ended."""
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as packets,
        open(path, "w", buffering=1) as out,
    ):
        packets.bind((interface, ALL))
        out.write("ready\n")
        while True:
            if said := _describe(packets.recv(2048)):
                out.write(f"{time.monotonic_ns()} {said}\n")


def _describe(frame: bytes) -> str:
    """Who is said to have which address; "" when nothing is announced."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == ARP and len(frame) >= 42:
        mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
        return f"{mac.hex(':')} {socket.inet_ntoa(sender)}" if sender == target else ""
    if kind != IPV6 or len(frame) < 86 or frame[20] != ICMPV6 or frame[54] != ADVERTISEMENT:
        return ""
    if frame[58] & SOLICITED:
        return ""
    return f"{frame[80:86].hex(':')} {socket.inet_ntop(socket.AF_INET6, frame[62:78])}"


if __name__ == "__main__":
    main(*sys.argv[1:])
