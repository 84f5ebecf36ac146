"""Runs the user's command after a change of role.

Decides order and bounds: one run at a time, each killed with its children after its timeout, the
oldest forgotten, and told of, when too many wait. Must never delay a promotion: it only queues.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from ovpnha.config import HooksConfig
from ovpnha.node.outputs import RoleChanged
from ovpnha.runtime.bounded import plain_environment, run_bounded

WAITING_LIMIT = 64

log = structlog.get_logger()


class HookRunner:
    """Queues role changes and runs the configured command for each."""

    def __init__(self, config: HooksConfig, node: str) -> None:
        self._config = config
        self._node = node
        self._waiting: deque[RoleChanged] = deque()
        self._wakeup = asyncio.Event()

    def role_changed(self, change: RoleChanged) -> None:
        """Take note; returns at once."""
        if self._config.role_changed:
            if len(self._waiting) >= WAITING_LIMIT:
                left = self._waiting.popleft().new.value
                log.warning("hook too slow", command=self._config.role_changed[0], left_out=left)
            self._waiting.append(change)
            self._wakeup.set()

    async def run(self) -> None:
        """Run the command for each change, for ever."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            while self._waiting:
                await self._run_one(self._waiting.popleft())

    async def _run_one(self, change: RoleChanged) -> None:
        command, limit = self._config.role_changed, self._config.timeout
        try:
            ran = await run_bounded(command, self._environment(change), limit)
        except Exception as error:  # the task boundary: no hook may end the sidecar
            log.warning("hook failed", command=command[0], reason=str(error))
            return
        if ran.error:
            log.warning("hook failed", command=command[0], reason=ran.error)
        elif ran.code is None:
            log.warning("hook killed", command=command[0], timeout=limit)
        elif ran.code != 0:
            log.warning("hook failed", command=command[0], exit_code=ran.code)

    def _environment(self, change: RoleChanged) -> dict[str, str]:
        return plain_environment(
            OVPNHA_NODE=self._node,
            OVPNHA_INSTANCE=change.instance,
            OVPNHA_OLD_ROLE=change.old.value,
            OVPNHA_ROLE=change.new.value,
            OVPNHA_EPOCH=str(change.epoch),
            OVPNHA_REASON=change.reason,
        )
