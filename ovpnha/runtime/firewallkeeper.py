"""Keeps the nftables table of our own, and puts it back when somebody flushed it.

Decides when to look: at the start, whenever nftables tells that something has changed
(``systemctl reload nftables`` begins with ``flush ruleset``), and every minute. It looks in a
thread, so that no promotion waits for it, and at most once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import structlog

from ovpnha.config import Config
from ovpnha.errors import ConfigError
from ovpnha.firewall.table import Plan
from ovpnha.runtime.firewall import FirewallError, read_table, set_liberal, set_table
from ovpnha.runtime.site import make_plan

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NFNLGRP_NFTABLES = 7
READ_SIZE = 64 * 1024
PAUSE = 1.0
LOOK_INTERVAL = 60.0  # seconds: nobody tells when a tunable changes

log = structlog.get_logger()


class FirewallKeeper:
    """Keeps what the configuration asks for; ``problem`` is what is wrong with it now, or ""."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._directory = config.control.socket.parent
        self._changed = asyncio.Event()
        self._kept: str | None = None  # the table as the kernel shows it
        self.problem = ""

    async def run(self) -> None:
        """Keep it, for ever."""
        plan, problem = _plan(self._config)
        self._tell(problem)
        if plan is not None:
            with self._watch():
                await self._keep(plan)

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """Hear of changes; where that cannot be, only the minute counts."""
        try:
            monitor = _open_monitor()
        except OSError as error:
            log.warning("changes of nftables not heard", reason=error.strerror)
            yield
            return
        with monitor:
            loop = asyncio.get_running_loop()
            loop.add_reader(monitor, self._drain, monitor)
            try:
                yield
            finally:
                loop.remove_reader(monitor)

    async def _keep(self, plan: Plan) -> None:
        while True:
            self._changed.clear()
            self._tell(await asyncio.to_thread(self._look, plan))
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._changed.wait()

    def _look(self, plan: Plan) -> str:
        """Set what is not as we left it; gives what went wrong, or ""."""
        try:
            if self._kept is None or read_table() != self._kept:
                set_table(plan, self._directory)
                self._kept = read_table()
                log.info("firewall set", translations=len(plan.translations))
            set_liberal(self._directory)
        except FirewallError as error:
            return str(error)
        return ""

    def _tell(self, problem: str) -> None:
        """Once, until it is another."""
        if problem and problem != self.problem:
            log.error("firewall not set", reason=problem)
        self.problem = problem

    def _drain(self, monitor: socket.socket) -> None:
        """What has changed does not matter, nor whether news were lost: it is looked at whole."""
        try:
            while monitor.recv(READ_SIZE):
                self._changed.set()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._changed.set()


def _plan(config: Config) -> tuple[Plan | None, str]:
    """What to keep, and why it is not known ("" when it is)."""
    try:
        return make_plan(config), ""
    except ConfigError as error:
        return None, str(error)


def _open_monitor() -> socket.socket:
    monitor = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
    )
    monitor.bind((0, 0))  # a group alone brings nothing
    monitor.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    return monitor
