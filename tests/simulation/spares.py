"""Machines with spares in bad company: processes die, hang and come back, the VIP wanders.

Smaller than ``run``: worlds of ``tests/model_pair.py``, a back channel that loses and repeats, and
steps from a seed. What must hold while they happen: never two masters on one machine, and no packet
id twice. When all is healed: one master, where the VIP is, and everybody has what it has.

Must never look into a core: what a machine is, its processes and its VIP manager's file say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from ovpnha.machines import Process
from ovpnha.model import Grade, Role, Sync
from ovpnha.node.slot import VipSlot
from tests.model_cluster import INSTANCE, Network, World
from tests.model_openvpn import ModelOpenvpn
from tests.model_pair import ModelPair, add_pair

STEPS = 24
GAP = 1.2
"""Seconds between two steps at most."""
GRID = 0.002
"""Seconds between two looks."""
SETTLE = 12.0
"""Seconds after the healing within which everything must be as it should."""
RETRY = 0.3
"""Seconds after which a sidecar has connected again."""


def believe_closed_connections(slot: VipSlot) -> None:
    """A defect: who has lost its connection counts as dead, though it serves."""
    slot.leave = slot.end  # type: ignore[method-assign]


def take_silence_for_an_end(slot: VipSlot) -> None:
    """A defect: who says nothing, or cannot be reached, counts as one that does not serve."""
    look = slot._look
    slot._look = (  # type: ignore[method-assign]
        lambda process: replace(look(process), ended=True, told=True)
    )


class SpareRun:
    """One seed, to its end."""

    def __init__(self, seed: int, defect: Callable[[VipSlot], None] | None = None) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - a test's dice
        weather = self._rng.choice((Network(), Network(loss=0.1, repeat=0.2, jitter=0.02)))
        self._world = World(seed, weather)
        self._defect = defect
        self.violations: list[str] = []
        self._ever: list[ModelOpenvpn] = []
        self._sent: dict[tuple[bytes, int], int] = {}
        names = ["a", "b", "c"][: self._rng.choice((1, 1, 2, 3))]
        self._machines = [add_pair(self._world, name, start=False) for name in names]
        for one in self._machines:
            for process in Process:
                self._start(one, process)
            self._boot(one)

    def run(self) -> list[str]:
        """Everything that was broken."""
        self._pass(1.0)
        self._machines[0].set_vip(True)
        self._pass(1.0)
        for number in range(4):
            self._connect(f"client{number}")
        for _ in range(STEPS):
            self._pass(self._rng.choice((0.001, 0.01, 0.1, 1.0)) * GAP * self._rng.random())
            if self.violations:
                return self.violations
            self._step()
        self._heal()
        self._pass(SETTLE)
        if not self.violations:
            self._judge()
        return self.violations

    # What goes wrong.

    def _step(self) -> None:
        one = self._rng.choice(self._machines)
        process = self._rng.choice([one.serves or Process.MAIN, *Process])
        often = (self._crash, self._move, self._renegotiate)
        seldom = (self._drop, self._hang, self._flap, self._wander, self._sidecar, self._client)
        what = self._rng.choice((*often, *often, *seldom, self._bar))
        what(one, process)

    def _crash(self, one: ModelPair, process: Process) -> None:
        if process in one.openvpns:
            one.kill_process(process, proof=self._rng.choice((0.0001, 0.0008, 0.01)))
            self._later(one, process)

    def _later(self, one: ModelPair, process: Process) -> None:
        """The service manager starts it again, in a moment."""
        self._world.later(self._rng.choice((0.1, 0.5, 3.0)), self._start, one, process)

    def _start(self, one: ModelPair, process: Process) -> None:
        if process not in one.openvpns:
            self._ever.append(one.run_process(process, round_size=1 << 20))

    def _move(self, one: ModelPair, _process: Process) -> None:
        within = self._rng.choice((0.05, 1.0, 4.0))
        one.do(lambda pair, now: pair.ask_restart(INSTANCE, b"m", within, now))

    def _drop(self, one: ModelPair, process: Process) -> None:
        """The connection breaks; the process goes on."""
        if process in one.openvpns:
            one._detach(process, "closed by openvpn")
            self._world.later(self._rng.choice((0.02, RETRY)), self._attach, one, process)

    def _attach(self, one: ModelPair, process: Process) -> None:
        if process in one.openvpns and not one.openvpns[process].connected:
            one.attach(process)

    def _hang(self, one: ModelPair, process: Process) -> None:
        one.deaf.add(process)
        self._world.later(self._rng.choice((0.005, 0.3, 2.0)), one.hear_again)

    def _flap(self, one: ModelPair, _process: Process) -> None:
        if one.vip:
            one.set_vip(False)
            self._world.later(self._rng.choice((0.001, 0.3)), self._give, one)

    def _give(self, one: ModelPair) -> None:
        if not any(other.vip for other in self._machines):
            one.set_vip(True)

    def _wander(self, one: ModelPair, _process: Process) -> None:
        self._world.move_vip(one.name)

    def _sidecar(self, one: ModelPair, _process: Process) -> None:
        if one.pair is not None:
            one.end_sidecar()
            self._world.later(self._rng.choice((0.05, RETRY, 3.0)), self._boot, one)

    def _bar(self, one: ModelPair, process: Process) -> None:
        """A new sidecar does not reach a process; its configuration may not know of spares."""
        if one.pair is not None:
            one.end_sidecar()
            one.barred.add(process)
            one.wanted = self._rng.choice((True, False))
            self._boot(one)
            self._world.later(self._rng.choice((0.5, 3.0)), self._unbar, one, process)

    def _unbar(self, one: ModelPair, process: Process) -> None:
        one.barred.discard(process)
        self._attach(one, process)

    def _boot(self, one: ModelPair) -> None:
        if one.pair is None:
            pair = one.boot()
            if self._defect is not None:
                self._defect(pair._slots[INSTANCE])

    def _client(self, _one: ModelPair, _process: Process) -> None:
        self._connect("late")

    def _connect(self, name: str) -> None:
        for one in self._machines:
            if one.serves is not None:
                one.openvpns[one.serves].connect_client(name)
                one.pump_process(one.serves)
                return

    def _renegotiate(self, one: ModelPair, _process: Process) -> None:
        if one.serves is not None:
            openvpn = one.openvpns[one.serves]
            for uid in list(openvpn.clients)[:2]:
                openvpn.renegotiate(uid)
            one.pump_process(one.serves)

    def _heal(self) -> None:
        self._world.network = Network()
        for one in self._machines:
            one.hear_again()
            one.barred.clear()
            for process in Process:
                self._start(one, process)
                self._attach(one, process)
            self._boot(one)
        if not any(one.vip for one in self._machines):
            self._machines[0].set_vip(True)

    # What must hold.

    def _pass(self, seconds: float) -> None:
        end = self._world.now + seconds
        while self._world.now < end and not self.violations:
            self._world.run(min(GRID, end - self._world.now) if seconds < GAP else 0.05)
            self._look()

    def _look(self) -> None:
        for one in self._machines:
            masters = [openvpn for openvpn in one.openvpns.values() if openvpn.role is Role.MASTER]
            if len(masters) > 1:
                self.violations.append(f"{self._world.now:.4f} two masters on {one.name}")
                return
            for openvpn in masters:
                for uid in list(openvpn.clients):
                    openvpn.send_packet(uid)
                self._note(openvpn)

    def _note(self, openvpn: ModelOpenvpn) -> None:
        for key in openvpn.sent:
            if self._sent.setdefault(key, id(openvpn)) != id(openvpn):
                self.violations.append(f"packet id sent twice: {key}")
        if len(set(openvpn.sent)) != len(openvpn.sent):
            self.violations.append("packet id sent twice by one")

    def _judge(self) -> None:
        [holder] = [one for one in self._machines if one.vip]
        if holder.serves is None:
            self.violations.append(f"{holder.name} has the vip, and nobody serves")
            return
        table = holder.openvpns[holder.serves].table()
        figures = holder.told.figures
        serving = figures.main if figures.serving is Process.MAIN else figures.spare
        lacks = serving.sync is Sync.SYNCING  # others may keep what it lacks, and be held for that
        for one in self._machines:
            if one is not holder and one.serves is not None:
                self.violations.append(f"{one.name} serves without the vip")
            for process, openvpn in one.openvpns.items():
                # one that lacks clients is not followed in that: its standby may keep them
                if not table.items() <= openvpn.table().items():
                    self.violations.append(f"{one.name} {process.value} lacks clients")
            wanted = Grade.MASTER if one is holder else Grade.IN_SYNC
            if one.grades[-1].grade != wanted and not (lacks and one is not holder):
                self.violations.append(f"{one.name}: {one.grades[-1]}")
