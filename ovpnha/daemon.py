"""The composition root: a configuration in, a running node until SIGTERM.

Decides what is connected with what, and the order of start and stop. Everything runs in one
TaskGroup on one event loop: the first failure ends the daemon with its cause, and the service
manager starts it again; OpenVPN goes on meanwhile. A stop never touches OpenVPN's role.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from ovpnha import __version__
from ovpnha.config import Config, InstanceSection
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.machines import SPARE_SUFFIX, Process, SparePolicy
from ovpnha.model import (
    CheckState,
    ClientMetrics,
    ConntrackManager,
    InstanceName,
    NodeName,
    VipManager,
)
from ovpnha.node.outputs import KeepPool, OpenvpnFound, RoleChanged, SetGrade
from ovpnha.replication.sealing import MAGIC, cluster_tag
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.channels import Channels
from ovpnha.runtime.checks import CheckRunner
from ovpnha.runtime.clientmetrics import ClientList, Pseudonyms
from ovpnha.runtime.commands import Commands
from ovpnha.runtime.composing import (
    compose_node,
    cookie_keys,
    find_keys,
    key_names,
)
from ovpnha.runtime.conntrack import ConntrackKeeper
from ovpnha.runtime.control import ControlServer
from ovpnha.runtime.driver import Driver, Ports
from ovpnha.runtime.eventhooks import EventHooks
from ovpnha.runtime.events import SPARED, EventBook
from ovpnha.runtime.eventstream import EventStreams
from ovpnha.runtime.fence import FenceRunner
from ovpnha.runtime.firewallkeeper import FirewallKeeper
from ovpnha.runtime.historyfile import find_history_file
from ovpnha.runtime.historykeeper import HistoryKeeper
from ovpnha.runtime.hooks import HookRunner
from ovpnha.runtime.hostcheck import check_host, is_served
from ovpnha.runtime.logs import configure_logs
from ovpnha.runtime.logstream import LogStream
from ovpnha.runtime.memoryfile import MemoryFile
from ovpnha.runtime.netlink import NetworkWatcher, read_network
from ovpnha.runtime.network_events import NetworkEvents
from ovpnha.runtime.poolfile import PoolFile
from ovpnha.runtime.process import (
    calm_garbage_collector,
    protect_memory,
    raise_descriptor_limit,
)
from ovpnha.runtime.restarting import Restarting
from ovpnha.runtime.service import ServiceManager
from ovpnha.runtime.sourcewatcher import SourceWatcher
from ovpnha.runtime.tcpprobe import ProbeSender
from ovpnha.runtime.track import TrackFile, Vouched

log = structlog.get_logger()


def run_daemon(config: Config) -> None:
    """Run until SIGTERM or SIGINT; raises what went wrong."""
    protect_memory()
    raise_descriptor_limit()
    keys = find_keys(config)
    passing = check_host(config, read_network(), served=is_served(config))
    events = EventBook()
    with LogStream(sys.stderr) as output:
        configure_logs(config.log, output, events.take_log, SPARED)
        for line in passing:
            log.warning(line)
        try:
            asyncio.run(_run(config, keys, events))
        except BaseExceptionGroup as group:
            wanted, other = group.split(OvpnhaError)
            if wanted is None or other is not None:
                raise
            raise _first(wanted) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run(config: Config, keys: tuple[bytes, ...], events: EventBook) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = Daemon(config, keys, events)
    loop.add_signal_handler(signal.SIGHUP, daemon.read_keys_again)
    await daemon.run(stop)


class Daemon:
    """All shells of one node, connected."""

    def __init__(
        self, config: Config, keys: tuple[bytes, ...], events: EventBook | None = None
    ) -> None:
        self._config = config
        self._events = events or EventBook()
        self._pseudonyms = Pseudonyms(keys[0])
        self._service = ServiceManager()
        self._hooks = HookRunner(config.hooks, config.cluster.node)
        self._event_hooks = EventHooks(config.hook, config.cluster.node, self._events.follow)
        self._fence = FenceRunner(config.fence, config.cluster.node, self._fence_done)
        self._conntrack = _conntrack_keeper(config)
        self._firewall = FirewallKeeper(config) if config.firewall.manage else None
        self._source = SourceWatcher()
        self._history = HistoryKeeper(
            find_history_file(config.history.file),  # made by who installs; else nothing is kept
            missing=f"{config.history.file.parent} is not there",
        )
        self._tracks = {
            InstanceName(one.name): self._track(one, one.track_file)
            for one in config.instance
            if one.track_file is not None
        }
        self._memories = self._make_memories()
        found = {which: one.load() for which, one in self._memories.items()}
        self._pools = {
            InstanceName(one.name): _pool(one.pool_file)
            for one in config.instance
            if one.pool_file is not None
        }
        pools = {name: one.load() for name, one in self._pools.items()}
        self._tcp_probe = ProbeSender(lambda reason: log.warning("clients not told", reason=reason))
        prefix = MAGIC + cluster_tag(config.cluster.name)
        names = key_names(config, keys)
        bcn = None if config.cluster.alone else config.bcn
        self._bcn = BcnSockets(bcn, self._received_datagrams, prefix, names)
        core = compose_node(config, keys, self._history.load(), found, pools)
        self._driver = Driver(core, self._make_ports())
        self._channels = Channels(config, self._driver.step, self._management_gone)
        self._network_events = NetworkEvents(config, self._bcn, self._driver)
        self._checks = CheckRunner(config, self._checks_told)
        self._commands = Commands(
            config,
            self._driver,
            self._channels.peer,
            lambda: self._history.problem,
            self._events.since,
            self._checks,
            Restarting(_policies(config), self._driver, self._channels.peer),
        )
        self._control = ControlServer(
            config.control.socket, self._commands.answer, EventStreams(self._events.follow)
        )
        self._watcher = NetworkWatcher(self._network_events.changed)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, then end in order."""
        self._control.bind()
        loop = asyncio.get_running_loop()
        failure: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(partial(_fail, failure))
        self._watcher.start(loop)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._work(failure)]
                self._started()
                await stop.wait()
                self._stopping()
                for task in tasks:
                    task.cancel()
        finally:
            self._watcher.stop(loop)
            self._network_events.stop()
            self._bcn.close()

    def read_keys_again(self) -> None:
        """SIGHUP: the key file may have changed; go on under its keys, or under the old ones."""
        try:
            keys = find_keys(self._config)
        except ConfigError as error:
            problem = str(error)
        else:
            self._pseudonyms = Pseudonyms(keys[0])
            cookies = cookie_keys(self._config, keys)
            self._bcn.use_keys(key_names(self._config, keys))
            self._driver.step(lambda core, now: core.use_keys(keys, cookies, now))
            return
        log.error("cluster keys not read again, the old ones stay", reason=problem)

    def _work(self, failure: asyncio.Future[None]) -> Iterator[Coroutine[Any, Any, None]]:
        """Everything that runs beside the event loop's own callbacks."""
        yield _guard(failure)
        yield from self._channels.run()
        for track in self._tracks.values():
            yield track.run()
        for memory in self._memories.values():
            yield memory.run()
        yield self._hooks.run()
        yield self._event_hooks.run()
        yield self._fence.run()
        yield self._checks.run()
        if self._conntrack is not None:
            yield self._conntrack.run()
        if self._firewall is not None:
            yield self._firewall.run()
        yield self._source.run()
        yield self._events.run(self._driver.statistics)
        yield self._history.run(self._driver.history)
        yield self._control.run()
        yield self._serve_http()
        yield self._service.run()

    async def _serve_http(self) -> None:
        """Loaded in a thread: it is large, and a sidecar that starts has clients to look after."""
        http = await asyncio.to_thread(_load_http)
        application = http.StatusApplication(
            self._driver.statistics,
            lambda: http.Scrape(
                self._driver.statistics(),
                self._bcn.failures(),
                tuple(self._client_lists()),
                _policies(self._config),
                alone=self._config.cluster.alone,
            ),
        )
        await http.serve_http(self._config.http, application)

    def _client_lists(self) -> Iterator[ClientList]:
        """The clients of the instances whose metrics tell of each."""
        for one in self._config.instance:
            if one.client_metrics is not ClientMetrics.OFF:
                hashed = one.client_metrics is ClientMetrics.HASHES
                clients = self._driver.clients(InstanceName(one.name))
                yield ClientList(one.name, clients, self._pseudonyms if hashed else None)

    def _started(self) -> None:
        calm_garbage_collector()
        self._service.ready("running")
        log.info("started", node=self._config.cluster.node, version=__version__)

    def _stopping(self) -> None:
        self._service.stopping()
        log.info("stopping")
        self._driver.stop()
        self._tcp_probe.stop()
        self._events.stop()

    def _track(self, one: InstanceSection, path: Path) -> TrackFile:
        name = InstanceName(one.name)

        def vouched() -> Vouched | None:
            peer = self._channels.peer(name, self._serving(name))
            around = self._network_events
            return Vouched(peer, around.addresses(name), around.inode(name)) if peer else None

        def reader(read: bool) -> None:
            if one.vip_manager is VipManager.KEEPALIVED:
                self._driver.step(lambda core, now: core.grade_read(name, read, now))

        return TrackFile(
            path,
            lambda reason: log.error("track file not written", reason=reason),
            vouched,
            reader,
        )

    def _make_ports(self) -> Ports:
        """What the core's wishes are carried out by; some of it is made later than the core."""
        return Ports(
            write_management=lambda what: self._channels.write(what),
            close_management=lambda what: self._channels.close(what),
            pass_descriptors=lambda what: self._channels.pass_on(what),
            end_process=lambda what: self._channels.end(what),
            send_datagram=self._bcn.send,
            openvpn_found=self._openvpn_found,
            set_grade=self._set_grade,
            role_changed=self._role_changed,
            history_changed=self._history.changed,
            remember=lambda known: self._memories[known.instance, known.process].keep(known.what),
            fence=self._fence.ask,
            keep_pool=self._keep_pool,
            probe_clients=self._tcp_probe.ask,
            dropped=self._bcn.dropped,
            tracking=lambda: self._conntrack.figures() if self._conntrack else None,
            firewall=lambda: self._firewall.problem if self._firewall else None,
            newer_source=lambda: self._source.newer,
        )

    def _make_memories(self) -> dict[tuple[InstanceName, Process], MemoryFile]:
        made = {}
        for one in self._config.instance:
            name = InstanceName(one.name)
            made[name, Process.MAIN] = self._memory(one.name, name, Process.MAIN)
            if self._config.watches_spare(one):
                path = f"{one.name}{SPARE_SUFFIX}"
                made[name, Process.SPARE] = self._memory(path, name, Process.SPARE)
        return made

    def _memory(self, path: str, name: InstanceName, process: Process) -> MemoryFile:
        return MemoryFile(
            self._config.control.memory(path),
            lambda reason: log.error("memory not kept", reason=reason),
            lambda: self._channels.is_connected(name, process),
        )

    def _management_gone(self, name: InstanceName) -> None:
        if name in self._pools:
            self._pools[name].rest()

    def _keep_pool(self, wanted: KeepPool) -> None:
        if wanted.instance in self._pools:
            self._pools[wanted.instance].keep(wanted.text, to_be_read=wanted.to_be_read)

    def _received_datagrams(self, batch: list[bytes], link: str) -> None:
        self._driver.step(lambda core, now: core.receive_datagrams(batch, link, now))

    def _checks_told(self, states: Mapping[InstanceName, tuple[CheckState, ...]]) -> None:
        self._driver.step(lambda core, now: core.checks_told(states, now))

    def _serving(self, name: InstanceName) -> Process:
        """Which of its processes serves, or would."""
        told = self._driver.restart_figures(name)
        return Process.MAIN if told is None else told.figures.serving

    def _fence_done(self, node: NodeName, text: str) -> None:
        self._driver.step(lambda core, now: core.fence_done(node, text, now))

    def _openvpn_found(self, found: OpenvpnFound) -> None:
        """Later: it leads to further steps of the core, and this call comes from within one."""
        asyncio.get_running_loop().call_soon(self._take_up, found)

    def _take_up(self, found: OpenvpnFound) -> None:
        self._network_events.openvpn_found(found)
        if found.instance in self._tracks:
            self._tracks[found.instance].touch()

    def _set_grade(self, grade: SetGrade) -> None:
        if grade.instance in self._tracks:
            self._tracks[grade.instance].set_grade(grade.grade)

    def _role_changed(self, change: RoleChanged) -> None:
        self._hooks.role_changed(change)
        self._checks.role_changed(change.instance, change.new)
        if self._conntrack is not None:
            self._conntrack.role_changed(change)
        self._service.status(f"{change.instance}: {change.new.value}, epoch {change.epoch}")


def _conntrack_keeper(config: Config) -> ConntrackKeeper | None:
    wanted = config.conntrack.manager is ConntrackManager.CONNTRACKD
    return ConntrackKeeper(config) if wanted else None


def _policies(config: Config) -> dict[InstanceName, SparePolicy]:
    return {InstanceName(one.name): config.spare_of(one) for one in config.instance}


def _pool(path: Path) -> PoolFile:
    return PoolFile(path, lambda reason: log.error("pool file not written", reason=reason))


def _load_http() -> ModuleType:
    from ovpnha.runtime import http

    return http


def _fail(
    failure: asyncio.Future[None], _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]
) -> None:
    """An exception in a callback of the loop ends the daemon like one in a task.

    But not what strangers can cause: too many connections to a listening socket.
    """
    error = context.get("exception") or RuntimeError(context.get("message", "event loop error"))
    if isinstance(error, OSError) and "socket" in context:
        log.warning("connection not accepted", reason=error.strerror)
    elif not failure.done():
        failure.set_exception(error)


async def _guard(failure: asyncio.Future[None]) -> None:
    await failure
