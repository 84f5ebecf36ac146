"""Whole datagrams of a node that has been taken over: right key, right grammar, wrong content.

An input is a program. Each of its steps takes a message as a real node sends it, changes some of
its fields, and sends it once or many times over with rising numbers. The node that hears it is
source of one table and follower of another; what it keeps, says and plans must stay bounded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgpack

from ovpnha.model import BootId, ClientRecord, ColdPart, InstanceName, NodeName, Uid
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.hello import Hello
from ovpnha.replication.layout import Type
from ovpnha.replication.protocol import Replication
from ovpnha.replication.sealing import (
    PAYLOAD_LIMIT,
    BootTrust,
    ClusterKey,
    Kind,
    Sealer,
    cluster_tag,
    node_tag,
)
from tests.simulation.checks import count_bytes, count_things

SECRET = bytes(range(32))
FOLLOWED, OWN = InstanceName("udp"), InstanceName("tcp")
STEPS_LIMIT = 4
VALUES_LIMIT = 5000
OUTPUT_LIMIT = 1 << 20
SPINS_LIMIT = 50
WEIGH_EVERY = 500
SAY_AGAIN = 1.0
"""Seconds after which a node surely says hello again."""
RUNS = 20_000
"""Inputs for one node; then another begins."""
BYTES_LIMIT = 12 << 20
"""All bounds of docs/wire.md, "What a receiver may keep", and what the node itself needs."""
THINGS_LIMIT = 600_000

EDGES = (0, 1, 255, 1 << 31, 1 << 32, (1 << 62) + 1, (1 << 63) - 1, (1 << 64) - 1)
CHANGES: tuple[Callable[[Any, int], object], ...] = (
    lambda _old, number: number,
    lambda _old, number: EDGES[number % len(EDGES)],
    lambda _old, number: -number,
    lambda _old, number: bytes(number),
    lambda _old, number: b"\xff" * (number * 8),
    lambda _old, number: "\0" * number,
    lambda _old, _number: [],
    lambda old, number: [old] * (number * 4),
    lambda old, number: old[: number % (len(old) + 1)] if isinstance(old, bytes | list) else None,
    lambda old, _number: old * 2 if isinstance(old, bytes | list | str) else True,
    lambda old, number: old + number if isinstance(old, int) else {"": old},
    lambda _old, number: [[number, number + 1]] * 60,
)


class Program:
    """Bytes, taken one at a time; zeros when there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether any are left."""
        return self._at < len(self._data)

    def take(self, below: int = 256) -> int:
        """The next number."""
        self._at += 1
        return self._data[self._at - 1] % below if self._at <= len(self._data) else 0


def change(message: list[Any], program: Program) -> None:
    """Change one field, at any depth."""
    place = message
    at = program.take(len(place))
    while isinstance(place[at], list) and place[at] and program.take(4):
        place = place[at]
        at = program.take(len(place))
    place[at] = CHANGES[program.take(len(CHANGES))](place[at], program.take())


def is_large(message: list[Any]) -> bool:
    """Whether it has more values than any datagram; lists in lists multiply."""
    waiting: list[Any] = [message]
    seen = 0
    while waiting and seen + len(waiting) <= VALUES_LIMIT:
        seen += 1
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
    return bool(waiting)


def raised(value: Any, by: int, *, head: bool = False) -> Any:
    """The same with other numbers and uids; the kind at the head of a list stays."""
    match value:
        case bool():
            return value
        case int():
            return value if head and value < 32 else value + by
        case bytes() if len(value) == 8:
            return ((int.from_bytes(value, "big") + by) % (1 << 64)).to_bytes(8, "big")
        case bytes() if len(value) > 24:
            return _raise_body(value, by)
        case list():
            return [raised(one, by, head=not at) for at, one in enumerate(value)]
    return value


def _raise_body(data: bytes, by: int) -> bytes:
    with suppress(ValueError, msgpack.UnpackException):
        body = msgpack.unpackb(data)
        if isinstance(body, list):
            return bytes(msgpack.packb([raised(body[0], by), *body[1:]]))
    return data


class GrammarTarget:
    """A node that believes one which has been taken over."""

    def __init__(self, messages: Callable[[InstanceName, int], list[bytes]]) -> None:
        self._messages = messages
        self._now = 0.0
        self._begin()

    def _begin(self) -> None:
        self._runs = 0
        config = ReplicationConfig("fuzz", NodeName("a"), (SECRET,))
        self._node = Replication(config, boot=BootId(b"a" * 16), random=bytes, now=self._now)
        self._rounds = 0
        self._start_other()
        self._node.follow(FOLLOWED, NodeName("b"), self._now)
        self._node.begin_source(OWN, self._now)
        for number in range(20):
            cold = (ColdPart(3, b"IV_VER=%d" % number),)
            record = ClientRecord(Uid(number.to_bytes(8, "big")), 1, b"hot part", cold)
            self._node.publish(OWN, record, self._now)
        self._node.source_complete(OWN, self._now)
        own = self._node._sources[OWN]._stream
        packed = self._messages(FOLLOWED, 1 << 32) + self._messages(OWN, own)
        self._templates = [msgpack.unpackb(one) for one in packed]

    def _start_other(self) -> None:
        """The other node starts, and is believed."""
        self._rounds += 1
        self._boot = BootId(self._rounds.to_bytes(16, "big"))
        key = ClusterKey.create(SECRET, cluster_tag("fuzz"))
        self._sealer = Sealer(key, node_tag("b"), self._boot, bytes)
        self._now += SAY_AGAIN
        self._node.datagrams_to_send(self._now)  # a challenge that no boot has answered yet
        self._say_hello()

    def _say_hello(self) -> None:
        self._rounds += 1
        hello = Hello("b", b"c" * 16, (bytes(16),), self._rounds, 0, 1, ())
        self._give(Kind.HELLO, hello.encode())

    def _be_believed(self) -> None:
        """Whatever was said before: our challenge is always the same, so a hello answers it."""
        self._say_hello()
        known = self._node._opener._boots.get(self._boot)
        if known is None or known.trust is not BootTrust.BELIEVED:
            self._start_other()
            self._node.follow(FOLLOWED, NodeName("b"), self._now)

    def _give(self, kind: Kind, payload: bytes) -> None:
        self._node.receive_datagram(self._sealer.seal(kind, payload), "bcn", self._now)

    def __call__(self, data: bytes) -> None:
        self._now += 0.01
        self._runs += 1
        if self._runs > RUNS:
            self._begin()
        self._be_believed()
        program = Program(data)
        for _ in range(STEPS_LIMIT):
            if program.more:
                self._step(program)
        self._pass_time()
        if self._runs % WEIGH_EVERY == 0:
            self._weigh()

    def _step(self, program: Program) -> None:
        message = copy.deepcopy(self._templates[program.take(len(self._templates))])
        for _ in range(program.take(4)):
            change(message, program)
        if is_large(message):
            return  # no datagram holds it
        times = 1 + program.take(16) * program.take(4)
        with suppress(OverflowError, ValueError):
            for number in range(times):
                self._send([message[0], *raised(message[1:], number * (1 + self._runs % 97))])
        if program.take(4) == 0:
            self._now += program.take() / 100

    def _send(self, message: list[Any]) -> None:
        payload = msgpack.packb(message)[:PAYLOAD_LIMIT]
        self._give(Kind.HELLO if message[0] == Type.HELLO else Kind.STATE, payload)

    def _pass_time(self) -> None:
        """Everything that is due is said, and then nothing is due at once again."""
        size = spins = 0
        while spins == 0 or ((due := self._node.get_timer()) is not None and due <= self._now):
            spins += 1
            assert spins < SPINS_LIMIT, "the timer is always due"
            self._node.handle_timer(self._now)
            size += sum(len(one.data) for one in self._node.datagrams_to_send(self._now))
            assert size < OUTPUT_LIMIT, "an input makes the node say too much"
            while self._node.next_event() is not None:
                pass

    def _weigh(self) -> None:
        kept, things = count_bytes(self._node), count_things(self._node)
        assert kept < BYTES_LIMIT, f"{kept} bytes are kept"
        assert things < THINGS_LIMIT, f"{things} things are kept"


def seeds(count: int) -> Iterable[bytes]:
    """Each message as it is, in a row, changed once, and many times over."""
    for at in range(count):
        yield bytes([at, 0, 0, 0, 1])
        yield bytes([at, 0, 15, 3, 1])
        yield bytes([at, 1, 1, 1, 1, 1, 0, 0, 1])
        yield bytes([at, 0, 0, 0, 1, (at + 1) % count, 0, 0, 0, 1])
