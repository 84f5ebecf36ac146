"""Runs the checks of the service, and tells the core what is held of each.

Decides nothing: when a check is due and what its results mean is in ``ovpnha/checks``, what each
kind looks at in ``probes``. Every run is a task of its own, so that one that is slow or hangs
delays neither the others nor anything else of this node. Which failures stay until they are reset
is kept in a file beside the control socket: a restart of the sidecar heals nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from ovpnha.checks.judge import CheckOutcome
from ovpnha.checks.schedule import CheckNews, CheckPlan, Checks
from ovpnha.config import CheckSection, Config
from ovpnha.model import CheckState, InstanceName, Role, Verdict
from ovpnha.runtime.bounded import plain_environment
from ovpnha.runtime.probes import Probe, run_probe
from ovpnha.runtime.replacing import replacing

STUCK_FILE = "checks.stuck"
STUCK_MODE = 0o644
STUCK_LIMIT = 64 * 1024

log = structlog.get_logger()

Tell = Callable[[Mapping[InstanceName, tuple[CheckState, ...]]], None]
Hear = Callable[[CheckNews], None]


def plan_check(one: CheckSection) -> CheckPlan:
    """What the schedule has to know of it."""
    return CheckPlan(
        name=one.name,
        instance=None if one.instance is None else InstanceName(one.instance),
        period=one.period,
        rise=one.rise,
        fall=one.fall,
        critical=one.critical,
        sticky=one.sticky,
        master_only=one.rests,
    )


class CheckRunner:
    """The checks of this node. ``tell`` takes all states, ``hear`` each change of a verdict."""

    def __init__(
        self,
        config: Config,
        tell: Tell,
        hear: Hear = lambda _news: None,
        probe: Probe = run_probe,
    ) -> None:
        self._node = config.cluster.node
        self._sections = {one.name: one for one in config.check}
        self._stuck_file = config.control.socket.with_name(STUCK_FILE)
        self._stuck = _read_stuck(self._stuck_file)  # as it was written last
        self._not_kept = False
        self._checks = Checks(
            [plan_check(one) for one in config.check],
            [InstanceName(one.name) for one in config.instance],
            time.monotonic(),
            self._stuck,
        )
        self._tell, self._hear = tell, hear
        self._probe = probe
        self._wakeup = asyncio.Event()
        self._told: Mapping[InstanceName, tuple[CheckState, ...]] = {}

    def role_changed(self, instance: InstanceName, role: Role) -> None:
        """Some checks are for a master only; returns at once."""
        self._checks.set_role(instance, role, time.monotonic())
        self._wakeup.set()

    def reset(self, name: str | None) -> tuple[str, ...]:
        """Somebody says that it is mended; gives the names of those that had failed."""
        found = self._checks.reset(name, time.monotonic())
        self._say()
        self._wakeup.set()
        return found

    def names(self) -> tuple[str, ...]:
        """Every check of this node."""
        return self._checks.names()

    def age(self, name: str) -> float | None:
        """Seconds since it last had a result."""
        return self._checks.age(name, time.monotonic())

    async def run(self) -> None:
        """Run what is due, for ever."""
        self._say()
        async with asyncio.TaskGroup() as group:
            while True:
                self._wakeup.clear()
                for name in self._checks.begin(time.monotonic()):
                    group.create_task(self._run_one(name))
                self._say()
                await self._wait()

    async def _wait(self) -> None:
        due = self._checks.get_timer()
        delay = None if due is None else max(0.0, due - time.monotonic())
        try:
            async with asyncio.timeout(delay):
                await self._wakeup.wait()
        except TimeoutError:
            return

    async def _run_one(self, name: str) -> None:
        one = self._sections[name]
        try:
            outcome, text = await self._probe(one, self._environment(one))
        except OSError as error:  # no descriptors, no memory: what is looked at is not to blame
            outcome, text = CheckOutcome.LATER, f"cannot be looked at: {error.strerror or error}"
        except Exception as error:  # the task boundary: no check may end the sidecar
            log.exception("check has a fault", check=name)
            outcome, text = CheckOutcome.LATER, f"cannot be looked at: {type(error).__name__}"
        self._checks.finish(name, outcome, text, time.monotonic(), time.time())
        self._say()
        self._wakeup.set()

    def _environment(self, one: CheckSection) -> dict[str, str]:
        instance = None if one.instance is None else InstanceName(one.instance)
        role = self._checks.role(instance)
        return plain_environment(
            OVPNHA_NODE=self._node,
            OVPNHA_CHECK=one.name,
            OVPNHA_INSTANCE=one.instance or "",
            OVPNHA_ROLE=role.value if role is not None else "",
        )

    def _say(self) -> None:
        """The core first, then the log and the hooks."""
        states = self._checks.states()
        if states != self._told:
            self._told = states
            self._tell(states)
        while (news := self._checks.next_news()) is not None:
            level = "warning" if news.verdict is Verdict.FAILED else "info"
            getattr(log, level)(
                "check",
                check=news.name,
                verdict=news.verdict.value,
                critical=news.critical,
                recovered=news.recovered,
                text=news.text,
                **({} if news.instance is None else {"instance": news.instance}),
            )
            self._hear(news)
        self._keep()

    def _keep(self) -> None:
        """Write down which stay failed; what could not be written is tried again at each result."""
        stuck = self._checks.stuck()
        if stuck == self._stuck:
            return
        try:
            with replacing(self._stuck_file, STUCK_MODE) as file:
                file.write(json.dumps(stuck).encode())
        except OSError as error:
            if not self._not_kept:
                log.warning(
                    "failed checks not kept", file=str(self._stuck_file), reason=error.strerror
                )
            self._not_kept = True
        else:
            self._stuck, self._not_kept = stuck, False


def _read_stuck(path: Path) -> tuple[str, ...]:
    """What was kept; nothing, when that cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            names: object = json.loads(file.read(STUCK_LIMIT))
    except (OSError, ValueError):
        return ()
    found: Sequence[object] = names if isinstance(names, list) else []
    return tuple(name for name in found if isinstance(name, str))
