"""Records that OpenVPN has refused, until they are tried again.

What stands in the way may be on its way out: another client at the same address, a full table. Each
try may run a script that makes OpenVPN deaf for a moment, so the waits double. A client that goes
may have been in the way: then what was tried seldom is tried at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ovpnha.model import ClientRecord, Epoch, Uid
from ovpnha.node.part import first

REFUSED_AGAIN_AFTER = 2.0
"""Seconds until a refused record is tried again, twice as many after each try."""

REFUSED_AGAIN_MOST = 64.0
"""Seconds between two tries, at most."""

EAGER_TRIES = 3
"""Tries up to which a refused record is tried again as soon as a client goes."""


@dataclass(frozen=True)
class ImportJob:
    """A record that is to be imported."""

    record: ClientRecord
    epoch: Epoch  # of the master that published it
    again: bool = False  # dropped and imported anew
    refused: int = 0  # how often OpenVPN has refused it; the master knows of the first time
    again_at: float = 0.0  # when it is tried again


class Retries:
    """The refused ones of one OpenVPN, by client."""

    def __init__(self) -> None:
        self._jobs: dict[Uid, ImportJob] = {}

    def put(self, job: ImportJob, now: float) -> None:
        """This one was refused now."""
        wait = min(REFUSED_AGAIN_AFTER * 2**job.refused, REFUSED_AGAIN_MOST)
        later = replace(job, refused=job.refused + 1, again_at=now + wait)
        self._jobs[job.record.uid] = later

    def forget(self, uid: Uid) -> None:
        """There is a newer record, or the client is gone."""
        self._jobs.pop(uid, None)

    def clear(self) -> None:
        """Nothing that was refused concerns us any more."""
        self._jobs.clear()

    def take_due(self, now: float) -> list[ImportJob]:
        """What is to be tried again now."""
        return self._take(lambda job: now >= job.again_at)

    def take_eager(self, now: float) -> list[ImportJob]:
        """What is to be tried again now that a client has gone."""
        return self._take(lambda job: now >= job.again_at or job.refused <= EAGER_TRIES)

    def get_timer(self) -> float | None:
        """When the next one is due."""
        return first(job.again_at for job in self._jobs.values())

    def _take(self, wanted: Callable[[ImportJob], bool]) -> list[ImportJob]:
        due = [job for job in self._jobs.values() if wanted(job)]
        for job in due:
            del self._jobs[job.record.uid]
        return due
