"""What a hello says of a switchover, in one byte string: nothing, or so many fields.

::

    id 8 | phase 1 | reason 1 | target's tag 8 | master's tag 8 | epoch 8 | within 4 | times: 4 …

``within`` is in milliseconds, each of the times in microseconds. What a later version puts behind
them is not read, and a phase of a later version says nothing.
Short, because it stands in a hello, of which several may have to fit one datagram: so nodes are
named by their tags. Decides nothing; docs/wire.md, "Hello", rules it.
"""

from __future__ import annotations

import struct

from ovpnha.model import SWITCH_PHASES, SwitchPhase, SwitchReason, SwitchState
from ovpnha.replication.records import bytes_untrusted, malformed

_HEAD = struct.Struct(">8sBB8s8sQI")
_TIME = struct.Struct(">I")
SIZE_LIMIT = 255
LONGEST = 0xFFFFFFFF
NUMBER_LIMIT = 1 << 63
_PHASES = frozenset(SwitchPhase)


def pack_switch(state: SwitchState | None) -> bytes:
    """As it stands in a hello."""
    if state is None:
        return b""
    within = min(LONGEST, round(state.within * 1e3))
    ends = (state.target, state.master, state.epoch, within)
    head = _HEAD.pack(state.id, state.phase, state.reason, *ends)
    return head + b"".join(_TIME.pack(min(LONGEST, round(one * 1e6))) for one in state.times)


def unpack_switch_untrusted(value: object) -> SwitchState | None:
    """As the rest of the program knows it."""
    data = bytes_untrusted(value, SIZE_LIMIT)
    if not data:
        return None
    times = data[_HEAD.size :][: len(SWITCH_PHASES) * _TIME.size]
    if len(data) < _HEAD.size or len(times) % _TIME.size:
        raise malformed()
    number, phase, reason, target, master, epoch, within = _HEAD.unpack(data[: _HEAD.size])
    if epoch >= NUMBER_LIMIT:
        raise malformed()
    if phase not in _PHASES:
        return None
    return SwitchState(
        number,
        SwitchPhase(phase),
        target,
        master,
        epoch,
        within / 1e3,
        SwitchReason(reason),
        tuple(one / 1e6 for (one,) in _TIME.iter_unpack(times)),
    )
