"""A node's part on a desk: it speaks to an OpenVPN and a back channel that take notes."""

from __future__ import annotations

from collections import deque

from ovpnha.model import (
    ClientRecord,
    ColdPart,
    CounterKind,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    StoredRange,
    Sync,
    Uid,
)
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import LogEvent, Output, WriteManagement
from ovpnha.replication.protocol import Replication
from tests.openvpn_status import make_status

INSTANCE = InstanceName("udp")
A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
HOLDER = HolderId(b"h" * 16)
KEY = Fingerprint(b"k" * 8)
GRANT = Grant(HOLDER, KEY, 10, 20)
STORED = StoredRange(KEY, 20)
EPOCH = Epoch(1, A)
STATUS = make_status(holder=HOLDER)


def uid(number: int = 0) -> Uid:
    return Uid(number.to_bytes(8, "big"))


def record(
    number: int = 0, generation: int = 1, grants: tuple[Grant, ...] = (GRANT,)
) -> ClientRecord:
    return ClientRecord(uid(number), generation, b"hot", (ColdPart(1, b"id"),), grants)


def state(
    role: Role = Role.STANDBY,
    *,
    epoch: Epoch = EPOCH,
    vip: bool = False,
    sync: Sync = Sync.NONE,
    holder: HolderId = HOLDER,
    clients: int = 0,
) -> InstanceState:
    return InstanceState(
        role, epoch, vip, sync, 0, holder, clients, 1, "2.6.14", "digest", "cert", "issuer"
    )


class NoteTaker(Replication):
    """A back channel that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []

    def taken(self) -> list[tuple[object, ...]]:
        notes, self.notes = self.notes, []
        return notes

    def announce(self, instance: InstanceName, state: InstanceState | None, now: float) -> None:
        self.notes.append(("announce", state))

    def answer(self, now: float) -> None:
        self.notes.append(("answer",))

    def renew(self, instance: InstanceName, now: float, *, ended: bool) -> None:
        self.notes.append(("renew", ended))

    def last_heard(self, node: NodeName) -> float:
        raise NotImplementedError(node)

    def begin_source(self, instance: InstanceName, now: float) -> None:
        self.notes.append(("begin_source",))

    def publish(self, instance: InstanceName, record: ClientRecord, now: float) -> None:
        self.notes.append(("publish", record.uid, record.generation))

    def withdraw(self, instance: InstanceName, uid: Uid, now: float) -> None:
        self.notes.append(("withdraw", uid))

    def source_complete(self, instance: InstanceName, now: float) -> None:
        self.notes.append(("source_complete",))

    def end_source(self, instance: InstanceName, now: float) -> None:
        self.notes.append(("end_source",))

    def publish_counters(
        self, instance: InstanceName, kind: CounterKind, payload: bytes, now: float
    ) -> None:
        self.notes.append(("publish_counters", kind, payload))

    def announce_renegotiation(
        self, instance: InstanceName, uid: Uid, key_id: int, generation: int, now: float
    ) -> None:
        self.notes.append(("announce_renegotiation", uid, key_id, generation))

    def follow(self, instance: InstanceName, node: NodeName | None, now: float) -> None:
        self.notes.append(("follow", node))

    def resync(self, instance: InstanceName, now: float) -> None:
        self.notes.append(("resync",))

    def acknowledge(
        self,
        instance: InstanceName,
        uid: Uid,
        generation: int,
        stored: tuple[StoredRange, ...],
        now: float,
    ) -> None:
        self.notes.append(("acknowledge", uid, generation, stored))

    def reject(
        self, instance: InstanceName, uid: Uid, generation: int, reason: str, now: float
    ) -> None:
        self.notes.append(("reject", uid, generation, reason))


class Desk:
    """An OpenVPN channel whose writes are read as lines."""

    def __init__(self) -> None:
        self.outputs: deque[Output] = deque()
        self.openvpn = Openvpn(INSTANCE, self.outputs)
        self.backchannel = NoteTaker()
        self.openvpn.open()
        self.openvpn.holder = HOLDER

    def commands(self) -> list[str]:
        """The command lines written since the last call, without the parts of records."""
        self.openvpn.flush()
        data = b"".join(one.data for one in self.outputs if isinstance(one, WriteManagement))
        self.logs = [one for one in self.outputs if isinstance(one, LogEvent)]
        self.outputs.clear()
        return [line for line in data.decode().splitlines() if line.startswith("cluster-")]
