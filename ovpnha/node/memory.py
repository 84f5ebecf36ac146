"""What is known of one OpenVPN process that it cannot tell itself, for whoever connects to it next.

An OpenVPN keeps its clients while its sidecar is started anew, or while the management channel is
connected again. It does not know the epoch of the master that a copy came from, nor whether that
copy was all there was, nor what the epoch that it serves in was begun with. A sidecar that must
find that out from the other nodes cannot while it is cut off from them: it would begin with epoch 1
beside a master of epoch 7, whose packet ids the clients then refuse, and it would say nothing of
what it has.

So it is remembered under the holder id, which one OpenVPN process draws and no other has: what is
remembered of another process, or of this one before it was demoted, is of no use to anybody. An
epoch and an origin stay true. *Whole* stays true of what a source began with; of a copy for
``AWAY_MAX``, since nobody keeps it up to date meanwhile. No packet id and no key is in it (rule R7
of docs/architecture.md), and no packet id depends on it. Rules: docs/adr/0055.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovpnha.model import NO_EPOCH, Epoch, HolderId

AWAY_MAX = 10.0
"""Seconds without a sidecar after which a copy counts as whole no longer: ``lone_after`` by
default, for which a standby that hears nobody stands above one that lacks something."""


@dataclass(frozen=True)
class Remembered:
    """One OpenVPN process, as its sidecar knew it last."""

    holder: HolderId
    source: bool  # it was master or held; else a standby
    epoch: Epoch  # a source's own; that of the master that a standby's copy came from
    origin: Epoch = NO_EPOCH  # of a source: whose clients its epoch began with
    highest: Epoch = NO_EPOCH  # that was ever heard of, and made by whomever
    whole: bool | None = None  # all clients that there were are here; None: not known


class Memory:
    """Of one instance."""

    def __init__(self, last: Remembered | None = None, seen: float = 0.0) -> None:
        self._last = last
        self._seen = seen  # when it was last known to be so

    def note(self, now: Remembered | None, at: float) -> bool:
        """This is known now; None: nothing is. Returns whether it is to be kept anew."""
        if now is None:
            return False
        news, self._last, self._seen = now != self._last, now, at
        return news

    def recall(self, holder: HolderId, at: float) -> Remembered | None:
        """What is known of this process."""
        last = self._last
        if last is None or last.holder != holder:
            return None
        stale = not last.source and at > self._seen + AWAY_MAX
        return replace(last, whole=False) if stale else last
