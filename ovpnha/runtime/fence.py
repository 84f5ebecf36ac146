"""Runs the user's program that cuts a silent master off.

Decides only that one node is never fenced twice at once: several instances that ask while it runs
all hear how it went. It is killed at its limit, so that an answer always comes. Must never delay
anything: whoever asks does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ovpnha.config import FenceSection
from ovpnha.model import NodeName
from ovpnha.node.outputs import RunFence
from ovpnha.runtime.bounded import Ran, plain_environment, run_bounded

log = structlog.get_logger()


class FenceRunner:
    """The fence of this node; ``done`` hears of a node and what went wrong, "" for nothing."""

    def __init__(
        self, section: FenceSection | None, node: str, done: Callable[[NodeName, str], None]
    ) -> None:
        self._section = section
        self._node = node
        self._done = done
        self._running: set[NodeName] = set()
        self._asked: asyncio.Queue[RunFence] = asyncio.Queue()

    def ask(self, wanted: RunFence) -> None:
        """Fence this node; returns at once."""
        if wanted.node not in self._running:
            self._running.add(wanted.node)
            self._asked.put_nowait(wanted)

    async def run(self) -> None:
        """Run what is asked for, for ever; several nodes at once."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._fence(await self._asked.get()))

    async def _fence(self, wanted: RunFence) -> None:
        section = self._section
        assert section is not None  # noqa: S101 - without it the core asks for nothing
        command, limit = section.command, section.timeout
        try:
            ran = await run_bounded(command, self._environment(wanted), limit, capture=True)
        except Exception as error:  # the task boundary: no fence may end the sidecar
            log.exception("fence has a fault", command=command[0])
            ran = Ran(None, error=type(error).__name__)
        self._running.discard(wanted.node)
        self._done(wanted.node, _describe(ran, limit))

    def _environment(self, wanted: RunFence) -> dict[str, str]:
        return plain_environment(
            OVPNHA_EVENT="fence",
            OVPNHA_NODE=self._node,
            OVPNHA_OTHER_NODE=wanted.node,
            OVPNHA_INSTANCE=wanted.instance,
            OVPNHA_EPOCH=str(wanted.epoch),
            OVPNHA_REQUIRED=str(wanted.required),
            OVPNHA_TEXT=f"{wanted.node} was master of {wanted.instance} and has fallen silent",
        )


def _describe(ran: Ran, limit: float) -> str:
    """What went wrong; "" when it succeeded."""
    if ran.good:
        return ""
    how = ran.describe(limit)
    return f"{how}: {ran.first_line}" if ran.first_line else how
