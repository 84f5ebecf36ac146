"""Sealing and opening of datagrams: all that touches the cluster key and the clear header.

    0       4             12  13     16     20     28     44         52      64
    | magic | cluster tag | v | zero | key# | node | boot | sequence | nonce | kind, payload | tag |
    |<------------ clear, and authenticated ------------------------------->|<---- sealed ------->|

The key belongs to one sender and one boot. What can go wrong, and the rule that answers it:

* Junk: length and the first 13 bytes are compared before anything else.
* A flood in the name of boots that nobody knows: each costs a key and a decryption, so there is a
  budget for them, and nothing is remembered of what is not authentic.
* A datagram is sent again: each boot has a window of sequences. A sequence enters it only after
  authentication, so that nobody without the key can burn one. Over another link it is a duplicate.
* A recorded datagram of a dead boot is authentic, too: an unknown boot is a candidate, and may say
  nothing but hello until ``membership`` believes it; a retired one never again.
* A nonce is drawn twice: AES-GCM-SIV gives away only that two datagrams are equal.
* Somebody wants to know which datagrams are hellos, to drop the others: the kind is sealed. So
  those of candidates are opened, and refused afterwards.

Decides whether a datagram is authentic, fresh and of a boot that may speak; never what it means.
Ruled by docs/wire.md, "Datagrams". No exception says more than its reason.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ovpnha.errors import RefusedDatagram
from ovpnha.model import BootId
from ovpnha.replication.pacing import TokenBucket

MAGIC = b"oHA\x01"
VERSION = 2
DATAGRAM_LIMIT = 1200
TAG_SIZE = 16  # of the AEAD
NONCE_SIZE = 12
NODE_TAG_SIZE = 8
WINDOW = 2048
CANDIDATE_LIMIT = 64  # boots that are neither believed nor retired
RETIRED_LIMIT = 4096
UNKNOWN_RATE = 2000.0  # openings a second for boots never heard before
UNKNOWN_BURST = 200.0

_HEADER = struct.Struct("!4s8sB3xI8s16sQ12s")
_PREFIX = struct.Struct("!4s8sB")
_PREFIX_SIZE = _PREFIX.size
_REST = struct.Struct("!3xI8s16sQ12s")
_KEY = struct.Struct("!I")
_KEY_AT = slice(16, 20)
_BOOT_AT = slice(28, 44)
HEADER_SIZE = _HEADER.size
KIND_SIZE = 1
PAYLOAD_LIMIT = DATAGRAM_LIMIT - HEADER_SIZE - TAG_SIZE - KIND_SIZE
_SMALLEST = HEADER_SIZE + TAG_SIZE + KIND_SIZE


class Kind(enum.IntEnum):
    """What a datagram holds: the first byte that is sealed, so nobody without the key can tell."""

    HELLO = 1
    STATE = 2


class BootTrust(enum.Enum):
    """What a boot may say."""

    CANDIDATE = "candidate"
    BELIEVED = "believed"
    RETIRED = "retired"


def cluster_tag(cluster: str) -> bytes:
    """8 bytes that name a cluster."""
    return hashlib.sha256(b"ovpnha cluster\0" + cluster.encode()).digest()[:8]


def node_tag(node: str) -> bytes:
    """8 bytes that name a node."""
    return hashlib.sha256(b"ovpnha node\0" + node.encode()).digest()[:NODE_TAG_SIZE]


def _derive(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(key)


@dataclass(frozen=True)
class ClusterKey:
    """One cluster key and the number that names it on the wire."""

    secret: bytes = field(repr=False)
    salt: bytes
    number: int

    @classmethod
    def create(cls, secret: bytes, salt: bytes) -> ClusterKey:
        """Derive the number from the key itself, so that the key's position may change."""
        number = int.from_bytes(_derive(secret, salt, b"ovpnha key number", 4), "big")
        return cls(secret, salt, number)

    @property
    def name(self) -> bytes:
        """The number as every datagram has it in clear: it names the key and tells nothing."""
        return _KEY.pack(self.number)

    def cipher(self, tag: bytes, boot: bytes) -> AESGCMSIV:
        """The cipher of one sender and boot."""
        return AESGCMSIV(_derive(self.secret, self.salt, b"ovpnha seal 1" + tag + boot, 32))


class Sealer:
    """Seals this boot's datagrams under the first cluster key, counting its sequence."""

    def __init__(
        self, key: ClusterKey, tag: bytes, boot: BootId, random: Callable[[int], bytes]
    ) -> None:
        self._random = random
        self._sequence = 0
        self._tag = tag
        self._boot = boot
        self.use_key(key)

    def use_key(self, key: ClusterKey) -> None:
        """Seal under this key from now on; the sequence goes on."""
        self._cipher = key.cipher(self._tag, self._boot)
        self._number = key.number
        self._salt = key.salt

    def seal(self, kind: Kind, payload: bytes) -> bytes:
        """One datagram around a payload of at most ``PAYLOAD_LIMIT`` bytes."""
        self._sequence += 1
        nonce = self._random(NONCE_SIZE)
        header = _HEADER.pack(
            MAGIC,
            self._salt,
            VERSION,
            self._number,
            self._tag,
            self._boot,
            self._sequence,
            nonce,
        )
        return header + self._cipher.encrypt(nonce, bytes([kind]) + payload, header)


class ReplayWindow:
    """The sequences of one boot that were accepted, as a bit mask below the highest."""

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0
        self._links: dict[str, int] = {}

    def check(self, sequence: int, link: str) -> None:
        """Refuse what was accepted before, or is too old to know."""
        behind = self._highest - sequence
        if behind < 0:
            return
        if behind >= WINDOW:
            raise RefusedDatagram("replayed")
        if self._seen >> behind & 1:
            self._refuse_repeated(behind, link)

    def _refuse_repeated(self, behind: int, link: str) -> None:
        mask = self._links.get(link, 0)
        if mask >> behind & 1:
            raise RefusedDatagram("replayed")
        self._links[link] = mask | 1 << behind
        raise RefusedDatagram("duplicate")

    def accept(self, sequence: int, link: str) -> None:
        """Remember a sequence that passed ``check`` and authentication."""
        shift = sequence - self._highest
        if shift > 0:
            self._advance(shift)
            self._highest = sequence
        bit = 1 << (self._highest - sequence)
        self._seen |= bit
        self._links[link] = self._links.get(link, 0) | bit

    def _advance(self, shift: int) -> None:
        whole = (1 << WINDOW) - 1
        by = min(shift, WINDOW)
        self._seen = self._seen << by & whole
        for link, mask in self._links.items():
            self._links[link] = mask << by & whole


@dataclass
class _KnownBoot:
    tag: bytes
    trust: BootTrust = BootTrust.CANDIDATE
    window: ReplayWindow = field(default_factory=ReplayWindow)
    ciphers: dict[int, AESGCMSIV] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Opened:
    """An authentic datagram that was never accepted before. Its payload is still untrusted text."""

    kind: Kind
    tag: bytes
    boot: BootId
    sequence: int
    trust: BootTrust
    payload: bytes = field(repr=False)


class Opener:
    """Opens the datagrams of other boots, under any of the cluster keys."""

    def __init__(self, keys: Iterable[ClusterKey], boot: BootId, now: float) -> None:
        self._boots: dict[bytes, _KnownBoot] = {}
        self.use_keys(keys)
        salt = next(iter(self._keys.values())).salt
        self._prefix = _PREFIX.pack(MAGIC, salt, VERSION)
        self._own = boot
        self._budget = TokenBucket(UNKNOWN_RATE, UNKNOWN_BURST, now)

    def use_keys(self, keys: Iterable[ClusterKey]) -> None:
        """Open under these keys from now on. What a boot has proved stays proved."""
        self._keys = {key.number: key for key in keys}
        self._numbers = frozenset(_KEY.pack(number) for number in self._keys)
        for known in self._boots.values():
            for number in known.ciphers.keys() - self._keys.keys():
                del known.ciphers[number]

    @property
    def boots(self) -> int:
        """How many boots are remembered."""
        return len(self._boots)

    def set_trust(self, boot: BootId, trust: BootTrust) -> None:
        """Say what a known boot may say from now on."""
        known = self._boots.get(boot)
        if known is None:
            return
        known.trust = trust
        if trust is BootTrust.RETIRED:
            self._drop_oldest(BootTrust.RETIRED, RETIRED_LIMIT)

    def open_untrusted(self, data: bytes, link: str, now: float) -> Opened:
        """Open one datagram, or refuse it with a reason; cheapest checks first."""
        size = len(data)
        if not _SMALLEST <= size <= DATAGRAM_LIMIT or data[:_PREFIX_SIZE] != self._prefix:
            raise RefusedDatagram(self._why_not_ours(data))
        if data[_KEY_AT] not in self._numbers:
            if data[_BOOT_AT] == self._own:
                raise RefusedDatagram("own")
            raise RefusedDatagram("unknown_key")
        number, tag, boot, sequence, nonce = _REST.unpack_from(data, _PREFIX_SIZE)
        known = self._boots.get(boot)
        if known is None:
            self._check_stranger(boot, now)
            cipher = self._keys[number].cipher(tag, boot)
        else:
            self._check_known(known, tag, sequence, link)
            cipher = self._cipher(known, number, tag, boot)
        try:
            opened = cipher.decrypt(nonce, data[HEADER_SIZE:], data[:HEADER_SIZE])
        except InvalidTag:
            raise RefusedDatagram("unauthentic") from None
        if known is None:
            known = self._remember(boot, tag, number, cipher)
        known.window.accept(sequence, link)
        kind = _kind_untrusted(opened[0], known.trust)
        return Opened(kind, tag, BootId(boot), sequence, known.trust, opened[KIND_SIZE:])

    def _why_not_ours(self, data: bytes) -> str:
        if len(data) < _SMALLEST:
            return "truncated"
        if len(data) > DATAGRAM_LIMIT:
            return "oversized"
        if data[:4] != self._prefix[:4]:
            return "foreign"
        return "foreign_cluster" if data[4:12] != self._prefix[4:12] else "version"

    def _check_stranger(self, boot: bytes, now: float) -> None:
        if boot == self._own:
            raise RefusedDatagram("own")
        if not self._budget.take(1, now):
            raise RefusedDatagram("busy")

    @staticmethod
    def _check_known(known: _KnownBoot, tag: bytes, sequence: int, link: str) -> None:
        if tag != known.tag:
            raise RefusedDatagram("unauthentic")
        known.window.check(sequence, link)

    def _cipher(self, known: _KnownBoot, number: int, tag: bytes, boot: bytes) -> AESGCMSIV:
        cipher = known.ciphers.get(number)
        if cipher is None:
            cipher = self._keys[number].cipher(tag, boot)
            known.ciphers[number] = cipher
        return cipher

    def _remember(self, boot: bytes, tag: bytes, number: int, cipher: AESGCMSIV) -> _KnownBoot:
        known = _KnownBoot(tag, ciphers={number: cipher})
        self._boots[boot] = known
        self._drop_oldest(BootTrust.CANDIDATE, CANDIDATE_LIMIT)
        return known

    def _drop_oldest(self, trust: BootTrust, limit: int) -> None:
        same = [boot for boot, known in self._boots.items() if known.trust is trust]
        for boot in same[: max(0, len(same) - limit)]:
            del self._boots[boot]


def _kind_untrusted(kind: int, trust: BootTrust) -> Kind:
    """The kind of an authentic datagram, if a boot of this trust may say that."""
    if kind == Kind.HELLO:
        return Kind.HELLO
    if trust is BootTrust.RETIRED:
        raise RefusedDatagram("retired_boot")
    if trust is not BootTrust.BELIEVED:
        raise RefusedDatagram("not_believed")
    if kind != Kind.STATE:
        raise RefusedDatagram("version")
    return Kind.STATE
