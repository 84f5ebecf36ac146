"""Two processes of OpenVPN on one machine: two nodes, and one VIP between them.

::

              ┌──── datagrams, in the same step ────┐
              ▼                                     ▼
     Node "n1" (main)                     Node "n1:spare"
       │  ▲  management of each process       │  ▲
       ▼  │                                   ▼  │
     WriteManagement …  ──►  Pair  ◄──  WriteManagement …
                              │
                              ▼   of the machine: grade, role, fence, and all datagrams
                            shell

Each of the two is a whole node, with a boot, holders and epochs of its own; they hear each other as
they hear all others, but without a network. ``Pair`` has the face of a ``Node``. What it adds:

* the VIP: each process is told that it is here only if the slot is its own (``arbiter``, and
  ``moving`` for a move in order); never both;
* what the machine is, which is what the process with the slot is. While the slot is between the
  two, or it is not known yet whether a process whose connection has ended is dead, the last word
  stands, so that the VIP manager moves nothing that stays here;
* descriptors: one that waits is given those of the other, and who leaves the packets to whom.

Where no spare is wanted one may run all the same: left from before, or started by hand. So it is
looked for, and until one is there its node sleeps: it sends nothing, and nobody hears of it. From
then on the two are a pair like any other, since a main process that is promoted beside it, or waits
for what it has, would serve nobody.

Must never let both processes have the VIP, nor let one have it before the other, if that had it,
has answered its hold or is dead. Rules: docs/roles.md, "A spare"; docs/adr/0069.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from ovpnha.machines import Process, sibling_of
from ovpnha.model import (
    CheckState,
    InstanceName,
    NodeName,
    ServerClient,
    Unreachable,
    VipPlace,
)
from ovpnha.node.config import NodeConfig
from ovpnha.node.delegating import Delegating
from ovpnha.node.moving import RestartFigures
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    ClientView,
    HistoryChanged,
    LogEvent,
    OpenvpnFound,
    Output,
    RoleChanged,
    Roster,
    RunFence,
    SendDatagram,
    SetGrade,
)
from ovpnha.node.part import first
from ovpnha.node.slot import VipSlot
from ovpnha.node.statistics import NodeStatistics
from ovpnha.node.voice import tag
from ovpnha.replication.history import HistoryEntry

ROUNDS = 64
"""Most times that the two answer each other in one step; they have nothing more to say long
before."""
LATE = 0.5
"""Seconds after which a timer is late: this process was stopped, and so the two say hello before
one of them believes that the other has fallen silent."""


def spare_config(config: NodeConfig, names: Collection[InstanceName]) -> NodeConfig:
    """Of the node that the spare processes of these instances are."""
    replication = replace(config.replication, node=sibling_of(config.replication.node))
    instances = tuple(one for one in config.instances if one.name in names)
    return NodeConfig(replication, instances)


class Pair(Delegating):
    """Both nodes of one machine."""

    def __init__(
        self,
        main: Node,
        spare: Node,
        now: float,
        link: str,
        wanted: Collection[InstanceName] | None = None,
        always: Collection[InstanceName] = (),
    ) -> None:
        """Of these nodes.

        Args:
            main: The node of the main processes.
            spare: That of the spares.
            now: The time.
            link: By what the two hear each other, a name of one of their links.
            wanted: Instances that are to have a spare; None: all that ``spare`` has.
            always: Those that are to have one all the time.
        """
        self._cores = {Process.MAIN: main, Process.SPARE: spare}
        self._link = link
        self._outputs: deque[Output] = deque()
        self._inboxes: dict[Process, list[SendDatagram]] = {one: [] for one in Process}
        self._slots = {
            name: VipSlot(
                *(name, main, spare, self._outputs, now),
                wanted=wanted is None or name in wanted,
                always=name in always,
            )
            for name in spare.instance_names
        }
        self._awake = self._is_used()

    # OpenVPN.

    def management_up(
        self, instance: InstanceName, now: float, process: Process = Process.MAIN
    ) -> None:
        """The management socket of this process is connected."""
        if instance in self._slots:
            self._slots[instance].begin(process, now)
        self._cores[process].management_up(instance, now)
        self._go_on(now)

    def management_down(
        self, instance: InstanceName, reason: str, now: float, process: Process = Process.MAIN
    ) -> None:
        """It is closed, or cannot be connected."""
        if instance in self._slots:
            self._slots[instance].leave(process)
        self._cores[process].management_down(instance, reason, now)
        self._go_on(now)

    def management_unreachable(
        self, instance: InstanceName, why: Unreachable, now: float, process: Process = Process.MAIN
    ) -> None:
        """It cannot be connected, for this reason."""
        if instance in self._slots:
            self._slots[instance].miss(process, absent=why.absent)
        self._cores[process].management_unreachable(instance, why, now)
        self._go_on(now)

    def receive_management(
        self, instance: InstanceName, data: bytes, now: float, process: Process = Process.MAIN
    ) -> None:
        """Bytes as read from it."""
        self._cores[process].receive_management(instance, data, now)
        self._go_on(now)

    def process_ended(self, instance: InstanceName, process: Process, now: float) -> None:
        """It is certain that this process is dead; its connection has ended or is about to."""
        if instance in self._slots:
            self._slots[instance].end(process)
        self._go_on(now)

    # The network.

    def receive_datagram(self, data: bytes, link: str, now: float) -> None:
        """A datagram as read from a BCN socket."""
        self.receive_datagrams((data,), link, now)

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        """Datagrams that were waiting together."""
        for core in self._heeded:
            core.receive_datagrams(batch, link, now)
        self._go_on(now)

    def vip_changed(self, instance: InstanceName, present: bool, now: float) -> None:
        """The VIP arrived on this machine or left it; the first call tells the initial state."""
        if instance in self._slots:
            self._slots[instance].vip_changed(present, now)
        else:
            self._main.vip_changed(instance, present, now)
        self._go_on(now)

    def vip_placed(self, instance: InstanceName, place: VipPlace, now: float) -> None:
        """Where the VIP counts, and where it is."""
        for core in self._of(instance):
            core.vip_placed(instance, place, now)
        self._go_on(now)

    def grade_read(self, instance: InstanceName, read: bool, now: float) -> None:
        """Whether a VIP manager reads the grade."""
        for core in self._of(instance):
            core.grade_read(instance, read, now)
        self._go_on(now)

    def checks_told(
        self, states: Mapping[InstanceName, tuple[CheckState, ...]], now: float
    ) -> None:
        """What the checks of the service say now."""
        self._main.checks_told(states, now)
        spared = {name: checks for name, checks in states.items() if name in self._slots}
        self._spare.checks_told(spared, now)
        self._go_on(now)

    def link_changed(self, link: str, up: bool, now: float) -> None:
        """A BCN link can carry datagrams, or cannot."""
        for core in self._cores.values():
            core.link_changed(link, up, now)
        self._go_on(now)

    def fence_done(self, node: NodeName, text: str, now: float) -> None:
        """The program has ended, well if the text is empty."""
        for core in self._cores.values():
            core.fence_done(node, text, now)
        self._go_on(now)

    # The administrator.

    def use_keys(
        self, keys: Sequence[bytes], cookie_keys: Mapping[InstanceName, bytes], now: float
    ) -> None:
        """The cluster keys were read again."""
        for core in self._cores.values():
            core.use_keys(keys, cookie_keys, now)
        self._go_on(now)

    def restart_figures(self, instance: InstanceName, now: float) -> RestartFigures | None:
        """The two processes, and the last planned move; None: there is no second one."""
        slot = self._slots.get(instance)
        return slot.figures(now) if slot is not None and slot.used else None

    # Who looks.

    def statistics(self, now: float) -> NodeStatistics:
        """Everything ``status`` and metrics may read: of the machine."""
        whole = self._main.statistics(now)
        return replace(
            whole,
            instances=tuple(
                slot.describe(now) if slot is not None and slot.used else one
                for one in whole.instances
                for slot in (self._slots.get(one.name),)
            ),
            heard=tuple(one for one in whole.heard if one.name != self._spare.name),
        )

    def clients(self, instance: InstanceName) -> tuple[ServerClient, ...]:
        """Each client as OpenVPN last told."""
        return self._serving(instance).clients(instance)

    def table(self, instance: InstanceName, now: float) -> tuple[ClientView, ...]:
        """Each client that a master or held instance has."""
        return self._serving(instance).table(instance, now)

    def ask_clients(self, instance: InstanceName, now: float) -> None:
        """Somebody wants to know who is connected."""
        self._serving(instance).ask_clients(instance, now)
        self._go_on(now)

    def roster(self, instance: InstanceName, now: float) -> Roster:
        """Who is connected, as OpenVPN told when it was last asked."""
        return self._serving(instance).roster(instance, now)

    def history(self) -> tuple[HistoryEntry, ...]:
        """Every change of a role that this machine knows of."""
        return self._main.history()

    # Time and outputs.

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next."""
        cores = (core.get_timer() for core in self._heeded)
        return first((*cores, *(slot.get_timer() for slot in self._busy())))

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        due = self.get_timer()
        if self._awake and due is not None and now > due + LATE:
            self._greet(now)
        for core in self._heeded:
            core.handle_timer(now)
        for slot in self._busy():
            slot.handle_timer(now)
        self._go_on(now)

    def next_output(self) -> Output | None:
        """What the shell is to do next."""
        return self._outputs.popleft() if self._outputs else None

    def stop(self, now: float) -> None:
        """The sidecar stops: each that lives says so on the BCN, and draws nothing from it."""
        for core in self._heeded:
            core.stop(now)
            while (output := core.next_output()) is not None:
                self._outputs.append(output)

    @property
    def _main(self) -> Node:
        return self._cores[Process.MAIN]

    @property
    def _spare(self) -> Node:
        return self._cores[Process.SPARE]

    def _of(self, instance: InstanceName) -> list[Node]:
        """The nodes that have this instance."""
        return [self._main, self._spare] if instance in self._slots else [self._main]

    def _go_on(self, now: float) -> None:
        """Let the two hear each other, until there is no more news, then see what follows."""
        self._exchange(now)
        busy = self._busy()
        for slot in busy:
            left = ROUNDS
            while left and slot.advance(now):
                self._exchange(now)
                left -= 1
            slot.say(now)
        if busy and not self._awake and self._is_used():
            self._wake(now)

    def _busy(self) -> list[VipSlot]:
        """Those of which something may follow: a step costs what it concerns."""
        return [slot for slot in self._slots.values() if not slot.idle]

    def _is_used(self) -> bool:
        """Whether any spare is wanted, or there is one all the same."""
        return any(slot.used for slot in self._slots.values())

    @property
    def _heeded(self) -> list[Node]:
        """The nodes that live: that of the spares sleeps until there is a use for one."""
        return [self._main, self._spare] if self._awake else [self._main]

    def _wake(self, now: float) -> None:
        """There is a spare after all: its node goes on as after a stop of this process."""
        self._awake = True
        self._greet(now)
        self._spare.handle_timer(now)
        self._go_on(now)

    def _greet(self, now: float) -> None:
        """Let neither believe that the other has fallen silent."""
        for process in (Process.MAIN, Process.SPARE, Process.MAIN):
            self._cores[process].greet(now)
            self._exchange(now)

    def _exchange(self, now: float) -> None:
        left = ROUNDS
        while left and self._has_news():
            left -= 1
            for process in Process:
                waiting, self._inboxes[process] = self._inboxes[process], []
                for link, batch in groupby(waiting, lambda one: one.link or self._link):
                    data = [one.data for one in batch]
                    self._cores[process].receive_datagrams(data, link, now)

    def _has_news(self) -> bool:
        """Take what the two want done; whether one of them has something for the other."""
        for process in Process:
            self._collect(process)
        return any(self._inboxes.values())

    def _collect(self, process: Process) -> None:
        """Take what one of the two wants done."""
        while (output := self._cores[process].next_output()) is not None:
            match output:
                case SendDatagram() | LogEvent() if process is Process.SPARE and not self._awake:
                    pass  # nobody asks what it says
                case SendDatagram() if not self._awake:
                    self._outputs.append(output)
                case SendDatagram():
                    self._inboxes[process.other].append(output)
                    self._outputs.append(output)
                case HistoryChanged():
                    # the main one hears of all that the other one tells
                    self._outputs.extend([output] if process is Process.MAIN else [])
                case SetGrade() | RoleChanged() | OpenvpnFound() | RunFence():
                    slot = self._slots.get(output.instance)
                    if slot is None:
                        self._outputs.append(output)
                    else:
                        slot.take(process, output)
                case LogEvent(fields=fields) if process is Process.SPARE:
                    if "instance" in fields:
                        tagged = {**fields, "process": process.value}
                        self._outputs.append(replace(output, fields=tagged))
                case _:
                    self._outputs.append(tag(output, process))
