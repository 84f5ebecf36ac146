"""``sniffer.py INTERFACE FILE AT``: a line "MAC KEY-ID MARK" for each data packet from a server.

MAC is the sender's. MARK is the number in the four bytes that begin AT bytes into the packet: the
packet id of an AEAD cipher, a part of the IV of a CBC cipher. Only packets of OpenVPN's current
data format (P_DATA_V2) are looked at, and only what is clear in them.
"""

from __future__ import annotations

import socket
import struct
import sys

ETH_P_IP = 0x0800
PORT = 1194
UDP = 17
P_DATA_V2 = 9


def main(interface: str, path: str, at: str) -> None:
    """Write until it is ended."""
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as packets,
        open(path, "w", buffering=1) as out,
    ):
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        packets.bind((interface, ETH_P_IP))
        out.write("ready\n")
        while True:
            if line := _describe(packets.recv(2048), int(at)):
                out.write(line)


def _describe(frame: bytes, at: int) -> str:
    """The line of a frame, "" when it is something else."""
    if len(frame) < 14 + 20 + 8 + at + 4 or frame[23] != UDP:
        return ""
    start = 14 + (frame[14] & 0x0F) * 4
    (source,) = struct.unpack_from("!H", frame, start)
    head = frame[start + 8]
    if source != PORT or head >> 3 != P_DATA_V2:
        return ""
    (mark,) = struct.unpack_from("!I", frame, start + 8 + at)
    return f"{frame[6:12].hex()} {head & 7} {mark}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
