"""Clients that OpenVPN was told to drop and has not said that it did.

What was ordered before the connection broke may be lost. A copy whose drop was lost is a ghost: its
client is gone, or has become another one, and nothing that is heard of it later makes it stale. So
what was not answered outlives the connection, and is dropped from the next list that shows it.

A drop that an import follows may have made room for it: then what the list shows at the generation
of that import is the new copy, and stays; what it shows at another is the old one. A wipe of the
whole copy that was lost is known by the holder id, which is still the one that OpenVPN had. Rules:
docs/architecture.md, invariant 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.management.commands import Command, Drop
from ovpnha.model import ClientRecord, HolderId, Uid
from ovpnha.node.openvpn.openvpn import Openvpn


@dataclass(frozen=True)
class OrderedDrop:
    """One drop, and what was imported after it."""

    command: Drop
    successor: int | None = None  # generation of the import that followed


class Drops:
    """Those of one standby, by client."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._unanswered: dict[Uid, OrderedDrop] = {}
        self.unwiped: HolderId | None = None  # who was told to wipe all, and has not answered

    @property
    def unanswered(self) -> list[Drop]:
        """What OpenVPN has still to answer, or never will."""
        return [drop.command for drop in self._unanswered.values()]

    def order(self, uid: Uid) -> None:
        """Tell OpenVPN to drop its copy of this client."""
        command = Drop(uid)
        self._unanswered[uid] = OrderedDrop(command)
        self._openvpn.send(command)

    def follow(self, record: ClientRecord) -> None:
        """This record is imported behind the drop of the same client, if there is one."""
        drop = self._unanswered.get(record.uid)
        if drop is not None:
            self._unanswered[record.uid] = OrderedDrop(drop.command, record.generation)

    def answered(self, command: Command) -> None:
        """OpenVPN has answered: the client is not there, or must not be dropped."""
        if isinstance(command, Drop):
            drop = self._unanswered.get(command.uid)
            if drop is not None and drop.command is command:
                del self._unanswered[command.uid]

    def clear(self) -> None:
        """OpenVPN has dropped everything."""
        self._unanswered.clear()
        self.unwiped = None

    def lost(self, clients: Mapping[Uid, int]) -> list[Uid]:
        """Of what OpenVPN lists after a break: what it should have dropped. The rest is settled."""
        before, self._unanswered = self._unanswered, {}
        return [
            uid
            for uid, drop in before.items()
            if clients.get(uid, drop.successor) != drop.successor
        ]
