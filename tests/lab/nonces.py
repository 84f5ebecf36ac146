"""Was a nonce used twice? Counts what the traced OpenVPN processes and a sniffer wrote down. Pure.

A nonce is a key and a packet id. The traces have every one that was used at encryption, whether the
packet was sent or not (``openvpn-patches/common/cluster_trace.h``); the sniffer has those that came
to the client. A CBC cipher has no nonce, but its packet ids follow the same rule: each once per
key. They are encrypted, so there the trace names a packet of the wire by a third word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    """Count the lines "KEY ID" or "KEY ID MARK" of each process."""
    used: Counter[tuple[str, str]] = Counter()
    users: dict[str, set[str]] = {}
    for process, lines in traces.items():
        for line in lines:
            key, packet_id, *_ = line.split()
            used[key, packet_id] += 1
            users.setdefault(key, set()).add(process)
    twice = [" ".join(nonce) for nonce, times in used.items() if times > 1]
    return Nonces(
        packets=used.total(),
        keys=len(users),
        shared_keys=sum(len(processes) > 1 for processes in users.values()),
        duplicates=len(twice),
        first_duplicates=tuple(twice[:5]),
    )


def total(counts: Sequence[Nonces]) -> Nonces:
    """What several runs, which have no key in common, say together."""
    first = [nonce for one in counts for nonce in one.first_duplicates]
    return Nonces(
        packets=sum(one.packets for one in counts),
        keys=sum(one.keys for one in counts),
        shared_keys=sum(one.shared_keys for one in counts),
        duplicates=sum(one.duplicates for one in counts),
        first_duplicates=tuple(first[:5]),
    )


@dataclass(frozen=True)
class Wire:
    """What the sniffer says: data packets seen, from how many nodes, and how many nobody traced."""

    packets: int
    senders: int
    untraced: int


def compare(wire: Iterable[str], traces: Mapping[str, Iterable[str]]) -> Wire:
    """Hold the wire against the traces: every packet that was seen must have been written down."""
    traced = {line.split()[-1] for lines in traces.values() for line in lines}
    seen = [line.split() for line in wire if line != "ready"]
    return Wire(
        packets=len(seen),
        senders=len({mac for mac, _, _ in seen}),
        untraced=sum(mark not in traced for _, _, mark in seen),
    )
