"""What OpenVPN answers to each command, as frozen dataclasses.

Decides how a reply reads, never what follows from it. Rules: docs/management.md, "Commands".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ovpnha.errors import ManagementError
from ovpnha.management import commands
from ovpnha.management.clients import read_clients_untrusted
from ovpnha.management.codes import Code, read_code
from ovpnha.management.notices import OPENVPN_ROLES
from ovpnha.management.records import read_record_untrusted
from ovpnha.management.words import (
    printable,
    read_epoch,
    read_fingerprint_untrusted,
    read_holder_untrusted,
    read_number_untrusted,
    read_uid_untrusted,
)
from ovpnha.model import (
    ClientRecord,
    Descriptors,
    HolderId,
    OpenvpnStatus,
    ServerClient,
    Silence,
    StoredRange,
    Uid,
)

INSTANCES_LIMIT = 65536

UNATTENDED = ("cert", "token")
"""Ways to authenticate that ask nothing of a user in a renegotiation."""


@dataclass(frozen=True)
class StatusReply:
    """To ``cluster-status``."""

    status: OpenvpnStatus


@dataclass(frozen=True)
class HandshakesReply:
    """To ``cluster-status``, when only this is asked."""

    command: commands.Handshakes  # the very one: each is a question of its own moment
    handshakes: int


@dataclass(frozen=True)
class MovedClient:
    """A client whose newest key was made by another node."""

    room: int  # packet ids left to that key
    unattended: bool  # a renegotiation asks nothing of its user
    wait: float = 0.0  # seconds until that key is old enough to be renegotiated


@dataclass(frozen=True)
class ListReply:
    """To ``cluster-list``: the generation of every client."""

    clients: Mapping[Uid, int]
    moved: Mapping[Uid, MovedClient] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportReply:
    """To ``cluster-export``."""

    command: commands.Export
    record: ClientRecord


@dataclass(frozen=True)
class ImportReply:
    """To ``cluster-import``: the ranges that OpenVPN now has stored."""

    command: commands.Import
    stored: tuple[StoredRange, ...]


@dataclass(frozen=True)
class UpdateReply:
    """To ``cluster-update``."""

    applied: int
    unknown: int


@dataclass(frozen=True)
class PromoteReply:
    """To ``cluster-promote``."""

    instances: int
    microseconds: int


@dataclass(frozen=True)
class DemoteReply:
    """To ``cluster-demote``: the new holder id."""

    holder: HolderId


@dataclass(frozen=True)
class LoadStatsReply:
    """To ``load-stats``: all clients of this OpenVPN, and their bytes since it started."""

    clients: int
    received: int
    sent: int


@dataclass(frozen=True)
class RoomReply:
    """To ``cluster-room``."""

    clients: int
    lowest: int  # packet ids; of no meaning without clients


@dataclass(frozen=True)
class ClientStatusReply:
    """To ``status 3``."""

    clients: tuple[ServerClient, ...]


@dataclass(frozen=True)
class IdentitiesReply:
    """To ``cluster-list``, when only this is asked: clients by OpenVPN's client id."""

    uids: Mapping[int, Uid]


@dataclass(frozen=True)
class VersionReply:
    """To ``version``."""

    openvpn: str


@dataclass(frozen=True)
class Done:
    """The command was carried out and has nothing more to say."""

    command: commands.Command


@dataclass(frozen=True)
class Refused:
    """OpenVPN answered ERROR. ``reason`` is its own text, for people."""

    command: commands.Command
    code: Code
    reason: str = ""


Reply = (
    StatusReply
    | HandshakesReply
    | ListReply
    | ExportReply
    | ImportReply
    | UpdateReply
    | PromoteReply
    | DemoteReply
    | LoadStatsReply
    | RoomReply
    | ClientStatusReply
    | IdentitiesReply
    | VersionReply
    | Done
    | Refused
)


def read_success_untrusted(command: commands.Command, text: str) -> Reply:
    """Read what follows ``SUCCESS: `` in the answer to this command."""
    if isinstance(command, commands.LoadStats):
        return _read_load_stats_untrusted(text)
    if isinstance(command, commands.ReleaseHold | commands.StartAnew):
        return Done(command)
    name, _, rest = text.partition(" ")
    if name != command.name:
        raise ManagementError(f"OpenVPN answered something else to {command.name}")
    return _read_rest_untrusted(command, rest)


def read_error_untrusted(command: commands.Command, text: str) -> Refused:
    """Read what follows ``ERROR: `` in the answer to this command.

    An OpenVPN that knows the command names it in its answer.
    """
    about, _, rest = text.partition(": ")
    if about.split(" ")[0] == command.name:
        return Refused(command, *read_code(rest))
    return Refused(command, Code.FAILED if command.name in text else Code.UNKNOWN_COMMAND, text)


def read_block_untrusted(command: commands.Command, lines: Sequence[str]) -> Reply:
    """Read the lines before END in the answer to this command."""
    if isinstance(command, commands.Export):
        return ExportReply(command, read_record_untrusted(lines, command.uid))
    if isinstance(command, commands.ListInstances):
        return _read_list_untrusted(lines)
    if isinstance(command, commands.Identities):
        return _read_identities_untrusted(lines)
    if isinstance(command, commands.ClientStatus):
        return ClientStatusReply(read_clients_untrusted(lines))
    return _read_version(lines)


def _read_rest_untrusted(command: commands.Command, rest: str) -> Reply:
    if isinstance(command, commands.Import):
        return _read_import_untrusted(command, rest)
    if isinstance(command, commands.Status):
        return StatusReply(_read_status_untrusted(_Fields(command.name, rest)))
    fields = _Fields(command.name, rest)
    if isinstance(command, commands.Handshakes):
        return HandshakesReply(command, fields.optional_number("handshakes"))
    if isinstance(command, commands.Update):
        return UpdateReply(fields.number("applied"), fields.number("unknown"))
    if isinstance(command, commands.Promote):
        return PromoteReply(fields.number("instances"), fields.number("usec"))
    if isinstance(command, commands.Room):
        return RoomReply(fields.number("clients"), fields.number("lowest"))
    if isinstance(command, commands.Demote):
        return DemoteReply(read_holder_untrusted(fields.text("holder")))
    return Done(command)


class _Fields:
    """``key=value`` words, separated by commas; unknown keys are left alone."""

    def __init__(self, command: str, text: str) -> None:
        self._command = command
        self._values = dict(_pair(word) for word in text.split(","))

    def text(self, key: str) -> str:
        if key not in self._values:
            raise ManagementError(f"OpenVPN's answer to {self._command} has no {key}")
        return printable(self._values[key].encode())

    def number(self, key: str) -> int:
        return read_number_untrusted(self.text(key), key)

    def optional(self, key: str) -> str:
        text = printable(self._values.get(key, "").encode())
        return "" if text == "-" else text

    def optional_number(self, key: str) -> int:
        text = self.optional(key)
        return read_number_untrusted(text, key) if text else 0


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _read_status_untrusted(fields: _Fields) -> OpenvpnStatus:
    role = fields.text("role")
    if role not in OPENVPN_ROLES:
        raise ManagementError("OpenVPN's answer to cluster-status names an unknown role")
    return OpenvpnStatus(
        version=fields.number("version"),
        record_format=fields.number("format"),
        role=OPENVPN_ROLES[role],
        instances=fields.number("instances"),
        holder=read_holder_untrusted(fields.text("holder")),
        epoch=read_epoch(fields.text("epoch")),
        openvpn=fields.text("openvpn"),
        local=fields.optional("local"),
        port=fields.optional_number("port"),
        proto=fields.optional("proto"),
        broadcast=fields.optional("broadcast"),
        bcn_port=fields.optional_number("bcn-port"),
        digest=fields.optional("digest"),
        certificate=fields.optional("cert"),
        issuer=fields.optional("issuer"),
        max_clients=fields.optional_number("max-clients"),
        lapses=fields.optional_number("lapses"),
        unreleased=fields.optional_number("unreleased"),
        descriptors=_DESCRIPTORS.get(fields.optional("descriptors")),
        silence=_SILENCES.get(fields.optional("silence")),
        addresses=tuple(fields.optional("addresses").split()),
        apart=fields.optional_number("apart"),
        early=fields.optional_number("early") != 0,
    )


_DESCRIPTORS: Mapping[str, Descriptors] = {one.value: one for one in Descriptors}
_SILENCES: Mapping[str, Silence] = {one.value: one for one in Silence}


def _read_import_untrusted(command: commands.Import, rest: str) -> ImportReply:
    uid, generation = command.record.uid.hex(), str(command.record.generation)
    words = rest.split(" ")
    if words[:2] != [uid, generation]:
        raise ManagementError("OpenVPN answered for another import than the one under way")
    ranges = words[2].split(",") if len(words) > 2 and words[2] else []
    return ImportReply(command, tuple(_read_stored_untrusted(word) for word in ranges))


def _read_stored_untrusted(word: str) -> StoredRange:
    fingerprint, _, end = word.partition(":")
    return StoredRange(
        read_fingerprint_untrusted(fingerprint), read_number_untrusted(end, "end of a range")
    )


def _read_list_untrusted(lines: Sequence[str]) -> ListReply:
    if len(lines) > INSTANCES_LIMIT:
        raise ManagementError(f"OpenVPN listed more than {INSTANCES_LIMIT} clients")
    clients: dict[Uid, int] = {}
    moved: dict[Uid, MovedClient] = {}
    for line in lines:
        name, _, rest = line.partition(",")
        generation, *fields = rest.split(",")
        uid = read_uid_untrusted(name)
        clients[uid] = read_number_untrusted(generation, "generation")
        if len(fields) >= 4 and fields[1] == "moved":
            room = read_number_untrusted(fields[2], "number of packet ids")
            wait = read_number_untrusted(fields[4], "seconds") if len(fields) > 4 else 0
            moved[uid] = MovedClient(room, fields[3] in UNATTENDED, float(wait))
    return ListReply(clients, moved)


def _read_identities_untrusted(lines: Sequence[str]) -> IdentitiesReply:
    uids: dict[int, Uid] = {}
    for line in lines[:INSTANCES_LIMIT]:
        name, _, cid, *_ = [*line.split(","), "", ""]
        uids[read_number_untrusted(cid, "client id")] = read_uid_untrusted(name)
    return IdentitiesReply(uids)


def _read_load_stats_untrusted(text: str) -> LoadStatsReply:
    from ovpnha.management.figures import read_server_stats_untrusted

    stats = read_server_stats_untrusted(f"SUCCESS: {text}")
    return LoadStatsReply(stats.client_count, stats.bytes_in, stats.bytes_out)


def _read_version(lines: Sequence[str]) -> VersionReply:
    words = lines[0].split(" ") if lines else []
    return VersionReply(printable(words[3].encode()) if len(words) > 3 else "")
