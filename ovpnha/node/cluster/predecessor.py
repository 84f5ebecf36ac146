"""The node that served before this one, or beside it, as long as it may tell what it received last.

A client's packet that another node has received must not be accepted here once more. That node
tells its receive marks every second, and once more when it is held; the VIP may have come here
before either. So a node that has begun to serve listens on to the one that its clients came from,
also while it is held for a moment, and one that goes on above an heir, to that heir. Receive marks
only ever close: what is told late, twice or by a node that is wrong about its role takes nothing
from a client but packets that another one has overtaken. Neither records nor packet ids are taken
(rule R5).

Decides for how long. Rules: docs/roles.md, "Steps"; why so: docs/adr/0058.
"""

from __future__ import annotations

from ovpnha.model import InstanceName, NodeName
from ovpnha.node.part import Part
from ovpnha.node.role.vip import Vip
from ovpnha.replication.protocol import Replication

LISTEN_ON = 5.0
"""Seconds from when this node serves with the VIP: the other one sees it leave within a moment, and
until then tells its marks every second."""


class Predecessor(Part):
    """Of one instance."""

    def __init__(self, instance: InstanceName, backchannel: Replication, vip: Vip) -> None:
        self._instance = instance
        self._backchannel = backchannel
        self._vip = vip
        self._begun = 0.0
        self.following: NodeName | None = None

    def begin(self, node: NodeName | None, now: float) -> None:
        """This node serves now. ``node`` is followed already, and stays so; None: nobody was."""
        self.following, self._begun = node, now

    def listen(self, node: NodeName, now: float) -> None:
        """This node serves on, and that one, which is not followed yet, does not any more."""
        self._backchannel.follow(self._instance, node, now)
        self.begin(node, now)

    def give_way(self) -> None:
        """Another part listens now, to whom it likes."""
        self.following = None

    def get_timer(self) -> float | None:
        """When it has told what it had to tell; not before the VIP is here."""
        if self.following is None or self._vip.unused:
            return None
        return max(self._begun, self._vip.since) + LISTEN_ON

    def handle_timer(self, now: float) -> None:
        """Listen no longer than that."""
        ends = self.get_timer()
        if ends is not None and now >= ends:
            self.stop(now)

    def stop(self, now: float) -> None:
        """This node has no clients any more, or OpenVPN is gone."""
        if self.following is not None:
            self.following = None
            self._backchannel.follow(self._instance, None, now)
