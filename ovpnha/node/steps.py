"""The steps of a role: what is done, and in which order, when ``succession`` has decided.

::

                 promote                      hold (the VIP has gone)
      standby ────────────► master ◄──────────────────────────► held
         ▲                  │    ▲    resume, return                │
         │                  └────┘                                  │
         │                 overtake                                 │
         └──────────────────────────────────────────────────────────┘
                      demote (another node has served)

What can go wrong in a step, and which rule answers it:

* A copy is known to be older than what its client has accepted: it is dropped in the same write
  that promotes, before anything of it can be sent (invariant 5).
* Another node went on meanwhile: an epoch above its own is begun, and OpenVPN jumps over every
  range that it has granted (rule R3).
* The process dies between two lines: a new process finds OpenVPN in the role that was
  ordered, and decides again. No step keeps a memory of its own.

Rules: docs/roles.md, "Steps"; docs/architecture.md, "Invariants" and "Packet ids are owned".
"""

from __future__ import annotations

import math

from ovpnha.management.commands import Demote, Hold, ListInstances, Promote
from ovpnha.node.change import RoleChange
from ovpnha.node.parts import Parts
from ovpnha.node.role.lineage import Kin
from ovpnha.node.role.machine import MEANING, Trigger
from ovpnha.node.role.promotion import Carried
from ovpnha.node.role.succession import Step, next_epoch


class Steps:
    """Those of one instance."""

    def __init__(self, parts: Parts, change: RoleChange) -> None:
        self._parts = parts
        self._change = change

    def take(self, step: Step, now: float) -> None:
        """Carry out one step; ``Step.STAY`` is none."""
        {
            Step.PROMOTE: self._promote,
            Step.RESUME: self._resume,
            Step.RETURN: self._return,
            Step.HOLD: self._hold,
            Step.DEMOTE: self._demote,
            Step.OVERTAKE: self._overtake,
        }[step](now)

    def _promote(self, now: float) -> None:
        """Drop what is known to be stale and serve with the rest, in one write."""
        parts, importer = self._parts, self._parts.importer
        table, whole = importer.table, self._parts.is_whole
        stale, lacks = importer.stale(), table.lacks()
        for uid in stale:
            importer.drops.order(uid)
        current = table.copies - sum(table.copy(uid) is not None for uid in stale)
        if not whole:
            unproved = int(not importer.proved)
            lacks = max(lacks, parts.view.most_clients() - current, unproved)
        origin, epoch = importer.epoch, next_epoch(parts.view.highest, parts.node)
        parts.own.begin(epoch, origin, lacks, now, whole=whole)
        silent = self._silence(now)
        self._begin_epoch(now, Carried(current, len(stale), lacks, silent=silent))
        parts.openvpn.log(
            "info" if whole and not lacks else "warning",
            "promoted",
            epoch=str(epoch),
            current=current,
            dropped=len(stale),
            lacking=lacks,
        )
        self._change.move(Trigger.PROMOTED, now)
        parts.presence.promote(origin.node or None)
        parts.predecessor.begin(importer.following, now)
        parts.rekey.promote(importer.retire(now), now)
        parts.counter_relay.promote()
        parts.successor.stop(now)
        self._become_source(now)

    def _resume(self, now: float) -> None:
        """Go on as if the VIP had never left."""
        parts = self._parts
        self._change.order(Promote(parts.own.epoch))
        parts.rekey.resume(now)
        parts.role.held_since = None
        parts.openvpn.log("info", "resumed", epoch=str(parts.own.epoch))
        parts.successor.stop(now)
        self._change.move(Trigger.RESUMED, now)
        parts.reconnecting.resume(now)
        parts.openvpn.send(ListInstances())  # a sidecar that found it held has not asked for keys

    def _return(self, now: float) -> None:
        """Go on above the heirs: with all clients that did not change there.

        The others have keys that are not here. They still take what is sent under the one before,
        and are told to reconnect.
        """
        parts, higher = self._parts, self._parts.view.highest
        newer = parts.successor.newer(parts.exporter.table.generations())
        outlived = self._is_outlived()
        parts.own.go_on(next_epoch(higher, parts.node))
        self._begin_epoch(now, Carried(parts.clients, reconnecting=len(newer)))
        parts.openvpn.log(
            "warning",
            "returned above another epoch",
            epoch=str(parts.own.epoch),
            higher=str(higher),
            changed=len(newer),
        )
        parts.rekey.resume(now)
        if outlived:
            parts.rekey.hurry()
        parts.reconnecting.begin(newer, now)
        parts.role.held_since = None
        if (heir := parts.successor.leave(now)) is not None:
            parts.predecessor.begin(heir, now)
        self._change.move(Trigger.RETURNED, now)
        self._become_source(now)

    def _hold(self, now: float) -> None:
        """Be silent at once, keep everything."""
        parts = self._parts
        self._change.order(Hold())
        parts.rekey.pause()
        parts.reconnecting.stop(now)
        parts.farewell.stop(now)
        parts.role.held_since = now
        parts.vip.break_promise()
        parts.successor.planned |= parts.vip.handed_over
        epoch, higher = str(parts.own.epoch), str(parts.view.highest)
        why = parts.role.reason or MEANING[Trigger.HELD]
        parts.openvpn.log("warning", "held", epoch=epoch, higher=higher, reason=why)
        self._change.move(Trigger.HELD, now)

    def _demote(self, now: float) -> None:
        """Wipe everything and be standby, with a new holder id."""
        parts = self._parts
        self._change.order(Demote())
        parts.role.held_since = None
        epoch, higher = str(parts.own.epoch), str(parts.view.highest)
        reason = parts.role.reason
        parts.openvpn.log("info", "demoted", epoch=epoch, higher=higher, reason=reason)
        parts.predecessor.stop(now)
        parts.successor.stop(now)
        self._change.move(Trigger.DEMOTED, now)
        parts.exporter.stop(now)
        parts.rekey.stop(now)
        parts.importer.reset(now)

    def fetch_anew(self, now: float) -> None:
        """As a standby: wipe the copy, be another holder, and fetch everything from the start."""
        parts = self._parts
        parts.importer.drops.unwiped = parts.openvpn.holder
        self._change.order(Demote())
        parts.importer.stop(now)
        parts.importer.reset(now)
        parts.openvpn.log("warning", "copy thrown away", reason="resync asked")

    def _overtake(self, now: float) -> None:
        """Stay master, above an epoch whose node does not have the VIP.

        A promotion in another epoch makes OpenVPN jump over every range it granted: its clients
        may have accepted packets of that node. If that has outlived ours, they refuse ours until
        they have new keys. What it received of them is listened for.
        """
        parts = self._parts
        if self._is_outlived():
            parts.rekey.hurry()
        if (heir := parts.heard_heir) is not None:
            parts.predecessor.listen(heir, now)
        parts.own.go_on(next_epoch(parts.view.highest, parts.node))
        self._change.order(Promote(parts.own.epoch))
        self._change.note_epoch()
        epoch = str(parts.own.epoch)
        parts.openvpn.log("warning", "overtaking an epoch without master", epoch=epoch)
        self._become_source(now)

    def _is_outlived(self) -> bool:
        """Whether our clients refuse our packet ids, having heard the node above us."""
        view = self._parts.view
        return view.lineage.judge(self._parts.own.epoch, view.highest) is Kin.ABOVE

    def _begin_epoch(self, now: float, carried: Carried) -> None:
        """Serve in the epoch that has just been made, because of the VIP."""
        parts = self._parts
        cause = self._cause(now)
        self._change.order(Promote(parts.own.epoch))
        self._change.note_epoch()
        parts.vip.unused = not parts.vip.here
        parts.promotion.begin(cause, now, carried)
        parts.traffic.watch(cause, now)

    def _cause(self, now: float) -> float:
        vip = self._parts.vip
        return vip.since if vip.arrived else now

    def _silence(self, now: float) -> float | None:
        """How long the last master had said nothing when the VIP came; None: not known."""
        parts = self._parts
        heard = parts.backchannel.last_heard(parts.view.highest.node)
        return None if heard == -math.inf else max(0.0, self._cause(now) - heard)

    def _become_source(self, now: float) -> None:
        self._parts.exporter.start(now)
        self._parts.openvpn.send(ListInstances())
