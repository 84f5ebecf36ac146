"""What OpenVPN says of its own accord: lines that begin with ``>``.

Decides how such a line reads, never what follows from it. Rules: docs/management.md,
"Notifications".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovpnha.errors import ManagementError
from ovpnha.management.words import (
    printable,
    read_fingerprint_untrusted,
    read_holder_untrusted,
    read_number_untrusted,
    read_uid_untrusted,
)
from ovpnha.model import COUNTER_ENTRY_SIZE, CounterKind, Fingerprint, HolderId, Role, Uid

OPENVPN_ROLES: Mapping[str, Role] = {
    role.value: role for role in (Role.STANDBY, Role.MASTER, Role.HELD)
}

COUNTERS: Mapping[str, CounterKind] = {
    "HW": CounterKind.HIGH_WATER,
    "BYTES": CounterKind.BYTES,
}

COUNTERS_LIMIT = 900
"""Most bytes of packed counters in one line."""

NEEDS: Mapping[str, str] = {
    "PASSWORD": "management-query-passwords",
    "NEED-OK": "management-query-passwords",
    "NEED-STR": "management-query-passwords",
    "NEED-CERTIFICATE": "management-external-cert",
    "PK_SIGN": "management-external-key",
    "RSA_SIGN": "management-external-key",
    "PROXY": "management-query-proxy",
    "REMOTE": "management-query-remote",
}
"""Notifications that want an answer which ovpnha does not give, and the option that causes them."""

AUTHENTICATION = (b"CONNECT,", b"REAUTH,", b"CR_RESPONSE,")
"""What >CLIENT: begins with when a client waits to be let in; all else it only tells."""


@dataclass(frozen=True)
class RoleNotice:
    """OpenVPN's role or holder id has changed."""

    role: Role
    holder: HolderId


@dataclass(frozen=True)
class EndNotice:
    """OpenVPN has given up all its clients: it exits, or starts anew."""


@dataclass(frozen=True)
class ChangedNotice:
    """This client has something new that a standby must know."""

    uid: Uid
    generation: int
    reason: str  # connect, pending, keys, float, token, range


@dataclass(frozen=True)
class DownNotice:
    """The client is gone."""

    uid: Uid


@dataclass(frozen=True)
class RenegotiationNotice:
    """A renegotiation with this client has started."""

    uid: Uid
    key_id: int
    generation: int  # of the client meanwhile: its new key comes with a later one


@dataclass(frozen=True)
class RekeyedNotice:
    """A client that came from another node has a key of this one."""

    uid: Uid


@dataclass(frozen=True)
class CountersNotice:
    """Packed counters, passed on without being decoded."""

    kind: CounterKind
    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class StaleNotice:
    """The sender has jumped past this holder's range: its copy is stale until exported again."""

    uid: Uid
    fingerprint: Fingerprint
    holder: HolderId


@dataclass(frozen=True)
class CappedNotice:
    """A packet was dropped because this key has no owned packet id left."""

    uid: Uid
    fingerprint: Fingerprint


@dataclass(frozen=True)
class ApartNotice:
    """So many clients speak to an address of this node that does not move."""

    clients: int


@dataclass(frozen=True)
class HoldNotice:
    """OpenVPN waits for ``hold release`` before it starts."""


@dataclass(frozen=True)
class WaitingNotice:
    """OpenVPN waits for link socket and tun of another process, or for its end.

    That process has its port or, if ``by_configuration``, the same configuration, and is ``pid``,
    where that is not 0.
    """

    by_configuration: bool = False
    pid: int = 0


@dataclass(frozen=True)
class FatalNotice:
    """OpenVPN ends with this error."""

    text: str


@dataclass(frozen=True)
class NeedNotice:
    """OpenVPN wants an answer that ovpnha does not give; ``option`` makes it ask."""

    kind: str
    option: str


@dataclass(frozen=True)
class OtherNotice:
    """Anything else: INFO, LOG, STATE, BYTECOUNT and what later versions add."""

    kind: str


Notice = (
    RoleNotice
    | EndNotice
    | ChangedNotice
    | DownNotice
    | RenegotiationNotice
    | RekeyedNotice
    | CountersNotice
    | StaleNotice
    | CappedNotice
    | ApartNotice
    | HoldNotice
    | WaitingNotice
    | FatalNotice
    | NeedNotice
    | OtherNotice
)


def read_notice_untrusted(line: bytes) -> Notice:
    """Read one line that begins with ``>``."""
    kind, _, text = line[1:].partition(b":")
    if kind == b"CLUSTER":
        return _read_cluster_untrusted(text)
    name = printable(kind)[:32]
    if name == "HOLD":
        return HoldNotice()
    if name == "FATAL":
        return FatalNotice(printable(text))
    if name in NEEDS:
        return NeedNotice(name, NEEDS[name])
    if name == "CLIENT" and text.startswith(AUTHENTICATION):
        return NeedNotice(name, "management-client-auth")
    return OtherNotice(name)


def _read_cluster_untrusted(text: bytes) -> Notice:
    try:
        word, *arguments = text.decode("ascii").split(",")
    except UnicodeDecodeError:
        raise ManagementError("OpenVPN sent a >CLUSTER line that is not ASCII") from None
    if word in COUNTERS:
        return _read_counters_untrusted(COUNTERS[word], arguments)
    if word not in _CLUSTER:
        return OtherNotice(f"CLUSTER:{printable(word.encode())[:32]}")
    count, read = _CLUSTER[word]
    if len(arguments) < count:
        raise ManagementError(f"OpenVPN sent a >CLUSTER:{word} line with too few fields")
    return read(arguments)


def _read_counters_untrusted(kind: CounterKind, arguments: list[str]) -> CountersNotice:
    try:
        payload = base64.b64decode(",".join(arguments), validate=True)
    except (binascii.Error, ValueError):
        raise ManagementError("OpenVPN sent counters that are not base64") from None
    if not 0 < len(payload) <= COUNTERS_LIMIT or len(payload) % COUNTER_ENTRY_SIZE[kind]:
        raise ManagementError(f"OpenVPN sent counters not of 1 to {COUNTERS_LIMIT} whole bytes")
    return CountersNotice(kind, payload)


def _read_role_untrusted(arguments: list[str]) -> Notice:
    if arguments[0] not in OPENVPN_ROLES:
        raise ManagementError("OpenVPN sent a >CLUSTER:STATE line with an unknown role")
    return RoleNotice(OPENVPN_ROLES[arguments[0]], read_holder_untrusted(arguments[1]))


def _read_waiting_untrusted(arguments: list[str]) -> Notice:
    if arguments[:1] != ["configuration"]:
        return WaitingNotice()
    return WaitingNotice(True, read_number_untrusted(arguments[1], "pid") if arguments[1:] else 0)


def _read_changed_untrusted(arguments: list[str]) -> Notice:
    uid, generation, _, reason = arguments[:4]
    return ChangedNotice(
        read_uid_untrusted(uid),
        read_number_untrusted(generation, "generation"),
        printable(reason.encode())[:32],
    )


def _read_down_untrusted(arguments: list[str]) -> Notice:
    return DownNotice(read_uid_untrusted(arguments[0]))


def _read_renegotiation_untrusted(arguments: list[str]) -> Notice:
    return RenegotiationNotice(
        read_uid_untrusted(arguments[0]),
        read_number_untrusted(arguments[1], "key id"),
        read_number_untrusted(arguments[2], "generation"),
    )


def _read_rekeyed_untrusted(arguments: list[str]) -> Notice:
    return RekeyedNotice(read_uid_untrusted(arguments[0]))


def _read_stale_untrusted(arguments: list[str]) -> Notice:
    uid, fingerprint, holder = arguments[:3]
    return StaleNotice(
        read_uid_untrusted(uid),
        read_fingerprint_untrusted(fingerprint),
        read_holder_untrusted(holder),
    )


def _read_capped_untrusted(arguments: list[str]) -> Notice:
    return CappedNotice(read_uid_untrusted(arguments[0]), read_fingerprint_untrusted(arguments[1]))


_CLUSTER: Mapping[str, tuple[int, Callable[[list[str]], Notice]]] = {
    "STATE": (2, _read_role_untrusted),
    "END": (0, lambda _: EndNotice()),
    "WAITING": (0, _read_waiting_untrusted),
    "CHANGED": (4, _read_changed_untrusted),
    "DOWN": (1, _read_down_untrusted),
    "RENEG": (3, _read_renegotiation_untrusted),
    "REKEYED": (1, _read_rekeyed_untrusted),
    "STALE": (3, _read_stale_untrusted),
    "CAPPED": (2, _read_capped_untrusted),
    "APART": (1, lambda found: ApartNotice(read_number_untrusted(found[0], "number of clients"))),
}
