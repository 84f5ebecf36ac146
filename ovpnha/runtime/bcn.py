"""The sockets of the back channel network: one set for each link, all instances share them.

Decides where a datagram goes (broadcast, multicast, the nodes listed) and how much is read before
others get their turn: a flood of junk must not starve the management channel. What is read is
hostile until the protocol has opened it; nothing of it is looked at here. A datagram that cannot
be sent is dropped and counted: the protocol repairs losses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog

from ovpnha.config import IMPLIED_LINK, BcnConfig, BcnLink, BcnMode
from ovpnha.model import OpenvpnStatus
from ovpnha.runtime.network import Link, NetworkTable
from ovpnha.runtime.prefilter import attach_filter, count_dropped

READ_SIZE = 2048  # beyond the 1,200 bytes of the largest datagram, so that oversize shows
READS_PER_WAKEUP = 32
DEFAULT_GROUP = ipaddress.IPv4Address("239.255.41.94")
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32

Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
ReceivedBatch = Callable[[list[bytes], str], None]

log = structlog.get_logger()


@dataclass(frozen=True)
class _Plan:
    """What a link needs at this moment; a change of it opens the sockets anew."""

    interface: str
    index: int
    port: int
    families: frozenset[socket.AddressFamily]
    targets: tuple[Target, ...]
    groups: tuple[str, ...] = ()


class BcnSockets:
    """All links. ``received`` gets what one wakeup read, in order, with the link's name.

    Without a ``config`` there is no link: nobody is sent anything.

    What does not begin with ``prefix`` is not even read; nothing is said about it when empty. Nor
    are most of those under another key than ``keys``, their names; all are read without names.
    """

    def __init__(
        self,
        config: BcnConfig | None,
        received: ReceivedBatch,
        prefix: bytes = b"",
        keys: Collection[bytes] = (),
    ) -> None:
        self._prefix = prefix
        self._keys = keys
        self._links: dict[str, _LinkSockets] = {}
        if config is None:
            return
        for link in config.links or (None,):
            name = IMPLIED_LINK if link is None else link.interface
            self._links[name] = _LinkSockets(config, name, link, received, self._filter)

    def _filter(self, one: socket.socket) -> None:
        if self._prefix:
            attach_filter(one, self._prefix, self._keys)

    def use_keys(self, keys: Collection[bytes]) -> None:
        """The names of the keys from now on; to be told before anything is sealed by them."""
        self._keys = keys
        for link in self._links.values():
            link.filter_anew()

    def openvpn_found(self, status: OpenvpnStatus) -> None:
        """Without links of its own the configuration takes those of OpenVPN; refresh follows."""
        for link in self._links.values():
            link.openvpn_found(status)

    def refresh(self, table: NetworkTable) -> Mapping[str, bool]:
        """Follow the interfaces; returns which links can carry datagrams now."""
        return {name: link.refresh(table) for name, link in self._links.items()}

    @property
    def failed(self) -> bool:
        """Whether sockets could not be opened at the last ``refresh``; the next one tries again."""
        return any(link.failed for link in self._links.values())

    def send(self, data: bytes, link: str | None = None) -> None:
        """Send once on every link, or only on that one."""
        chosen: Iterable[_LinkSockets] = self._links.values()
        if link is not None:
            chosen = [self._links[link]] if link in self._links else ()
        for one in chosen:
            one.send(data)

    def failures(self) -> Mapping[str, int]:
        """Datagrams that could not be sent, by reason."""
        return sum((link.failures for link in self._links.values()), Counter[str]())

    def dropped(self) -> int:
        """Datagrams that the kernel did not keep for us, on all sockets that there were."""
        return sum(link.dropped() for link in self._links.values())

    def close(self) -> None:
        """Close all sockets."""
        for link in self._links.values():
            link.close()


class _LinkSockets:
    """The sockets of one link, one for each address family in use."""

    def __init__(
        self,
        config: BcnConfig,
        name: str,
        link: BcnLink | None,
        received: ReceivedBatch,
        attach: Callable[[socket.socket], None],
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.failed = False
        self._config = config
        self._name = name
        self._link = link
        self._received = received
        self._attach = attach
        self._told: OpenvpnStatus | None = None
        self._plan: _Plan | None = None
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._problem = ""
        self._dropped = 0  # on sockets that are closed

    def openvpn_found(self, status: OpenvpnStatus) -> None:
        if status.broadcast:
            self._told = status

    def refresh(self, table: NetworkTable) -> bool:
        problem, plan = self._find_plan(table)
        self.failed = False
        if plan is not None and plan != self._plan:
            problem = self._open(plan)
            self.failed = bool(problem)
        elif plan is None:
            self.close()
        self._tell(problem)
        link = table.link_by_index(self._plan.index) if self._plan is not None else None
        return link is not None and link.up

    def _find_plan(self, table: NetworkTable) -> tuple[str, _Plan | None]:
        if self._link is not None:
            return _plan(self._config, self._link, table)
        if self._told is None:
            return "openvpn names no cluster-broadcast-address; add bcn.links", None
        return _implied_plan(self._told.broadcast, self._told.bcn_port or self._config.port, table)

    def send(self, data: bytes) -> None:
        if self._plan is None:
            return
        for family, address in self._plan.targets:
            try:
                self._sockets[family].sendto(data, address)
            except BlockingIOError:
                self.failures["send_buffer_full"] += 1
            except OSError as error:
                self.failures[_reason(error)] += 1

    def dropped(self) -> int:
        return self._dropped + sum(map(count_dropped, self._sockets.values()))

    def close(self) -> None:
        self._dropped = self.dropped()
        for one in self._sockets.values():
            asyncio.get_running_loop().remove_reader(one)
            one.close()
        self._sockets.clear()
        self._plan = None

    def filter_anew(self) -> None:
        """What may be read has changed. Without a filter all is read, and the work is ours."""
        for one in self._sockets.values():
            try:
                self._attach(one)
            except OSError as error:
                log.warning("bcn filter refused", link=self._name, reason=_reason(error))

    def _open(self, plan: _Plan) -> str:
        """Open the sockets of this plan; returns what went wrong, or nothing."""
        self.close()
        loop = asyncio.get_running_loop()
        try:
            for family in plan.families:
                self._sockets[family] = one = _open_socket(family, self._config, plan)
                self._attach(one)
                for group in plan.groups:
                    _join(one, family, group, plan.index)
                loop.add_reader(one, self._readable, one)
        except OSError as error:
            self.close()
            return error.strerror or "socket error"
        self._plan = plan
        return ""

    def _readable(self, source: socket.socket) -> None:
        batch = []
        for _ in range(READS_PER_WAKEUP):
            try:
                batch.append(source.recv(READ_SIZE))
            except BlockingIOError:
                break
            except OSError as error:  # an ICMP error of an earlier send
                self.failures[_reason(error)] += 1
        if batch:
            self._received(batch, self._name)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("bcn link unusable", link=self._name, reason=problem)
        elif self._problem and not problem:
            log.info("bcn link usable", link=self._name)
        self._problem = problem


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown").lower().replace(" ", "_")


def _plan(config: BcnConfig, link: BcnLink, table: NetworkTable) -> tuple[str, _Plan | None]:
    """Where datagrams of this link go now, or why they cannot go anywhere."""
    found = table.link(link.interface)
    if found is None:
        return "there is no such interface; make it, or correct bcn.links", None
    addresses = _destinations(config, link, found, table)
    if not addresses:
        return "nowhere to send to: the interface has no IPv4 address, or nodes names only us", None
    groups = addresses if config.mode is BcnMode.MULTICAST else ()
    return "", _make_plan(found, config.port, addresses, groups)


def _implied_plan(broadcast: str, port: int, table: NetworkTable) -> tuple[str, _Plan | None]:
    """OpenVPN's broadcast address, on the interface that has it."""
    for address in table.addresses():
        link = table.link_by_index(address.index)
        if link is not None and broadcast in address.broadcasts():
            return "", _make_plan(link, port, (broadcast,), ())
    return f"no interface has openvpn's cluster-broadcast-address {broadcast}", None


def _make_plan(link: Link, port: int, addresses: tuple[str, ...], groups: tuple[str, ...]) -> _Plan:
    targets = tuple(_target(address, port, link.index) for address in addresses)
    families = frozenset(family for family, _ in targets)
    return _Plan(link.name, link.index, port, families, targets, groups)


def _destinations(
    config: BcnConfig, link: BcnLink, found: Link, table: NetworkTable
) -> tuple[str, ...]:
    if config.mode is BcnMode.UNICAST:
        return tuple(str(one) for one in link.nodes if not table.has_address(str(one)))
    if config.mode is BcnMode.MULTICAST:
        return (str(link.address or DEFAULT_GROUP),)
    if link.address is not None:
        return (str(link.address),)
    own = (address.broadcasts() for address in table.addresses(found.name))
    return next((addresses[:1] for addresses in own if addresses), ())


def _target(address: str, port: int, index: int) -> Target:
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return socket.AF_INET, (address, port)
    scope = index if parsed.is_link_local or parsed.is_multicast else 0
    return socket.AF_INET6, (address, port, 0, scope)


def _open_socket(family: socket.AddressFamily, config: BcnConfig, plan: _Plan) -> socket.socket:
    """A bound socket that hears this link only."""
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, plan.interface.encode() + b"\0")
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if config.mode is BcnMode.BROADCAST:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        _set_buffer(one, SO_RCVBUFFORCE, socket.SO_RCVBUF, config.receive_buffer)
        _set_buffer(one, SO_SNDBUFFORCE, socket.SO_SNDBUF, config.receive_buffer)
        one.bind(("", plan.port))
    except OSError:
        one.close()
        raise
    return one


def _set_buffer(one: socket.socket, forced: int, plain: int, size: int) -> None:
    """Beyond the system's limit where we may, else up to it."""
    try:
        one.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, plain, size)


def _join(one: socket.socket, family: socket.AddressFamily, group: str, index: int) -> None:
    packed = socket.inet_pton(family, group)
    if family == socket.AF_INET:
        request = struct.pack("=4s4si", packed, bytes(4), index)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    else:
        one.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("=i", index)
        )
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
