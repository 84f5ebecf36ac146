"""Imports that wait for OpenVPN and those under way, and which of them have become pointless.

Decides what an answer of OpenVPN still means: nothing, when its client was withdrawn after the
command was written (the command cannot be taken back, what it made is dropped), or when the job is
not the one that was ordered. Must never give such an answer to the copy. What goes first:
``ovpnha/node/openvpn/pipeline.py``.
"""

from __future__ import annotations

from ovpnha.management.commands import Import
from ovpnha.model import Uid
from ovpnha.node.openvpn.pipeline import Pipeline
from ovpnha.node.standby.retries import ImportJob


class ImportPipeline(Pipeline[ImportJob]):
    """The jobs of one standby."""

    def __init__(self) -> None:
        super().__init__()
        self._cancelled: set[Uid] = set()

    def clear(self) -> None:
        """Forget everything, also what was cancelled: no answer will come."""
        super().clear()
        self._cancelled.clear()

    def cancel(self, uid: Uid) -> None:
        """What is under way for this client is pointless, if there is anything."""
        if self.started(uid) is not None:
            self._cancelled.add(uid)

    def is_cancelled(self, uid: Uid) -> bool:
        """Whether what is under way for this client is pointless."""
        return uid in self._cancelled

    def answered(self, command: Import) -> ImportJob | None:
        """The job that this command carried out, unless it has become pointless meanwhile."""
        uid = command.record.uid
        job = self.started(uid)
        if job is None or job.record is not command.record:
            return None
        self.finish(uid)
        if uid in self._cancelled:
            self._cancelled.discard(uid)
            return None
        return job

    def brings(self, uid: Uid, generation: int) -> bool:
        """Whether a record of this generation, or a newer one, is under way."""
        job = self.started(uid)
        return job is not None and job.record.generation >= generation
