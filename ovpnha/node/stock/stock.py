"""Beside an OpenVPN without the patch: its clients' leases, told by who serves, kept by the others.

    serves     status 3, again and again ──► leases that came, changed, went ──► the back channel
    does not   leases of the node that serves ──► the pool file ──► read at the takeover

Such an OpenVPN cannot be given a client, so all of them begin anew when the VIP moves; what they
can be given is the address that they had. OpenVPN reads ``ifconfig-pool-persist`` only when it
starts, and a SIGUSR1 starts it: so when the VIP comes to an OpenVPN that has no clients, the file
is written and OpenVPN starts anew, which takes a second. One that has clients is left alone: the
VIP was away for a moment only, and they are still its own.

Decides what is told, what stands in the file, and when OpenVPN is to read it. Knows no key, no
packet id and no holder, and follows nobody whose OpenVPN has the patch (docs/adr/0066).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ovpnha.errors import RefusedDatagram
from ovpnha.management.commands import ClientStatus, StartAnew
from ovpnha.management.replies import ClientStatusReply
from ovpnha.model import ClientRecord, NodeName, ServerClient, Sync, Uid
from ovpnha.node.config import InstanceConfig
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import KeepPool, ProbeClients
from ovpnha.node.part import Part, PartStatistics
from ovpnha.node.stock.pool import AddressPool, find_addresses
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.events import RecordReceived, RecordWithdrawn, SnapshotEnded
from ovpnha.replication.leases import Lease, find_lease, pack_lease, unpack_lease_untrusted
from ovpnha.replication.protocol import Replication

ASK_EVERY = 2.0
"""Seconds between questions for all clients: who came in the last ones may get another address."""

ASK_LESS = 500
"""Clients for which it is asked every two seconds; of more it is asked less often, as OpenVPN does
nothing else while it answers."""

WRITE_EVERY = 1.0
"""Least seconds between two writes of the pool file while OpenVPN need not read it."""

FORGET_EVERY = 60.0
"""Seconds after which those who have been away for long are looked for."""

PROBES = 2
"""How often a client over TCP is told: one segment may be lost while routers learn of the VIP."""

PROBE_AFTER = 0.5
"""Seconds after OpenVPN was told to start anew, so that it listens when its clients reconnect."""

PROBE_EVERY = 2.5
"""Seconds until those who are not back are told again."""

MOVED_NOTABLE = 4
"""Of so many clients that came back at least one has its address, if the file is read at all."""

STARTS_WITHIN = 10.0
"""Seconds: an OpenVPN that is lost so soon after the order to start anew has ended by it."""

ENDS = (
    "OpenVPN ends when it is told to start anew (SIGUSR1), so that is not done again: after a"
    " takeover its clients get other addresses than they had"
)
ENDS_FIX = (
    "with user or group, its configuration must say persist-key and persist-tun, and a port of 1024"
    " or above; start OpenVPN anew then"
)

UNREAD_FIX = (
    "write ifconfig-pool-persist FILE 0 into OpenVPN's configuration, with the pool_file of "
    "ovpnha.toml, on all nodes, and start OpenVPN after ovpnha"
)


@dataclass(frozen=True)
class StockStatistics(PartStatistics):
    """What is known of the clients of an OpenVPN without the patch."""

    leases: int = 0  # clients that are connected, as far as was told
    leases_remembered: int = 0  # names whose addresses are kept for them now
    leases_from: NodeName | None = None  # whose clients they are
    addresses_kept: int = 0  # clients that are back since the takeover, with what they had
    addresses_changed: int = 0  # those that are back with another


class Stock(Part):
    """One OpenVPN's, while it is known to lack the patch."""

    def __init__(
        self,
        openvpn: Openvpn,
        backchannel: Replication,
        config: InstanceConfig,
        clients: Callable[[], int | None],
        now: float,
    ) -> None:
        self._openvpn = openvpn
        self._backchannel = backchannel
        self._config = config
        self._keeps = config.pool is not None
        self._clients = clients
        self.pool = AddressPool(config.pool or "", now)
        self._written: str | None = None  # not since we began
        self._read = ""  # what OpenVPN has certainly read
        self._leases: dict[Uid, Lease] = {}
        self._generation = 0
        self._generations: dict[Uid, int] = {}
        self.active = False  # OpenVPN is known to lack the patch
        self.serves = False
        self.following: NodeName | None = None
        self.whole = False  # every lease of the one that serves, or served last, is here
        self._listed = False
        self._ordered_at = -math.inf  # when it was told to start anew
        self._ends = False  # the last one did not survive that
        self._undecided = False  # the VIP has come, and who is connected is not known yet
        self._awaited: dict[str, str] = {}  # addresses of clients that have not come back yet
        self._kept = self._moved = 0
        self._untold: dict[str, str] = {}  # clients to be probed: address and port, and name
        self._probes = 0
        self._probe_at: float | None = None
        self._ask_at: float | None = None
        self._write_at: float | None = None

    # What it is.

    def start(self) -> None:
        """OpenVPN lacks the patch."""
        self.active = True

    def stop(self, now: float) -> None:
        """OpenVPN is gone, or may have become another. The leases of others are none of its."""
        if self.serves:
            self._end_source(now)
        self.follow(None, now)
        self.active = self._undecided = False
        self._read = ""
        self._ends = now < self._ordered_at + STARTS_WITHIN
        self._ask_at = self._write_at = self._probe_at = None

    def serve(self, now: float) -> None:
        """The VIP is here: tell the others who is connected."""
        if self.serves:
            return
        self.follow(None, now)
        self.serves, self._listed = True, False
        self._generations.clear()
        self._backchannel.begin_source(self._openvpn.instance, now)
        self._ask_at = now

    def follow(self, node: NodeName | None, now: float) -> None:
        """The VIP is not here: keep what this node tells; None keeps what was told."""
        if self.serves and self.active:
            self._end_source(now)
        if node == self.following:
            return
        self.following = node
        if node is not None:
            self.whole = False
        self._backchannel.follow(self._openvpn.instance, node, now)

    def _end_source(self, now: float) -> None:
        self.serves, self._ask_at, self._probe_at = False, None, None
        self._backchannel.end_source(self._openvpn.instance, now)

    def take_over(self, now: float) -> None:
        """The VIP has come: let OpenVPN know the addresses, if nobody is connected to it."""
        self._awaited = dict(find_addresses(self._leases.values()))
        self._kept = self._moved = 0
        if self._config.tcp_port is not None:
            self._untold = {one.address: one.name for one in self._leases.values()}
            self._probes, self._probe_at = PROBES, now
        clients = self._clients()
        self._undecided = clients is None  # not told yet: ``status`` will
        if clients == 0:
            self._make_read(now)

    def _make_read(self, now: float) -> None:
        text = self._remember(now)
        if not self._keeps or text == self._read or self._ends:
            return
        self._written = self._read = text
        self._openvpn.put(KeepPool(self._openvpn.instance, text, to_be_read=True))
        self._openvpn.send(StartAnew())
        self._ordered_at = now
        self._openvpn.flush()
        if self._probe_at is not None:
            self._probe_at = now + PROBE_AFTER
        leases = len(self.pool.kept(now))
        self._openvpn.log("info", "openvpn starts anew to read addresses", leases=leases)

    # What is heard.

    def take(self, event: object, now: float) -> None:
        """Our OpenVPN has told of its clients, or the node that serves of its own."""
        match event:
            case ClientStatusReply(clients=clients):
                if self.serves:
                    self._decide(clients, now)
                    self._take_clients(clients, now)
            case RecordReceived(record=record):
                self._take_record(record, now)
            case RecordWithdrawn(uid=uid):
                self._leases.pop(uid, None)
                self._note(now)
            case SnapshotEnded(clients=known):
                self._leases = {uid: one for uid, one in self._leases.items() if uid in known}
                self.whole = True
                self._note(now)

    def _decide(self, clients: tuple[ServerClient, ...], now: float) -> None:
        """It is known whether somebody is connected to the OpenVPN to which the VIP has come."""
        if self._undecided and not any(one.virtual or one.virtual6 for one in clients):
            self._make_read(now)
        self._undecided = False

    def _take_clients(self, clients: tuple[ServerClient, ...], now: float) -> None:
        """All that are connected now."""
        found = filter(None, map(find_lease, clients))
        leases = {one.uid: one for one in found}
        for uid in [one for one in self._generations if one not in leases]:
            del self._generations[uid]
            self._backchannel.withdraw(self._openvpn.instance, uid, now)
        for uid, lease in leases.items():
            if uid not in self._generations or self._leases.get(uid) != lease:
                self._generation += 1
                self._generations[uid] = self._generation
                record = pack_lease(lease, self._generation)
                self._backchannel.publish(self._openvpn.instance, record, now)
        self._leases = leases
        self._note_returns()
        if not self._listed:
            self._listed = True
            self._backchannel.source_complete(self._openvpn.instance, now)
        self.whole = True
        self._ask_at = now + ASK_EVERY * max(1.0, len(clients) / ASK_LESS)
        self._note(now)

    def _note_returns(self) -> None:
        """Who came back since the takeover, and whether with the same address."""
        addresses = find_addresses(self._leases.values())
        for name in [one for one in self._awaited if one in addresses]:
            same = self._awaited.pop(name) == addresses[name]
            self._kept += same
            self._moved += not same

    def _take_record(self, record: ClientRecord, now: float) -> None:
        """A lease of the node that is followed; what is none is refused, and counted."""
        instance, uid, generation = self._openvpn.instance, record.uid, record.generation
        try:
            lease = unpack_lease_untrusted(record)
        except RefusedDatagram:
            self._openvpn.counters["leases_refused"] += 1
            self._backchannel.reject(instance, uid, generation, "not a lease", now)
            return
        self._leases[uid] = lease
        self._backchannel.acknowledge(instance, uid, generation, (), now)
        self._note(now)

    def _note(self, now: float) -> None:
        """The leases may have changed, and with them what is to be in the file."""
        soon = now + WRITE_EVERY
        if self.whole and (self._write_at is None or self._write_at > soon):
            self._write_at = soon

    def _remember(self, now: float) -> str:
        """What is to be in the file now. A part of the leases says nothing of the others."""
        if self.whole:
            self.pool.note(self._leases.values(), now)
        self._write_at = now + FORGET_EVERY if self.pool.anyone_away else None
        return self.pool.text(now)

    # Time.

    def get_timer(self) -> float | None:
        """When OpenVPN is asked, or the file is written."""
        due = (self._ask_at, self._write_at, self._probe_at)
        times = [one for one in due if one is not None]
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Ask, and write, when due."""
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            self._openvpn.send(ClientStatus())
        if self._probe_at is not None and now >= self._probe_at:
            self._probe(self._config.tcp_port or 0, now)
        if self._write_at is not None and now >= self._write_at:
            text = self._remember(now)
            if self._keeps and text != self._written:
                self._written = text
                self._openvpn.put(KeepPool(self._openvpn.instance, text, to_be_read=False))

    def _probe(self, port: int, now: float) -> None:
        """Let those who are not back yet learn that their server is gone."""
        back = {one.name for one in self._leases.values()} if self._listed else frozenset()
        clients = tuple(address for address, name in self._untold.items() if name not in back)
        for vip in self._config.vips:
            if ":" not in vip and clients:
                self._openvpn.put(ProbeClients(self._openvpn.instance, vip, port, clients))
        self._probes -= 1
        self._probe_at = now + PROBE_EVERY if self._probes and clients else None

    # For those who look.

    @property
    def sync(self) -> Sync:
        """How complete the leases of another node are here."""
        if self.whole:
            return Sync.IN_SYNC
        return Sync.SYNCING if self.following is not None else Sync.NONE

    @property
    def copied(self) -> bool:
        """Whether this node has the leases of the one that serves, or served last."""
        return self.active and not self.serves and self.whole

    def clients(self) -> tuple[ServerClient, ...]:
        """Who is connected elsewhere, as far as was told."""
        return tuple(lease.client for lease in self._leases.values())

    def statistics(self, now: float) -> StockStatistics:
        """Leases, and what became of them."""
        place = (len(self._leases), len(self.pool.kept(now)), self.following)
        return StockStatistics(*place, self._kept, self._moved)

    def problems(self, _now: float) -> Iterator[Problem]:
        """Addresses that OpenVPN did not read, or will not."""
        if self.active and self._ends:
            yield Problem(ProblemKind.ADDRESSES_CHANGED, ENDS, ENDS_FIX)
        elif self.active and self.serves and self._keeps and self._is_unread():
            what = f"{self._moved} clients came back with other addresses than they had"
            yield Problem(ProblemKind.ADDRESSES_CHANGED, what, UNREAD_FIX)

    def _is_unread(self) -> bool:
        return self._moved >= MOVED_NOTABLE and self._moved > self._kept
