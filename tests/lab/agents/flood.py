"""``flood.py ADDRESS MBIT``: so much UDP to a port where nobody listens, every two milliseconds."""

from __future__ import annotations

import os
import socket
import sys
import time

PORT = 9
SIZE = 1200
TURNS = 500
"""Bursts in a second."""


def main(address: str, mbit: int) -> None:
    """Send until it is ended, and let those go first who have to carry it."""
    os.nice(5)
    burst = mbit * 1_000_000 // 8 // SIZE // TURNS
    data = b"x" * SIZE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        due = time.monotonic()
        while True:
            for _ in range(burst):
                out.sendto(data, (address, PORT))
            due += 1 / TURNS
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
