"""The commands ovpnha gives to OpenVPN, as frozen dataclasses that encode themselves.

Decides how a command is written, never when. Rules: docs/management.md, "Commands".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ovpnha.model import (
    COUNTER_ENTRY_SIZE,
    ClientRecord,
    CounterKind,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    Silence,
    Uid,
)

TEXT_CUT = 512
"""Characters of base64 in one line of a record."""

COUNTER_CUT = 720
"""Packed counter bytes in one line: whole entries of 20 and of 24, and under 1,023 characters."""

WAIT_LEASE = 3
"""Seconds for which OpenVPN waits for a sidecar that does not say again that it is to wait."""

HOLDERS_LIMIT = 15
"""Most holders that one export can name."""

HOLDERS_PER_WORD = 7

EXPORT_LIMIT = 128 * 1024
LIST_LIMIT = 4 * 1024 * 1024
VERSION_LIMIT = 4 * 1024
CLIENTS_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True)
class Command:
    """One command. ``block_limit`` is the most bytes that its lines before END may have."""

    name: ClassVar[str]
    block_limit: ClassVar[int] = 0  # 0: answered by one line
    free_text: ClassVar[bool] = False  # the lines have names that clients chose

    def encode(self) -> bytes:
        """The bytes to be written."""
        return _lines(self.name)


@dataclass(frozen=True)
class Status(Command):
    """Ask for role, holder id, epoch and configuration digest."""

    name = "cluster-status"


@dataclass(frozen=True)
class Handshakes(Command):
    """Ask how many clients are inside a handshake, when only this is asked."""

    name = "cluster-status"


@dataclass(frozen=True)
class ListInstances(Command):
    """Ask for every client and its generation."""

    name = "cluster-list"
    block_limit = LIST_LIMIT


@dataclass(frozen=True)
class Identities(Command):
    """Ask which client id of this OpenVPN process is which client of the cluster."""

    name = "cluster-list"
    block_limit = LIST_LIMIT


@dataclass(frozen=True)
class Export(Command):
    """Ask for one client's record, granting packet ids to these holders."""

    name = "cluster-export"
    block_limit = EXPORT_LIMIT
    uid: Uid
    holders: tuple[HolderId, ...] = ()

    def encode(self) -> bytes:
        """The uid, then words of at most seven holders: OpenVPN reads at most 255 bytes a word."""
        names = [holder.hex() for holder in self.holders[:HOLDERS_LIMIT]]
        words = [
            ",".join(names[at : at + HOLDERS_PER_WORD])
            for at in range(0, len(names), HOLDERS_PER_WORD)
        ]
        return _lines(" ".join([self.name, self.uid.hex(), *words]))


@dataclass(frozen=True)
class Import(Command):
    """Give a record to a standby. ``grants`` are this OpenVPN's own (rule R4)."""

    name = "cluster-import"
    record: ClientRecord
    grants: tuple[Grant, ...]

    def encode(self) -> bytes:
        """The record's parts in lines of at most ``TEXT_CUT`` characters of base64."""
        record = self.record
        lines = [b"%s %s %d\n" % (self.name.encode(), record.uid.hex().encode(), record.generation)]
        lines += _cut(b"HOT,", record.hot)
        for part in record.cold:
            lines += _cut(b"COLD,%d," % part.kind, part.data)
        return b"".join([*lines, *map(_grant, self.grants), b"END\n"])


@dataclass(frozen=True)
class PackedCounters:
    """Whole counter entries, as ``>CLUSTER:HW`` and ``>CLUSTER:BYTES`` carry them."""

    kind: CounterKind
    payload: bytes = field(repr=False)

    def lines(self) -> Iterator[str]:
        """Lines of at most ``COUNTER_CUT`` bytes; what is no whole entry is left out."""
        word = "HW" if self.kind is CounterKind.HIGH_WATER else "BYTES"
        size = COUNTER_ENTRY_SIZE[self.kind]
        whole = self.payload[: len(self.payload) // size * size]
        for at in range(0, len(whole), COUNTER_CUT):
            yield f"{word},{base64.b64encode(whole[at : at + COUNTER_CUT]).decode()}"


@dataclass(frozen=True)
class Update(Command):
    """Give a standby the counters of the master."""

    name = "cluster-update"
    counters: tuple[PackedCounters, ...]

    def encode(self) -> bytes:
        """The counters of all entries, one line each."""
        return _lines(
            self.name, *(line for packed in self.counters for line in packed.lines()), "END"
        )


@dataclass(frozen=True)
class Stored(Command):
    """Tell the sender that a holder's OpenVPN has stored its range."""

    name = "cluster-stored"
    uid: Uid
    fingerprint: Fingerprint
    holder: HolderId
    end: int

    def encode(self) -> bytes:
        """The range, named by key, holder and end."""
        return _lines(
            f"{self.name} {self.uid.hex()} {self.fingerprint.hex()} {self.holder.hex()} {self.end}"
        )


@dataclass(frozen=True)
class Cookie(Command):
    """Give OpenVPN the key of its cookies, 32 bytes, the same on all nodes."""

    name = "cluster-cookie"
    key: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The key on a line of its own: OpenVPN writes commands into its log, lines not."""
        return _lines(self.name, self.key.hex(), "END")


@dataclass(frozen=True)
class Drop(Command):
    """Remove one client from a standby, in silence."""

    name = "cluster-drop"
    uid: Uid

    def encode(self) -> bytes:
        """The uid."""
        return _lines(f"{self.name} {self.uid.hex()}")


@dataclass(frozen=True)
class Promote(Command):
    """Become master."""

    name = "cluster-promote"
    epoch: Epoch

    def encode(self) -> bytes:
        """The epoch, which OpenVPN keeps for a restarted sidecar."""
        return _lines(f"{self.name} {self.epoch}")


@dataclass(frozen=True)
class Hold(Command):
    """Become silent, keep everything."""

    name = "cluster-hold"


@dataclass(frozen=True)
class Demote(Command):
    """Drop every client and key, draw a new holder id, be standby."""

    name = "cluster-demote"


@dataclass(frozen=True)
class PassOn(Command):
    """Ask for link socket and tun; they come with the first byte of the answer."""

    name = "cluster-descriptors"


@dataclass(frozen=True)
class Take(Command):
    """Give a process that waits link socket and tun; they go with the bytes of the command."""

    name = "cluster-take"


@dataclass(frozen=True)
class SetSilence(Command):
    """What to do with what arrives while this process does not serve."""

    name = "cluster-silence"
    silence: Silence

    def encode(self) -> bytes:
        """One word."""
        return _lines(f"{self.name} {self.silence.value}")


@dataclass(frozen=True)
class Retire(Command):
    """End at once, without a word to clients; what the other process uses is left alone."""

    name = "cluster-retire"


@dataclass(frozen=True)
class Renegotiate(Command):
    """Renegotiate with one client; if it must wait, it has its turn with ``rate`` a second."""

    name = "cluster-reneg"
    uid: Uid
    rate: int = 50

    def encode(self) -> bytes:
        """The uid and the rate."""
        return _lines(f"{self.name} {self.uid.hex()} {self.rate}")


@dataclass(frozen=True)
class Kick(Command):
    """Tell one client to reconnect, under the newest key that is here."""

    name = "cluster-kick"
    uid: Uid

    def encode(self) -> bytes:
        """The uid."""
        return _lines(f"{self.name} {self.uid.hex()}")


@dataclass(frozen=True)
class KickClient(Command):
    """Tell one client through its control channel to reconnect, and forget it a little later.

    It keeps a password that somebody has typed in (``[P]``): one that runs as a daemon would end.
    """

    name = "client-kill"
    cid: int

    def encode(self) -> bytes:
        """The client id of this process, and what it is told."""
        return _lines(f"{self.name} {self.cid} RESTART,[P]")


@dataclass(frozen=True)
class Wait(Command):
    """Let each new client wait for ``Release``, or let all go."""

    name = "cluster-wait"
    on: bool

    def encode(self) -> bytes:
        """``on``, for so long, or ``off``."""
        return _lines(f"{self.name} {f'on {WAIT_LEASE}' if self.on else 'off'}")


@dataclass(frozen=True)
class Quiesce(Command):
    """Begin no handshake and no renegotiation for so long; 0 ends it."""

    name = "cluster-quiesce"
    seconds: int

    def encode(self) -> bytes:
        """The seconds."""
        return _lines(f"{self.name} {self.seconds}")


@dataclass(frozen=True)
class Release(Command):
    """Let one new client finish its connection."""

    name = "cluster-release"
    uid: Uid

    def encode(self) -> bytes:
        """The uid."""
        return _lines(f"{self.name} {self.uid.hex()}")


@dataclass(frozen=True)
class ReleaseHold(Command):
    """Let an OpenVPN with ``management-hold`` start."""

    name = "hold release"


@dataclass(frozen=True)
class StartAnew(Command):
    """Let an OpenVPN without the patch start anew, in its process: it reads its pool file."""

    name = "signal SIGUSR1"


@dataclass(frozen=True)
class LoadStats(Command):
    """Ask an OpenVPN without the patch how many clients it has."""

    name = "load-stats"


@dataclass(frozen=True)
class Room(Command):
    """Ask for the fewest packet ids that any client's key has left."""

    name = "cluster-room"


@dataclass(frozen=True)
class ClientStatus(Command):
    """Ask for every client with its names, addresses and byte counts."""

    name = "status 3"
    block_limit = CLIENTS_LIMIT
    free_text = True


@dataclass(frozen=True)
class Version(Command):
    """Ask an OpenVPN without the patch which version it is."""

    name = "version"
    block_limit = VERSION_LIMIT


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _cut(prefix: bytes, data: bytes) -> list[bytes]:
    size = TEXT_CUT // 4 * 3  # whole groups: the text of all is that of the pieces
    encode = binascii.b2a_base64  # with the end of the line
    return [prefix + encode(data[at : at + size]) for at in range(0, len(data), size)]


def _grant(grant: Grant) -> bytes:
    names = f"{grant.holder.hex()},{grant.fingerprint.hex()}"
    return f"GRANT,{names},{grant.start},{grant.end}\n".encode()
