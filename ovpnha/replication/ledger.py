"""What one end of the back channel has counted since it began.

Sources and sinks come and go with roles; what they count must not fall when they do. So all of them
write into this one ledger, which lives as long as the end itself, and ``statistics`` reads it.
Decides nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counters that only rise."""

    received: Counter[str] = field(default_factory=Counter)  # messages by kind
    sent: Counter[str] = field(default_factory=Counter)  # datagrams by kind
    refused: Counter[str] = field(default_factory=Counter)  # by reason of docs/wire.md
    ignored: Counter[str] = field(default_factory=Counter)  # no fault: own, duplicate, unknown_type
    bytes_received: Counter[str] = field(default_factory=Counter)
    bytes_sent: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0  # asked by this node
    snapshots: int = 0  # asked of this node
    nacks: int = 0  # times that this node asked again for what did not come
    repaired: int = 0  # entries sent again
    oversized: int = 0  # records beyond the limits, not sent or not delivered
    differences: int = 0  # buckets that a digest has shown to differ
