"""Hello: who a node is, its challenge, whom it hears, and the state of its instances.

Decides nothing; docs/wire.md, "Hello", rules the fields. The state of an instance is flat on the
wire: ``HelloState`` lists it, and makes of it the ``InstanceState`` and the head of its log that
the rest of the program knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from ovpnha.errors import printable
from ovpnha.model import (
    HOLDER_SIZE,
    CheckState,
    Epoch,
    HolderId,
    InstanceName,
    InstanceState,
    Role,
    StockState,
    SwitchState,
    Sync,
    Verdict,
)
from ovpnha.replication.config import NAME_LIMIT
from ovpnha.replication.fields import (
    Flag,
    Instance,
    Node,
    Number,
    Parts,
    array_untrusted,
    check_part,
    fixed,
    flag,
    node,
    one_of,
    rows,
    text_untrusted,
)
from ovpnha.replication.layout import Field, Layout, Type, WireMessage, message, pack
from ovpnha.replication.records import (
    bytes_untrusted,
    malformed,
    number_untrusted,
    split_untrusted,
)
from ovpnha.replication.roundtrip import HEARD_LIMIT, HEARD_SIZE, Heard, pack_heard, unpack_heard
from ovpnha.replication.sealing import PAYLOAD_LIMIT
from ovpnha.replication.switching import pack_switch, unpack_switch_untrusted

CHALLENGE_SIZE = 16
SHORT_ARRAY = 15
"""Elements of an array of msgpack whose length needs no bytes of its own."""
LONG_ARRAY = 2  # bytes of the length of a longer one
ECHO_LIMIT = 24
HEAD_DIGEST_SIZE = 8
STATES_LIMIT = 64
DIGEST_TEXT_LIMIT = 64
VERSION_TEXT_LIMIT = 32
CHECKS_LIMIT = 6
"""Checks of one instance that a hello tells, those that failed first: they share its datagram."""
CHECK_TEXT_LIMIT = 48  # bytes
GRADE_LIMIT = 32767
KEY_NUMBER_SIZE = 4
KEYS_LIMIT = 4
"""Cluster keys that a hello names: a rotation needs two, and it has to fit one datagram."""
RELEASE_LIMIT = 24
HISTORY_DIGEST_SIZE = 8


def _text(limit: int, text: str = "{}") -> Field:
    """A text that is cut to so many characters; nothing but its end is lost."""
    return Field(lambda value: text_untrusted(value, limit), lambda value: str(value)[:limit], text)


def _grade(value: object) -> int:
    if type(value) is not int or abs(value) > GRADE_LIMIT:
        raise malformed()
    return value


def _digest(value: object) -> int:
    return int.from_bytes(bytes_untrusted(value, HEAD_DIGEST_SIZE, HEAD_DIGEST_SIZE), "big")


def _pack_digest(digest: int) -> bytes:
    return digest.to_bytes(HEAD_DIGEST_SIZE, "big")


def _clock(value: object) -> float:
    return number_untrusted(value) / 1e6


def _pack_clock(wall: float) -> int:
    return max(0, round(wall * 1e6))


def _heard(value: object) -> tuple[Heard, ...]:
    return unpack_heard(bytes_untrusted(value, HEARD_LIMIT * HEARD_SIZE))


def _echoes(value: object) -> tuple[bytes, ...]:
    echoes = array_untrusted(value, ECHO_LIMIT)
    return tuple(bytes_untrusted(echo, CHALLENGE_SIZE, CHALLENGE_SIZE) for echo in echoes)


def _keys(value: object) -> tuple[bytes, ...]:
    return tuple(split_untrusted(value, KEY_NUMBER_SIZE, KEYS_LIMIT))


def _history(value: object) -> bytes:
    size = HISTORY_DIGEST_SIZE if value else 0
    return bytes_untrusted(value, size, size)


Text = Annotated[str, _text(DIGEST_TEXT_LIMIT)]


def _cut(text: str) -> str:
    """So many bytes of it, and no half letter."""
    return text.encode("utf-8", "replace")[:CHECK_TEXT_LIMIT].decode("utf-8", "ignore")


CheckText = Annotated[str, Field(lambda value: text_untrusted(value, CHECK_TEXT_LIMIT))]


@dataclass(frozen=True, slots=True)
class HelloCheck:
    """What a hello says of one check of the service."""

    name: Annotated[str, _text(NAME_LIMIT)]
    verdict: Annotated[Verdict, one_of(Verdict)]
    critical: Flag
    resting: Flag
    stuck: Flag
    checked: Number
    text: CheckText

    @classmethod
    def of(cls, check: CheckState) -> HelloCheck:
        """The same, for the wire."""
        return cls(
            name=check.name,
            verdict=check.verdict,
            critical=check.critical,
            resting=check.resting,
            stuck=check.stuck,
            checked=check.checked,
            text=_cut(check.text),
        )

    @property
    def check(self) -> CheckState:
        """As the rest of the program knows it: what it shows cannot move a cursor."""
        return CheckState(
            name=printable(self.name),
            verdict=self.verdict,
            critical=self.critical,
            resting=self.resting,
            stuck=self.stuck,
            checked=self.checked,
            text=printable(self.text),
        )


CHECK = Layout(HelloCheck)
ChecksTold = Annotated[
    tuple[HelloCheck, ...],
    replace(rows(CHECK, CHECKS_LIMIT, "[check …]"), appended=True),
]


@dataclass(frozen=True, slots=True)
class LogHead:
    """How far a source's log reaches, and what its table is then."""

    stream: Number
    head: Number
    floor: Number
    changed: Number  # the newest number under which a client was published or withdrawn
    digest: Annotated[int, Field(_digest, _pack_digest, "{} 8")]  # of the whole table, since then
    complete: Annotated[bool, flag("whole")]


LOG_HEAD = Layout(LogHead)


def _log(value: object) -> LogHead | None:
    values = array_untrusted(value)
    return LOG_HEAD.read_untrusted(values) if values else None


def _pack_log(head: LogHead | None) -> list[object]:
    return [] if head is None else LOG_HEAD.write(head)


PAUSED = replace(flag(), appended=True)
SWITCH = Field(unpack_switch_untrusted, pack_switch, appended=True)


@dataclass(frozen=True, slots=True)
class HelloStock:
    """What a hello says of an OpenVPN without the patch."""

    role: Annotated[Role, one_of(Role)]
    whole: Flag


HELLO_STOCK = Layout(HelloStock)


def _stock(value: object) -> StockState | None:
    values = array_untrusted(value)
    if not values:
        return None
    told = HELLO_STOCK.read_untrusted(values)
    return StockState(told.role, told.whole)


def _pack_stock(stock: StockState | None) -> list[object]:
    return [] if stock is None else HELLO_STOCK.write(HelloStock(stock.role, stock.whole))


STOCK = Field(_stock, _pack_stock, appended=True)


@dataclass(frozen=True, slots=True)
class HelloState:
    """What a hello says of one instance, and of the log that it may have."""

    instance: Instance
    role: Annotated[Role, one_of(Role)]
    epoch_counter: Number
    epoch_node: Node
    vip: Annotated[bool, flag("has VIP")]
    sync: Annotated[Sync, one_of(Sync)]
    grade: Annotated[int, Field(_grade)]
    holder: Annotated[HolderId, fixed(HOLDER_SIZE)]
    clients: Number
    record_format: Number
    openvpn: Annotated[str, _text(VERSION_TEXT_LIMIT, "{} version")]
    digest: Text
    certificate: Text
    issuer: Text
    managed: Flag
    origin_counter: Number
    origin_node: Node
    touched: Flag
    partial: Flag
    log: Annotated[LogHead | None, Field(_log, _pack_log)]
    switchover: Annotated[SwitchState | None, SWITCH] = None
    paused: Annotated[bool, PAUSED] = False
    checks: ChecksTold = ()
    stock: Annotated[StockState | None, STOCK] = None

    @classmethod
    def of(
        cls, instance: InstanceName, state: InstanceState, log: LogHead | None = None
    ) -> HelloState:
        """Sidecars that do not know of partial copies take one for a copy under way."""
        partial = state.sync is Sync.PARTIAL
        return cls(
            instance=instance,
            role=state.role,
            epoch_counter=state.epoch.counter,
            epoch_node=state.epoch.node,
            vip=state.vip,
            sync=Sync.SYNCING if partial else state.sync,
            grade=state.grade,
            holder=state.holder,
            clients=state.clients,
            record_format=state.record_format,
            openvpn=state.openvpn,
            digest=state.digest,
            certificate=state.certificate,
            issuer=state.issuer,
            managed=state.managed,
            origin_counter=state.origin.counter,
            origin_node=state.origin.node,
            touched=state.touched,
            partial=partial,
            log=log,
            switchover=state.switchover,
            paused=state.paused,
            checks=tuple(map(HelloCheck.of, state.checks[:CHECKS_LIMIT])),
            stock=state.stock,
        )

    @property
    def state(self) -> InstanceState:
        """As the rest of the program knows it."""
        return InstanceState(
            role=self.role,
            epoch=Epoch(self.epoch_counter, self.epoch_node),
            vip=self.vip,
            sync=Sync.PARTIAL if self.partial else self.sync,
            grade=self.grade,
            holder=self.holder,
            clients=self.clients,
            record_format=self.record_format,
            openvpn=self.openvpn,
            digest=self.digest,
            certificate=self.certificate,
            issuer=self.issuer,
            managed=self.managed,
            origin=Epoch(self.origin_counter, self.origin_node),
            touched=self.touched,
            switchover=self.switchover,
            paused=self.paused,
            checks=tuple(one.check for one in self.checks),
            stock=self.stock,
        )


STATE = Layout(HelloState)
HeardList = Annotated[tuple[Heard, ...], Field(_heard, pack_heard, "{}: (round 4, age 4) …")]

Release = Annotated[str, replace(_text(RELEASE_LIMIT, "{} of ovpnha"), appended=True)]
KeyNumbers = Annotated[tuple[bytes, ...], Field(_keys, b"".join, "key numbers 4 …", appended=True)]
HistoryDigest = Annotated[bytes, Field(_history, text="history digest 8 or nothing", appended=True)]


@message(Type.HELLO)
@dataclass(frozen=True, slots=True)
class Hello(WireMessage):
    """The one message of a hello datagram."""

    name: Annotated[str, node("node name")]
    challenge: Annotated[bytes, fixed(CHALLENGE_SIZE)]
    echoes: Annotated[tuple[bytes, ...], Field(_echoes, text="[echo 16 …]")]
    round: Number
    part: Number
    parts: Parts
    states: Annotated[tuple[HelloState, ...], rows(STATE, STATES_LIMIT, "[state …]")]
    wall: Annotated[float, Field(_clock, _pack_clock, "clock")] = 0.0
    """The sender's clock, seconds since 1970; 0.0: not told."""
    heard: HeardList = ()
    """Of the boots whose challenges are the last echoes."""
    release: Release = ""
    """Version of the sender's ovpnha; "" when it does not tell."""
    keys: KeyNumbers = ()
    """The numbers of its first cluster keys: the first seals. () when it does not tell."""
    history: HistoryDigest = b""
    """Of the shared history as it knows it; b"": it knows nothing of that."""

    def check_untrusted(self) -> None:
        """Malformed, if there is no such part."""
        check_part(self.part, self.parts)


def split(whole: Hello, states: Iterable[HelloState]) -> list[Hello]:
    """This hello in as many parts as its states need, of which each is measured alone, so once.

    The checks of one that fits no datagram with all of them are left out from the last on.
    """
    groups, empty = [list[HelloState]()], PAYLOAD_LIMIT - len(whole.encode())
    free = empty
    for told in states:
        needs = _size(told, groups[-1])
        if groups[-1] and needs > free:
            groups.append([])
            free, needs = empty, _size(told, [])
        while told.checks and needs > free:
            told = replace(told, checks=told.checks[:-1])
            needs = _size(told, groups[-1])
        groups[-1].append(told)
        free -= needs
    return [
        replace(whole, part=part, parts=len(groups), states=tuple(group))
        for part, group in enumerate(groups)
    ]


def _size(told: HelloState, group: list[HelloState]) -> int:
    """The bytes that this state adds to those before it."""
    return len(pack(STATE.write(told))) + (LONG_ARRAY if len(group) == SHORT_ARRAY else 0)
