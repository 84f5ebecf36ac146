"""One OpenVPN process of a server: its life, its management channel, what the kernel says of it.

A server has one of them, or two which share link socket and tun (docs/roles.md, "A spare"): who has
the port is the kernel's word, and so is a death, which is told apart from the end of a connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovpnha.machines import Process
from ovpnha.model import Role, Unreachable
from ovpnha.node.memory import Remembered
from tests.model_openvpn import Told
from tests.simulation.clock import Clock, Inbox
from tests.simulation.truth import Heard, WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.server import Server

SOCKET_DELAY = 0.0001
RECONNECT_DELAY = 0.02
CONNECT_RETRY = 0.2
PROOFS = (0.0001, 0.0008, 0.01)
"""Seconds from a death until the kernel has told it; the end of the connection takes one, too."""
PORT_AGAIN = 1.5
"""Seconds after which a process that waits for descriptors tries the port again."""
STARTED_AGAIN = 0.4
"""Seconds after which a process that was ended, or has retired, is started again."""
WORK = (b"cluster-export", b"cluster-import")
"""What takes an OpenVPN a while."""

ABSENT = Unreachable("nobody has the socket open", "start it", absent=True)
BARRED = Unreachable("management socket: Permission denied", "let this user through")
ALIVE = Unreachable("the process that was there before still runs", "end it")


class OpenvpnProcess:
    """The main process of a server, or its spare."""

    def __init__(self, server: Server, process: Process, rng: random.Random) -> None:
        self._server = server
        self._clock: Clock = server.machine.clock
        self._rng = rng
        self.process = process
        self.openvpn: WatchedOpenvpn | None = None
        self.inbox = Inbox(rng)
        self.memory: Remembered | None = None  # what a sidecar of this host has left to the next
        self.wanted = True  # it is started when it does not run
        self.barred = False  # its socket lets nobody through
        self._busy_until = 0.0  # when OpenVPN has done what it was told
        self._connection = 0  # counts; both ends of a closed one see another number
        self._accepted = 0
        self._watched: WatchedOpenvpn | None = None  # whose death this sidecar will be told

    @property
    def name(self) -> str:
        """What it is called in the trace."""
        spare = self.process is Process.SPARE
        return f"{self._server.name}:spare" if spare else self._server.name

    @property
    def other(self) -> OpenvpnProcess | None:
        """The one beside it, if there is to be one."""
        return next((one for one in self._server.processes if one is not self), None)

    @property
    def connected(self) -> bool:
        """Whether OpenVPN has a management client."""
        return bool(self._accepted)

    def plays(self, role: Role) -> bool:
        """Whether it runs, with this role."""
        return self.openvpn is not None and self.openvpn.plays(role)

    # Life and death.

    def start(self) -> None:
        """It starts, as standby, unless it runs; it waits if the other one has the port."""
        if self.openvpn is not None or not self.wanted:
            return
        self._server.disturb()
        cluster, service = self._server.cluster, self._server.service
        openvpn = cluster.defect.openvpn(
            self._rng,
            round_size=cluster.round_size,
            taken=self._is_taken(),
            told=Told(digest=self._server.digest),
        )
        openvpn.truth, openvpn.who, openvpn.waits_since = service.truth, self.name, {}
        openvpn.world, openvpn.handshakes = service.handshakes, {}
        openvpn.key_kind = cluster.defect.key
        openvpn.local = service.vip
        openvpn.place = self._server
        self.openvpn = openvpn
        self.inbox.clear()
        if openvpn.descriptors is None:
            self._clock.later(PORT_AGAIN, self._try_port, openvpn)
        if self.process is Process.MAIN:
            service.clients.forget_process(self._server)

    def _is_taken(self) -> bool:
        other = self.other.openvpn if self.other is not None else None
        return other is not None and other.descriptors is not None

    def _try_port(self, openvpn: WatchedOpenvpn) -> None:
        """It waits: whether anybody has the port still."""
        if self.openvpn is not openvpn or openvpn.descriptors is not None:
            return
        if self.inbox.stopped or self._is_taken():
            self._clock.later(PORT_AGAIN, self._try_port, openvpn)
        else:
            openvpn.open_port()
            self.pump()

    def kill(self) -> None:
        """It dies, and its sockets with it."""
        if self.openvpn is None:
            return
        self._server.disturb()
        self.openvpn.dead = True
        dead, self.openvpn = self.openvpn, None
        self.inbox.clear()
        self._hang_up("closed by openvpn")
        if self._watched is dead:
            self._clock.later(self._rng.choice(PROOFS), self._to_sidecar_of_death, dead)

    def _to_sidecar_of_death(self, dead: WatchedOpenvpn) -> None:
        source = f"pidfd {self._server.instance} {self.process.value}"
        self._server.machine.to_sidecar(source, lambda: self._prove(dead))

    def _prove(self, dead: WatchedOpenvpn) -> None:
        """The kernel has told the sidecar that watched it."""
        if self._watched is dead:
            self._watched = None
            self._server.disturb()
            self._server.machine.tell_pair(
                lambda pair, now: pair.process_ended(self._server.instance, self.process, now)
            )

    def end(self) -> None:
        """The sidecar has it ended; what watches over it starts it again."""
        if self._watched is self.openvpn:
            self.kill()
            self._clock.later(STARTED_AGAIN, self._start_again)

    def _start_again(self) -> None:
        if self._server.alive:
            self.start()

    def _hang_up(self, reason: str) -> None:
        """OpenVPN's end of the connection is closed."""
        number, self._accepted = self._connection, 0
        self._clock.later(SOCKET_DELAY, self._to_sidecar, lambda: self._be_down(number, reason))

    def break_management(self) -> None:
        """OpenVPN closes the connection in mid-line, and lives on."""
        if self.openvpn is None or not self._accepted:
            return
        self._server.disturb()
        number = self._connection
        piece = b">CLUSTER:CHANGED,00112233"
        self._clock.later(SOCKET_DELAY, self._to_sidecar, lambda: self._read(number, piece))
        self.openvpn.disconnect()
        self._hang_up("closed by openvpn")

    def report(self) -> None:
        """OpenVPN's second has passed."""
        if self.openvpn is not None and not self.inbox.stopped:
            if self.openvpn.plays(Role.MASTER) and self.openvpn.clients:
                self.openvpn.report(self._rng.choice(["HW", "HW", "BYTES"]))
                self.openvpn.lose_patience()
                self.openvpn.heal()
            self.pump()

    # The management channel.

    def connect_later(self, delay: float) -> None:
        """The sidecar connects, if it is still the same then."""
        machine = self._server.machine
        node = machine.node

        def run() -> None:
            if machine.node is node:
                self._connect()

        self._clock.later(delay, machine.to_sidecar, "timer", run)

    def _connect(self) -> None:
        if self.openvpn is None or self.barred or self._is_another(self.openvpn):
            self._miss()
            self.connect_later(CONNECT_RETRY)
            return
        self._server.disturb()
        self._connection += 1
        self._watched = self.openvpn
        number, openvpn = self._connection, self.openvpn
        self._clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept(number, openvpn))
        self._server.machine.step(
            lambda node, now: node.management_up(self._server.instance, now, *self._which)
        )

    def _is_another(self, openvpn: WatchedOpenvpn) -> bool:
        """Whether the one before is not known to be dead: nobody else is talked to until then."""
        return self.other is not None and self._watched not in (None, openvpn)

    def _miss(self) -> None:
        """It is not connected; with one process only, that is what the core believes anyway."""
        why = BARRED if self.barred else ABSENT if self.openvpn is None else ALIVE
        self._server.machine.tell_pair(
            lambda pair, now: pair.management_unreachable(
                self._server.instance, why, now, self.process
            )
        )

    @property
    def _which(self) -> tuple[Process, ...]:
        """A node that has no second process is not told which one it is."""
        return () if self.process is Process.MAIN else (self.process,)

    def _accept(self, number: int, openvpn: WatchedOpenvpn) -> None:
        if self.openvpn is openvpn:
            self._accepted = number
            openvpn.connect()
            self.pump()

    def forget_sidecar(self) -> None:
        """The sidecar is dead: its end of the connection is closed, and nobody is watched."""
        self._watched = None
        self.close()

    def close(self) -> None:
        """The sidecar's end of the connection is closed."""
        number, self._connection = self._connection, self._connection + 1
        self._clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept_end(number))

    def close_broken(self, reason: str) -> None:
        """The sidecar gives the connection up: only OpenVPN's silence is a good reason for that."""
        if self.openvpn is None or not self.inbox.stopped:
            text = f"{self.name}: {reason}"
            self._server.service.truth.violate("management channel broken", text)
        self.close()
        self._clock.later(0.0, self._be_down, self._connection, "closing")

    def _accept_end(self, number: int) -> None:
        if self.openvpn is not None and self._accepted == number:
            self._accepted = 0
            self.openvpn.disconnect()

    def _be_down(self, number: int, reason: str) -> None:
        if number == self._connection:
            self._server.disturb()
            self._connection += 1
            instance = self._server.instance
            self._server.machine.step(
                lambda node, now: node.management_down(instance, reason, now, *self._which)
            )
            self.connect_later(RECONNECT_DELAY)

    def _to_sidecar(self, action: Callable[[], None]) -> None:
        source = " ".join((f"mgmt {self._server.instance}", *self._which))
        self._server.machine.to_sidecar(source, action)

    def _to_openvpn(self, action: Callable[[], None]) -> None:
        if self.openvpn is not None:
            self.inbox.put("mgmt", action)

    def write(self, data: bytes, seeds: Heard | None = None) -> None:
        """The sidecar writes."""
        number = self._connection
        work = self._server.cluster.work * sum(data.count(word) for word in WORK)
        self._busy_until = max(self._clock.now + SOCKET_DELAY, self._busy_until) + work
        delay = self._busy_until - self._clock.now
        self._clock.later(delay, self._to_openvpn, lambda: self._take(number, data, seeds))

    def _take(self, number: int, data: bytes, seeds: Heard | None) -> None:
        if self.openvpn is not None and number == self._accepted:
            self.openvpn.seeds = seeds or self.openvpn.seeds
            self.openvpn.held_max = self._server.cluster.held_max
            self.openvpn.receive(data)
            self.pump()
            if self.openvpn.retired:
                self.kill()
                self._clock.later(STARTED_AGAIN, self._start_again)

    def pump(self) -> None:
        """What OpenVPN has said travels to the sidecar, cut anywhere."""
        data = self.openvpn.take_output() if self.openvpn is not None else b""
        if not data or not self._accepted:
            return
        number = self._accepted
        cut = self._rng.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            self._clock.later(
                SOCKET_DELAY, self._to_sidecar, lambda one=piece: self._read(number, one)
            )

    def _read(self, number: int, data: bytes) -> None:
        if number == self._connection and data:
            self._server.machine.step(
                lambda node, now: node.receive_management(
                    self._server.instance, data, now, *self._which
                )
            )
