"""Who is connected, as a person asks: names, addresses and bytes of each client of this OpenVPN.

Asked only when somebody wants to know: OpenVPN does nothing else while it answers. Decides which of
OpenVPN's lines is which client of the cluster, and remembers from which node a client came. Must
never decide anything by what it knows: these are figures for the eye.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovpnha.management.commands import ClientStatus, Identities
from ovpnha.management.notices import DownNotice
from ovpnha.management.replies import ClientStatusReply, IdentitiesReply, ListReply
from ovpnha.model import NodeName, ServerClient, Uid
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import ConnectedClient, Roster
from ovpnha.node.part import Part


class Presence(Part):
    """The clients of one OpenVPN."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._uids: Mapping[int, Uid] = {}
        self._origins: dict[Uid, NodeName | None] = {}
        self._source: NodeName | None = None
        self._asked = 0
        self._stock = False
        self._clients: tuple[tuple[Uid | None, ServerClient], ...] = ()
        self._answers = 0

    def ask(self, *, stock: bool) -> None:
        """Ask OpenVPN; the roster's ``answers`` rises when it has answered."""
        self._stock = stock
        if not self._openvpn.connected:
            return
        self._asked += 1
        if not stock:
            self._openvpn.send(Identities())
        self._openvpn.send(ClientStatus())

    def take(self, event: object, _now: float) -> None:
        """OpenVPN has told of its clients, or one is gone."""
        match event:
            case IdentitiesReply(uids=uids):
                self._uids = uids
            case ClientStatusReply(clients=clients):
                self._tell(clients)
            case ListReply(moved=moved):
                self._note_moved(moved)
            case DownNotice(uid=uid):
                self._origins.pop(uid, None)

    def _tell(self, clients: Iterable[ServerClient]) -> None:
        """A client that is not connected yet has no uid."""
        if self._asked:
            self._asked -= 1
            self._answers += 1
            known = ((self._uids.get(one.cid), one) for one in clients)
            self._clients = tuple(pair for pair in known if pair[0] is not None or self._stock)

    def stop(self, _now: float) -> None:
        """OpenVPN is gone, and answers nothing that it was asked."""
        self._asked = 0
        self._uids, self._clients = {}, ()
        self._origins.clear()

    def promote(self, source: NodeName | None) -> None:
        """The clients of now came from this node; None when nobody knows any more."""
        self._source = source

    def _note_moved(self, uids: Iterable[Uid]) -> None:
        """These clients came from another node: from ``source``, unless known better."""
        for uid in uids:
            self._origins.setdefault(uid, self._source)

    def elsewhere(self, clients: Iterable[ServerClient], node: NodeName | None) -> Roster:
        """Without the patch and the VIP: who is connected to that node, as it has told."""
        known = (ConnectedClient(None, one, None, moved=True, origin=node) for one in clients)
        return Roster(self._answers, tuple(known))

    def roster(self, waits: Mapping[Uid, float | None], copied_from: NodeName | None) -> Roster:
        """Each client that OpenVPN told of.

        Args:
            waits: Of a master, for how many seconds each client has been unprotected.
            copied_from: Of a standby, the node that it follows.
        """
        return Roster(
            self._answers,
            tuple(
                ConnectedClient(
                    uid,
                    one,
                    waits.get(uid) if uid is not None else None,
                    copied_from is not None or uid in self._origins,
                    copied_from or (self._origins.get(uid) if uid is not None else None),
                )
                for uid, one in self._clients
            ),
        )
