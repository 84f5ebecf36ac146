"""A lease: which client of an OpenVPN without the patch has which addresses.

It travels as the hot part of a record without cold parts and without grants, so that the log, its
repair and the proof of a copy are those of any other record. It has no key and no packet id, and
its first byte is no beginning of a patched OpenVPN's hot part; who follows a node without the patch
has an OpenVPN without it, too. Decides nothing; docs/wire.md, "Leases", rules the fields.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

import msgpack

from ovpnha.errors import RefusedDatagram
from ovpnha.model import UID_SIZE, ClientRecord, ServerClient, Uid
from ovpnha.replication.fields import Number, text_untrusted
from ovpnha.replication.layout import Field, Layout, pack
from ovpnha.replication.records import malformed, number_untrusted

FORMAT = 1
NAME_LIMIT = 128  # bytes, of a common name and of a user
ADDRESS_LIMIT = 80  # bytes, of an address with its port
SINCE_LIMIT = 2**48


def _text(limit: int) -> Field:
    return Field(lambda value: text_untrusted(value, limit))


Name = Annotated[str, _text(NAME_LIMIT)]
Address = Annotated[str, _text(ADDRESS_LIMIT)]


@dataclass(frozen=True, slots=True)
class Lease:
    """One connected client, as OpenVPN's ``status 3`` shows it."""

    format: Number
    name: Name
    user: Name
    address: Address
    virtual: Address
    virtual6: Address
    since: Number  # seconds since 1970; 0: not told

    @property
    def uid(self) -> Uid:
        """Names the lease by its addresses in the tunnel: nobody else has them at the time."""
        named = f"ovpnha lease\0{self.virtual}\0{self.virtual6}".encode()
        return Uid(hashlib.sha256(named).digest()[:UID_SIZE])

    @property
    def client(self) -> ServerClient:
        """The same, as a client is shown; its bytes are counted by its own server."""
        since = str(self.since) if self.since else ""
        place = (self.name, self.user, self.address, self.virtual, since)
        return ServerClient(*place, received=0, sent=0, virtual6=self.virtual6)


LEASE = Layout(Lease)


def find_lease(client: ServerClient) -> Lease | None:
    """The lease of a client; None of one without addresses, or with a name that is too long."""
    since = int(client.since) if client.since.isascii() and client.since.isdigit() else 0
    lease = Lease(
        *(FORMAT, client.name, client.user, client.address, client.virtual, client.virtual6),
        min(since, SINCE_LIMIT),
    )
    if not (lease.virtual or lease.virtual6):
        return None
    try:
        return LEASE.read_untrusted(LEASE.write(lease))
    except RefusedDatagram:
        return None


def pack_lease(lease: Lease, generation: int) -> ClientRecord:
    """The record that carries it."""
    return ClientRecord(lease.uid, generation, pack(LEASE.write(lease)))


def unpack_lease_untrusted(record: ClientRecord) -> Lease:
    """What a record carries; malformed, if that is no lease, or another's."""
    try:
        values = msgpack.unpackb(record.hot, max_array_len=64, max_map_len=0, max_ext_len=0)
    except Exception:  # msgpack raises whatever comes: it is the task boundary of its own parser
        raise malformed() from None
    if type(values) is not list or not values or number_untrusted(values[0]) != FORMAT:
        raise malformed()
    lease = LEASE.read_untrusted(values)
    if lease.uid != record.uid:
        raise malformed()
    return lease
