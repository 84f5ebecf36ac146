"""Was a nonce used twice? Counts what the traced OpenVPN processes and a sniffer wrote down. Pure.

A nonce is a key and a packet id. The traces have every one that was used at encryption, whether the
packet was sent or not (``openvpn-patches/common/cluster_trace.h``); the sniffer has those that came
to the client, under the 3-bit key id of the wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Nonces:
    """What a trace says, all processes together.

    ``shared_keys`` were used by more than one process; without any nothing was put to the test.
    """

    packets: int
    keys: int
    shared_keys: int
    duplicates: int
    first_duplicates: tuple[str, ...]


def count(traces: Mapping[str, Iterable[str]]) -> Nonces:
    """Count the lines "KEY ID" of each process."""
    used: Counter[str] = Counter()
    users: dict[str, set[str]] = {}
    for process, lines in traces.items():
        for line in lines:
            used[line] += 1
            users.setdefault(line.split()[0], set()).add(process)
    twice = [line for line, times in used.items() if times > 1]
    return Nonces(
        packets=used.total(),
        keys=len(users),
        shared_keys=sum(len(processes) > 1 for processes in users.values()),
        duplicates=len(twice),
        first_duplicates=tuple(twice[:5]),
    )


@dataclass(frozen=True)
class Wire:
    """What the sniffer says: data packets seen, from how many nodes, and ids nobody traced."""

    packets: int
    senders: int
    untraced: int


def compare(wire: Iterable[str], traces: Mapping[str, Iterable[str]]) -> Wire:
    """Hold the wire against the traces: every id that was seen must have been written down."""
    traced = {line.split()[1] for lines in traces.values() for line in lines}
    seen = [line.split() for line in wire if line != "ready"]
    return Wire(
        packets=len(seen),
        senders=len({mac for mac, _, _ in seen}),
        untraced=sum(packet_id not in traced for _, _, packet_id in seen),
    )
