"""Fences in the simulation: a program that cuts a node off, and the judge of what waits for it.

    RunFence ─► MachineFence.ask ─► later: it failed, or hung until killed ───► fence_done(why)
                                    or the node has no power for a while ──────────► fence_done("")

What a node was told is what counts: the last hello of each other node, which ``WatchedNode`` notes.
Must never ask a node whom it suspects.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovpnha.machines import Process, machine_of
from ovpnha.model import FencePolicy, InstanceName, InstanceState, NodeName, Role
from ovpnha.node.cluster.fence import CAPPED_FOR, QUIET, RETRIES
from ovpnha.node.outputs import RunFence
from ovpnha.problems import ProblemKind
from ovpnha.replication.config import Timings

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine
    from tests.simulation.server import Server

SHARE = 0.15
"""Of the schedules, how many have a required fence."""
SILENT = QUIET + 0.6
"""Seconds after its last hello at which a node counts as silent, by any measure."""
OFF = 1.0
"""Seconds until a node that was cut off is switched on again."""
PATIENCE = Timings().proof_timeout + QUIET + 0.3
"""Seconds within which it is known of every master whether it is silent."""
OPERATOR = 3.0
"""Seconds after which somebody looks at a node that does not know who was master."""
UNFENCED = 2.0
"""Seconds for which ``ovpnha promote --unfenced`` counts."""

Word = tuple[InstanceState, float]
"""What a node said last of an instance, and when that was heard."""


@dataclass(frozen=True)
class FencePlan:
    """How the program of a required fence behaves, on every machine alike."""

    failures: int = 0  # tries that do not succeed, of each machine against each other one
    seconds: float = 1.0  # that a try takes; a program that hangs is killed then
    unknown_waits: bool = False

    @property
    def longest(self) -> float:
        """Seconds from asking until it has succeeded, and nothing of a failure is left."""
        waits = sum(RETRIES[: self.failures]) + (CAPPED_FOR if self.failures else 0.0)
        return PATIENCE + OFF + waits + self.seconds * (self.failures + 1)

    def __str__(self) -> str:
        unknown = ", waits for word of a master" if self.unknown_waits else ""
        return f"fails {self.failures} times, takes {self.seconds:.2f} s{unknown}"


def draw_fence(seed: int) -> FencePlan | None:
    """The fence of a schedule, by dice of its own: most have none."""
    rng = random.Random(f"fence {seed}")  # noqa: S311 - a test's dice
    if rng.random() >= SHARE:
        return None
    late = FencePlan(0, rng.uniform(0.0, 3.0))
    fails = FencePlan(rng.choice((1, 1, 2)), rng.uniform(0.0, 0.5))
    hangs = FencePlan(1, 2.0)
    unknown = FencePlan(0, rng.uniform(0.0, 1.0), unknown_waits=True)
    return rng.choices((late, fails, hangs, unknown), (4, 1, 1, 3))[0]


class MachineFence:
    """The fence of one machine: what its sidecar's shell does, and what it may do by it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._plan = machine.cluster.schedule.fence
        self._start = 0  # of the sidecar: its programs end with it
        self._running: set[NodeName] = set()
        self._failures: dict[NodeName, int] = {}
        self._fenced: dict[NodeName, float] = {}  # when it had no power
        self._overruled: dict[InstanceName, float] = {}  # until when
        self._said: dict[NodeName, float] = {}  # when what was heard last had been said
        self._waits: dict[InstanceName, float] = {}  # since when a promotion waits
        self._lost: dict[InstanceName, float] = {}  # since when nobody knows a master

    @property
    def policy(self) -> FencePolicy:
        """What the sidecar is told."""
        return FencePolicy.OFF if self._plan is None else FencePolicy.REQUIRED

    @property
    def unknown_waits(self) -> bool:
        """The same."""
        return self._plan is not None and self._plan.unknown_waits

    def begin(self) -> None:
        """The sidecar starts: it knows nothing, and nothing runs."""
        self._start += 1
        for known in (self._running, self._failures, self._fenced, self._said):
            known.clear()
        for moments in (self._overruled, self._waits, self._lost):
            moments.clear()

    def hears(self, sender: str, deliver: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """What takes a datagram that is said now, whenever it comes."""
        now = self._machine.clock.now

        def take(data: bytes) -> None:
            name = NodeName(sender)
            self._said[name] = max(now, self._said.get(name, 0.0))
            deliver(data)

        return take if self._plan is not None else deliver

    def ask(self, wanted: RunFence) -> None:
        """Fence a node, unless that is under way."""
        if wanted.node in self._running:
            return
        assert self._plan is not None
        self._running.add(wanted.node)
        self._machine.clock.later(self._plan.seconds, self._end, wanted.node, self._start)

    def _end(self, node: NodeName, start: int) -> None:
        if start != self._start or self._machine.node is None:
            return
        assert self._plan is not None
        machine, text = self._machine, ""
        self._running.discard(node)
        if self._failures.get(node, 0) < self._plan.failures:
            self._failures[node] = self._failures.get(node, 0) + 1
            text = "exit code 1"
        else:
            self._failures.pop(node, None)
            self._fenced[node] = machine.clock.now
            machine.cluster.cut_off(node, OFF)
        machine.cluster.note(machine.name, f"fence of {node}: {text or 'done'}")
        machine.disturb()
        machine.to_sidecar(
            "fence", lambda: machine.step(lambda one, now: one.fence_done(node, text, now))
        )

    # The judge.

    def judge_promotion(self, server: Server, process: Process) -> None:
        """The order is given: no silent master may be left that was not cut off."""
        now = self._machine.clock.now
        serves = server.process(process).plays(Role.MASTER)
        if self._plan is None or serves or now < self._overruled.get(server.instance, 0.0):
            return
        words = self._words(server)
        if not words and self._plan.unknown_waits and not self._knows_other(server):
            server.service.truth.violate("promoted without word of a master", server.name)
        highest = max((state.epoch for state, _ in words.values()), default=None)
        for node, (state, heard) in words.items():
            machine = machine_of(node)
            said = self._said.get(machine, 0.0)
            silent = now > said + SILENT or (server.figures.vip and said < server.vip_since)
            last = state.role is Role.MASTER and state.epoch == highest
            if last and silent and self._fenced.get(machine, 0.0) <= heard:
                text = f"{server.name} over {node}, silent for {now - said:.2f} s"
                server.service.truth.violate("promoted over a silent master", text)

    def _words(self, server: Server, *, own: bool = False) -> dict[NodeName, Word]:
        """What other machines said last; ``own``: what those of this one told each other."""
        words: dict[NodeName, Word] = {}
        for core in self._machine.cores.values():
            for (instance, name), word in core.words.items():
                here = machine_of(name) == self._machine.name
                if instance == server.instance and here is own:
                    words[name] = max(word, words.get(name, word), key=lambda one: one[1])
        return words

    def _knows_other(self, server: Server) -> bool:
        """Whether the last master was the other process, whose end needs no fence."""
        said = self._words(server, own=True).values()
        return any(state.role is Role.MASTER for state, _ in said)

    def excuses(self, server: Server) -> bool:
        """Whether a node with the VIP need not serve yet: a fence runs, is tried again, or waits
        for word of a master.
        """
        if self._plan is None or self._machine.node is None or not server.figures.fence.fence_waits:
            self._waits.pop(server.instance, None)
            return False
        now = self._machine.clock.now
        asks = now < self._waits.setdefault(server.instance, now) + PATIENCE
        unknown = self._plan.unknown_waits and not self._words(server)
        return asks or bool(self._running or self._failures) or unknown

    def attend(self, server: Server) -> None:
        """An operator who has seen that no other node serves, for one that knows of nobody."""
        kinds = {one.kind for one in server.figures.problems} if self._machine.node else set()
        if self._plan is None or ProblemKind.FENCE_UNKNOWN not in kinds:
            self._lost.pop(server.instance, None)
            return
        now = self._machine.clock.now
        since = self._lost.setdefault(server.instance, now)
        others = [one for one in server.service.running if one is not server]
        if now < since + OPERATOR or any(one.serving() is not None for one in others):
            return
        self._overruled[server.instance] = now + UNFENCED
        server.disturb(UNFENCED)
        self._machine.step(
            lambda node, at: node.ask_promote(server.instance, UNFENCED, at, unfenced=True)
        )


def attend_all(cluster: Cluster) -> None:
    """Somebody looks at every machine."""
    for machine in cluster.running:
        for server in machine.servers:
            machine.fence.attend(server)
