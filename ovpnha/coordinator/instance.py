"""One OpenVPN instance of this node: the role, and every step that changes it.

Decides what follows from an event by looking at the whole situation anew after each one
(``evaluate``), so that no order of events can lead astray. It asks ``succession`` for the step and
is the only one who moves the role. Must never wait: a promotion is written in the very call that
brings the VIP. Rules: docs/roles.md.
"""

from __future__ import annotations

from collections import deque

from ovpnha.coordinator.announcing import Announcer
from ovpnha.coordinator.config import InstanceConfig
from ovpnha.coordinator.discovery import Discovery
from ovpnha.coordinator.exporter import Exporter
from ovpnha.coordinator.figures import describe_standing, describe_state
from ovpnha.coordinator.grading import LISTENING
from ovpnha.coordinator.importer import Importer
from ovpnha.coordinator.obstacles import Obstacles
from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import CloseManagement, Output, RoleChanged
from ovpnha.coordinator.ports import Backchannel
from ovpnha.coordinator.promotion import Promotion
from ovpnha.coordinator.pulse import Pulse
from ovpnha.coordinator.rekey import Rekey
from ovpnha.coordinator.rivalry import Rivalry
from ovpnha.coordinator.serverfigures import ServerFigures
from ovpnha.coordinator.succession import Situation, Step, decide, next_epoch
from ovpnha.coordinator.view import ClusterView, find_difference
from ovpnha.coordinator.wishes import Wishes
from ovpnha.management.commands import Demote, Drop, Hold, ListInstances, Promote
from ovpnha.management.notices import RoleNotice
from ovpnha.model import (
    NO_EPOCH,
    Epoch,
    Grade,
    NodeName,
    OpenvpnStatus,
    Role,
    Sync,
    Unreachable,
)
from ovpnha.role.machine import MEANING, RoleMachine, Trigger

RETRY_ORDER_AFTER = 1.0
"""Seconds until an OpenVPN that refused an order about its role is asked what it is."""


class Instance:
    """One OpenVPN instance. Every event is followed by ``evaluate``."""

    def __init__(
        self,
        config: InstanceConfig,
        node: NodeName,
        backchannel: Backchannel,
        outputs: deque[Output],
        now: float,
    ) -> None:
        self.config = config
        self.openvpn = Openvpn(config.name, outputs)
        self.discovery = Discovery(self.openvpn, now, config.cookie_key)
        self.pulse = Pulse(self.openvpn, config.answer_within)
        self.server = ServerFigures(self.openvpn, per_client=config.per_client)
        self.view = ClusterView(now)
        self.exporter = Exporter(self.openvpn, backchannel, config.protect_wait)
        self.importer = Importer(self.openvpn, backchannel)
        self.rekey = Rekey(self.openvpn, config.rekey_after_promotion, config.rekey_rate)
        self.announcer = Announcer(self.openvpn, backchannel)
        self.promotion = Promotion()
        self.rivalry = Rivalry(self.openvpn)
        self.obstacles = Obstacles(self.openvpn, config.vip)
        self.unreachable: Unreachable | None = None
        self.epoch = NO_EPOCH
        self.wishes = Wishes(now)
        self.links_up = True
        self.relinked: float | None = None
        self._node = node
        self.started = self._now = now
        self._machine = RoleMachine()
        self._said_role = Role.INIT
        self.fault = ""
        self._held_since: float | None = None
        self._orders = 0  # role orders that OpenVPN has not answered yet
        self._retry_at: float | None = None
        self._closing = False

    @property
    def role(self) -> Role:
        """The role now."""
        return self._machine.role

    @property
    def clients(self) -> int:
        """How many clients our OpenVPN has."""
        if self.exporter.active:
            return len(self.exporter.table)
        return self.discovery.stock_clients if self.discovery.stock else self.importer.table.copies

    @property
    def sync(self) -> Sync:
        """How complete the copy of a standby is."""
        standby = self.role is Role.STANDBY
        return self.importer.sync(self.view.highest) if standby else Sync.NONE

    # The management channel.

    def connect(self, now: float) -> None:
        """The shell has connected to OpenVPN."""
        self._closing = False
        self.unreachable = None
        self._unlearn(now)
        self.openvpn.open()
        self.discovery.ask()

    def miss(self, unreachable: Unreachable) -> None:
        """The shell cannot connect to OpenVPN, and knows why."""
        self.unreachable = unreachable
        if self.role is Role.FAULT and not self.openvpn.connected:
            self.fault = self._down()

    def _down(self) -> str:
        why = self.unreachable
        return "OpenVPN is down" if why is None else f"OpenVPN is down: {why.reason}"

    def disconnect(self, reason: str, now: float) -> None:
        """The connection is gone. One that we had closed is not OpenVPN's end."""
        if self._closing:
            self._closing = False
            return
        if self.openvpn.unfinished:
            self.openvpn.log("warning", "management socket closed in mid-line")
        self._fail(f"OpenVPN is down: {reason}", now)
        self.epoch = NO_EPOCH
        self._forget(now, wait=False)
        self.openvpn.close()

    def reset(self, problem: str, now: float) -> None:
        """OpenVPN broke the contract of the channel: connect again. It may serve all the while."""
        self.openvpn.log("error", "management channel broken", problem=problem)
        self.openvpn.counters["management_errors"] += 1
        self.openvpn.put(CloseManagement(self.openvpn.instance, problem))
        self._closing = True
        self._unlearn(now)
        self.openvpn.close()

    def take_role_notice(self, notice: RoleNotice, now: float) -> None:
        """OpenVPN says its role. Unless an order is under way, it must be the one we know."""
        known = Role.STANDBY if self.role is Role.FAULT else self.role
        expected = notice.role is known and notice.holder == self.openvpn.holder
        if self.discovery.settled and not self._orders and not expected:
            self.openvpn.log("warning", "openvpn changed its role by itself")
            self._unlearn(now)
            self.discovery.ask()

    def order_done(self) -> None:
        """OpenVPN has carried out an order about its role."""
        self._orders -= 1

    def order_refused(self, order: str, reason: str, now: float) -> None:
        """OpenVPN has refused an order about its role: find out anew what it is."""
        self.openvpn.log("error", "openvpn refused an order", order=order, reason=reason)
        self.openvpn.counters["orders_refused"] += 1
        self._unlearn(now)
        self._retry_at = now + RETRY_ORDER_AFTER

    def set_links(self, up: bool, now: float) -> None:
        """Every BCN link can carry datagrams, or one cannot."""
        if up and not self.links_up:
            self.relinked = now
        self.links_up = up

    # The situation.

    def handle_timer(self, now: float) -> None:
        """Let what depends on time happen; ``evaluate`` must follow."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self.discovery.ask()
        if self.discovery.handle_timer(now):
            silent = self.openvpn.connected
            self._fail("OpenVPN does not answer" if silent else self._down(), now)
        if self.pulse.handle_timer(now) and self.discovery.settled:
            self._give_up(now)
        self.server.handle_timer(self.role, now)
        self.importer.handle_timer(now)
        self.exporter.handle_timer(now)
        self.rekey.handle_timer(now)

    def evaluate(self, now: float) -> None:
        """Do what the situation demands now."""
        self._now = now
        self._settle(now)
        while (step := decide(self._situation(now))) is not Step.STAY:
            self._take(step, now)
        self._choose(now)
        master = self.role is Role.MASTER
        if master and not self._orders:
            self.wishes.arrived = False
        self.exporter.set_holders(self.view.holders(), now, granting=master)
        if master:
            self.exporter.protection.set_ready(self.view.anyone_in_sync())
        else:
            self.exporter.protection.stop()
        self.rivalry.watch(self.view.rivals() if master and self.wishes.vip else [], now)
        if self.exporter.complete:
            self.promotion.reach("published", now)
        self._say(now)
        self.openvpn.flush()

    def get_timer(self) -> float | None:
        """When time alone will change something."""
        lone, silent = self.view.lone_since(), self.view.silent_since()
        moments = [
            self.discovery.ask_at,
            self.discovery.due if not self.discovery.answered else None,
            self._retry_at,
            *self.wishes.moments(),
            self.announcer.due,
            self.rivalry.due,
            self.pulse.due,
            self.server.due,
            self.importer.get_timer(),
            self.exporter.get_timer(),
            self.rekey.get_timer(),
            self._held_since + self.config.held_max if self._held_since is not None else None,
            lone + self.config.lone_after if lone is not None else None,
            silent + self.config.lone_after if silent is not None else None,
            self.relinked + LISTENING if self.relinked is not None else None,
            self.started + self.config.lone_after,
        ]
        return min((one for one in moments if one is not None and one > self._now), default=None)

    def _situation(self, now: float) -> Situation:
        held = self._held_since
        return Situation(
            role=self.role,
            able=self.discovery.settled,
            vip=bool(self.wishes.vip),
            arrived=self.wishes.arrived,
            promised=self.wishes.promised(now),
            epoch=self.epoch,
            highest=self.view.highest,
            highest_claimed=self.view.highest_is_claimed(),
            rivalled=bool(self.view.rivals()),
            demote_asked=self.wishes.demote_asked,
            held_over=held is not None and now >= held + self.config.held_max,
        )

    def _choose(self, now: float) -> None:
        """Follow the right master, unless this node must not replicate with it."""
        status = self.discovery.status
        if self.role not in (Role.STANDBY, Role.FAULT) or not self.discovery.settled:
            return
        assert status is not None  # noqa: S101 - settled means answered
        master = self.view.choose_master(self.importer.following, self.importer.epoch)
        state = self.view.state(master)
        difference = find_difference(status, state, self.config.tolerate) if state else ""
        if difference:
            self._differ(difference, master, now)
            return
        if self.role is Role.FAULT:
            self._move(Trigger.AGREES, now)
        self.importer.follow(master, state.epoch if state else NO_EPOCH, now)

    def _differ(self, difference: str, master: NodeName | None, now: float) -> None:
        self.importer.follow(None, NO_EPOCH, now)
        if difference != self.fault:
            self.openvpn.log("error", "must not replicate", problem=difference, node=master)
        self.fault = difference
        if self.role is Role.STANDBY:
            self._move(Trigger.DIFFERS, now)

    # Steps of the role.

    def _take(self, step: Step, now: float) -> None:
        {
            Step.PROMOTE: self._promote,
            Step.RESUME: self._resume,
            Step.HOLD: self._hold,
            Step.DEMOTE: self._demote,
            Step.OVERTAKE: self._overtake,
        }[step](now)

    def _promote(self, now: float) -> None:
        """Drop what is known to be stale and serve with the rest, in one write."""
        table = self.importer.table
        stale, lacks = self.importer.stale(), table.lacks()
        for uid in stale:
            self.openvpn.send(Drop(uid))
        self._begin_epoch(next_epoch(self.view.highest, self._node))
        self._order(Promote(self.epoch))
        self.promotion.begin(self.wishes.vip_since if self.wishes.arrived else now, now)
        self.openvpn.log(
            "info" if not lacks else "warning",
            "promoted",
            epoch=str(self.epoch),
            current=table.copies - sum(table.copy(uid) is not None for uid in stale),
            dropped=len(stale),
            lacking=lacks,
        )
        self._move(Trigger.PROMOTED, now)
        self.rekey.promote(table, now)
        self.importer.stop(now)
        self.importer.reset(now)
        self._become_source(now)

    def _resume(self, now: float) -> None:
        """Go on as if the VIP had never left."""
        self._order(Promote(self.epoch))
        self.rekey.resume(now)
        self._held_since = None
        self.openvpn.log("info", "resumed", epoch=str(self.epoch))
        self._move(Trigger.RESUMED, now)

    def _hold(self, now: float) -> None:
        """Be silent at once, keep everything."""
        self._order(Hold())
        self.rekey.pause()
        self._held_since = now
        self.wishes.break_promise()
        self.openvpn.log("warning", "held", epoch=str(self.epoch), higher=str(self.view.highest))
        self._move(Trigger.HELD, now)

    def _demote(self, now: float) -> None:
        """Wipe everything and be standby, with a new holder id."""
        self._order(Demote())
        self.openvpn.holder = None
        self._held_since = None
        self.wishes.demote_asked = False
        self.openvpn.log("info", "demoted", epoch=str(self.epoch), higher=str(self.view.highest))
        self._move(Trigger.DEMOTED, now)
        self.exporter.stop()
        self.rekey.stop()
        self.importer.reset(now)

    def _overtake(self, now: float) -> None:
        """Stay master, above an epoch whose node does not have the VIP.

        A promotion in another epoch makes OpenVPN jump over every range it granted: its clients
        may have accepted packets of that node.
        """
        self._begin_epoch(next_epoch(self.view.highest, self._node))
        self._order(Promote(self.epoch))
        self.openvpn.log("warning", "overtaking an epoch without master", epoch=str(self.epoch))
        self._become_source(now)

    def _order(self, order: Promote | Hold | Demote) -> None:
        """Tell OpenVPN its role, before anything else is done; it then waits for no client."""
        self._orders += 1
        self.exporter.protection.stop()
        self.openvpn.send(order)
        self.openvpn.flush()

    def _begin_epoch(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self.view.note_epoch(epoch)

    def _become_source(self, now: float) -> None:
        self.exporter.start(self.epoch, now)
        self.openvpn.send(ListInstances())

    # What was found, and what was lost.

    def _settle(self, now: float) -> None:
        """Take up the role that OpenVPN was found in, once the VIP is known too."""
        status, clients = self.discovery.status, self.discovery.clients
        if self.discovery.settled or status is None or clients is None or self.wishes.vip is None:
            return
        self.discovery.settled = True
        self.server.start(now)
        self.view.note_epoch(status.epoch)
        if status.role is Role.STANDBY:
            self.epoch = NO_EPOCH
            self.importer.table.find(clients)
            self._move(Trigger.FOUND_STANDBY, now)
        else:
            self._take_up(status, now)
            self.exporter.take_list(clients, now)

    def _take_up(self, status: OpenvpnStatus, now: float) -> None:
        """OpenVPN was found master or held: its clients are untouched, the source is rebuilt."""
        self.epoch = max(status.epoch, self.epoch)
        if status.role is Role.MASTER and self.wishes.wanted(now):
            if self.epoch == NO_EPOCH:
                self._begin_epoch(next_epoch(self.view.highest, self._node))
            self._move(Trigger.FOUND_MASTER, now)
            self.openvpn.send(ListInstances())
        else:
            if status.role is Role.MASTER:
                self._order(Hold())
            self._held_since = now
            self._move(Trigger.FOUND_HELD, now)
        self.exporter.start(self.epoch, now)

    def _fail(self, reason: str, now: float) -> None:
        """OpenVPN is of no use: the VIP manager hears it before anyone else."""
        self.fault = reason
        self._move(Trigger.LOST, now)
        self.openvpn.log("error", "openvpn lost", reason=reason)

    def _give_up(self, now: float) -> None:
        """OpenVPN hangs: another node must serve. Whoever connects next finds out when it wakes."""
        reason = "OpenVPN does not answer"
        self._fail(reason, now)
        self.openvpn.put(CloseManagement(self.openvpn.instance, reason))
        self._closing = True
        self._forget(now, wait=False)
        self.openvpn.close()

    def _unlearn(self, now: float) -> None:
        """What was known of OpenVPN may be wrong; it may serve all the while."""
        self._forget(now, wait=True)
        if self.role is not Role.INIT:
            self._move(Trigger.RECONNECTED, now)

    def _forget(self, now: float, *, wait: bool) -> None:
        self.discovery.forget(now, wait=wait)
        self.pulse.stop()
        self.server.stop()
        self.openvpn.holder = None
        self._orders = 0
        self._held_since = self._retry_at = None
        self.importer.stop(now)
        self.importer.lose_copy()
        self.exporter.stop()
        self.rekey.stop()

    # What is said.

    def _move(self, trigger: Trigger, now: float) -> None:
        self._machine.move(trigger)
        self._say_grade(now)
        if self.role not in (Role.INIT, self._said_role):
            reason = self.fault if self.role is Role.FAULT else MEANING[trigger]
            self.openvpn.put(
                RoleChanged(self.openvpn.instance, self._said_role, self.role, self.epoch, reason)
            )
            self._said_role = self.role
        if self.role is not Role.FAULT:
            self.fault = ""

    @property
    def _known(self) -> bool:
        return self.discovery.settled or self.discovery.stock or self.role is Role.FAULT

    def _say_grade(self, now: float) -> Grade:
        return (
            self.announcer.say_grade(describe_standing(self, now)) if self._known else Grade.FAULT
        )

    def _say(self, now: float) -> None:
        if self._known:
            self.announcer.say_state(describe_state(self, self._say_grade(now)), now)
