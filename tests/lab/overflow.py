"""What the kernel drops because a process had no turn in time: a full machine, and nobody's fault.

At 100 Mbit/s the queue of a socket holds 9 ms and that of a tun 50, which others take easily on two
cores. The kernel counts both, in the network namespace of a process, and what a processor dropped
before any of them.
"""

from __future__ import annotations

from pathlib import Path

SOFTNET_DROPPED = 1  # column of /proc/net/softnet_stat
DEV_TX_DROPPED = 12  # column of /proc/net/dev, the name being the first


def count_full_queues(pid: int) -> int:
    """Packets that found a queue of a socket or tun full, where this process lives."""
    own = Path(f"/proc/{pid}/net")
    lines = (own / "snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    count = int(values[names.index("RcvbufErrors")])
    tuns = (line.split() for line in (own / "dev").read_text().splitlines() if "tun" in line)
    return count + sum(int(fields[DEV_TX_DROPPED]) for fields in tuns)


def count_full_processors() -> int:
    """Packets that found a processor's queue full, anywhere."""
    processors = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[SOFTNET_DROPPED], 16) for line in processors)
