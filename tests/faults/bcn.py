"""Somebody on the back channel without the key, between node a and node b: drops, and holds back.

He is given more than he could have: he knows which datagram is what. Only what he does counts: he
changes nothing, and forges nothing.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ovpnha.replication import entries as en
from ovpnha.replication.config import Timings
from ovpnha.runtime.keyfile import read_keys
from tests.faults.fault import Fault, Say
from tests.integration.conftest import OPENVPN
from tests.lab import plan
from tests.lab.lab import GRADE_IN_SYNC, GRADE_MASTER, Lab
from tests.lab.node import Setup
from tests.lab.topology import inside, open_route
from tests.lab.waiting import POLL, wait_until
from tests.unit.replication.network import holds, is_hello

DEGRADED = 30
BUSY = 3.0
"""Seconds more that a busy machine may need."""
NOTICED = Timings().sync_timeout + 2 * Timings().hello_interval + BUSY
GONE = Timings().proof_timeout + BUSY
STAYS = 10.0
HELD_BACK = 45.0
RELEASED_EVERY = 1.0
PATIENCE = 20.0
ETH_P_ALL = 3
FRAME_LIMIT = 2048
IPV4, UDP = b"\x08\x00", 17
PAYLOAD_AT, CHECKSUM_AT = 42, 40

Wanted = Callable[[bytes], bool]


@dataclass
class Tap:
    """A wire between node b and the back channel, in the hands of somebody else.

    What node a sends, and he wants, is kept instead of passed on.
    """

    lab: Lab
    wanted: Wanted = lambda _datagram: False
    held: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Tap:
        namespace = self.lab.topology.namespace(plan.FABRIC)
        with open_route(namespace) as route:
            bridge = route.link_lookup(ifname=plan.BCN.name)[0]
            route.link("add", ifname="tap0", kind="veth", peer={"ifname": "tap1"})
            for name, master in (("tap0", 0), ("tap1", bridge), (f"b-{plan.BCN.name}", 0)):
                index = route.link_lookup(ifname=name)[0]
                route.link("set", index=index, master=master, state="up")
        with inside(namespace):
            self._node, self._network = map(_open, (f"b-{plan.BCN.name}", "tap0"))
            self._stop, self._stopped = socket.socketpair()
            self._thread = threading.Thread(target=self._carry)
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.close()
        self._thread.join()
        for one in (self._node, self._network, self._stopped):
            one.close()

    def _carry(self) -> None:
        ends = {self._node: self._network, self._network: self._node}
        while True:
            ready, _, _ = select.select([*ends, self._stopped], [], [])
            if self._stopped in ready:
                return
            for end in ready:
                frame, address = end.recvfrom(FRAME_LIMIT)
                if address[2] != socket.PACKET_OUTGOING:
                    self._pass(frame, ends[end])

    def _pass(self, frame: bytes, way: socket.socket) -> None:
        datagram = frame[12:14] == IPV4 and frame[23] == UDP
        if datagram:  # the checksum was left to the card: do without
            frame = frame[:CHECKSUM_AT] + bytes(2) + frame[PAYLOAD_AT:]
        if datagram and way is self._node and self.wanted(frame[PAYLOAD_AT:]):
            self.held.append(frame)
        else:
            way.send(frame)

    def let_go(self) -> None:
        """Everything passes from now on."""
        self.wanted = lambda _datagram: False

    def release(self) -> None:
        """Pass on the oldest that is held."""
        if self.held:
            self._node.send(self.held.pop(0))


def _open(interface: str) -> socket.socket:
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    one.bind((interface, ETH_P_ALL))
    return one


def _make_lab(say: Say) -> Lab:
    return Lab(Setup(openvpn=OPENVPN, vip_manager=None), say)


def _key(lab: Lab) -> bytes:
    return read_keys(lab.directory / "cluster.key")[0]


def _problems(lab: Lab) -> list[str]:
    problems = (lab.nodes["b"].sidecar.instance() or {}).get("problems", ())
    return [problem["kind"] for problem in problems]


def drop(pick: Callable[[bytes, bytes], bool], say: Say) -> str:
    """Drop some of what the master says, never a hello: the standby must say so, and recover."""
    with _make_lab(say) as lab, Tap(lab) as tap:
        lab.start_cluster()
        lab.start_client()
        lab.start_probes()
        lab.wait_in_sync("b")
        standby, key = lab.nodes["b"], _key(lab)
        say("dropping")
        tap.wanted = lambda datagram: not is_hello(datagram, key) and pick(datagram, key)
        lab.nodes["a"].sidecar.renegotiate()
        wait_until(lambda: tap.held, "something to drop", PATIENCE)
        began = time.monotonic()
        wait_until(lambda: standby.grade() == DEGRADED, "node b is not in sync", NOTICED)
        noticed = time.monotonic() - began
        wait_until(lambda: "not_proved" in _problems(lab), "node b says why", PATIENCE)
        while time.monotonic() < began + STAYS:
            assert standby.grade() == DEGRADED, "falsely in sync"
            time.sleep(POLL)
        tap.let_go()
        lab.wait_in_sync("b")
        wait_until(lambda: not _problems(lab), "no problem any more", PATIENCE)
        assert lab.nodes["a"].grade() == GRADE_MASTER
    return f"not in sync after {noticed:.1f} s, {len(tap.held)} datagrams dropped"


def hold_back(say: Say) -> str:
    """Keep every second hello, and let one go each second when their sender is dead.

    Meanwhile node b has the VIP, and its OpenVPN starts anew: it serves, unless another node says
    that it is master with the VIP.
    """
    with _make_lab(say) as lab, Tap(lab) as tap:
        lab.start_cluster()
        lab.start_client()
        lab.wait_in_sync("b")
        turns = 0

        def every_second(datagram: bytes) -> bool:
            nonlocal turns
            turns += is_hello(datagram, key)
            return is_hello(datagram, key) and turns % 2 == 0

        key, standby = _key(lab), lab.nodes["b"]
        tap.wanted = every_second
        say(f"holding hellos back for {HELD_BACK:g} s")
        wait_until(lambda: len(tap.held) >= HELD_BACK, "hellos to hold", 3 * HELD_BACK)
        assert standby.grade() == GRADE_IN_SYNC, "belief in a living master was lost"
        lab.nodes["a"].sidecar.process.kill()
        lab.nodes["a"].openvpn.kill()
        releasing = _Releasing(tap, time.monotonic())
        lab.move_vips("b")
        releasing.until(lambda: standby.grade() == GRADE_MASTER)
        standby.openvpn.kill()
        releasing.until(lambda: standby.grade() != GRADE_MASTER)
        standby.openvpn.start()
        releasing.until(lambda: standby.grade() == GRADE_MASTER)
        served = time.monotonic() - releasing.died
    return f"served {served:.1f} s after the death of the master"


class _Releasing:
    """The hellos of a dead node come one by one."""

    def __init__(self, tap: Tap, died: float) -> None:
        self._tap = tap
        self.died = self._due = died

    def until(self, condition: Callable[[], bool]) -> None:
        """Go on so; what is waited for must come before a dead node must be forgotten."""
        while not condition():
            if time.monotonic() >= self._due:
                self._tap.release()
                self._due += RELEASED_EVERY
            assert time.monotonic() < self.died + GONE, "a dead master is still believed"
            time.sleep(POLL)


FAULTS = (
    Fault("10-A3 state is dropped", 1, lambda say: drop(lambda _datagram, _key: True, say)),
    Fault(
        "10-A3 counters are dropped",
        1,
        lambda say: drop(lambda datagram, key: holds(en.Counters, datagram, key), say),
    ),
    Fault("10-A4 hellos are held back", 1, hold_back),
)
