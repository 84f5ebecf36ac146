"""What goes wrong, and when: a list of steps drawn from a seed.

A schedule is data, so that the same seed is the same schedule, and so that steps can be left out
to find the few that matter.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ovpnha.machines import SparePolicy
from tests.simulation.fences import FencePlan, draw_fence
from tests.simulation.sparing import SHARE, SparePlan, draw_spares
from tests.simulation.steps import MASTER, Step

WEIGHTS = {
    "partition": 8,
    "one_way": 3,
    "front": 3,
    "isolate": 5,
    "weather": 7,
    "crash": 7,
    "last_words": 6,
    "kill_sidecar": 8,
    "stop_sidecar": 3,
    "kill_openvpn": 6,
    "restart_both": 4,
    "pause_sidecar": 6,
    "pause_openvpn": 4,
    "pause_machine": 5,
    "flap": 7,
    "vip_also": 4,
    "vip_cut": 4,
    "promote": 4,
    "demote": 5,
    "switchover": 12,
    "link_down": 4,
    "break_management": 2,
    "replay": 4,
    "junk": 2,
    "connect": 8,
    "disconnect": 8,
    "renegotiate": 14,
    "float": 7,
    "new_key": 5,
    "other_option": 4,
}

BURST = 0.4
"""Probability that a step follows the one before within milliseconds."""

SHORT = frozenset({"pause_openvpn", "pause_sidecar", "flap", "vip_cut", "vip_also", "promote"})
"""What is also tried for milliseconds; all else lasts at least a tenth of a second."""

ROUND = 1 << 20
"""Packet ids of a round with which no key runs out."""


@dataclass(frozen=True)
class Schedule:
    """One run."""

    seed: int
    nodes: int
    links: int
    preferred: bool  # priorities far apart: n0 takes the VIP back once it is in sync
    round_size: int
    packets: int
    clients: int  # of all instances together
    chaos: float  # seconds during which steps happen
    lost: frozenset[int]  # machines that are down when it ends, and stay so
    steps: tuple[Step, ...]
    differ: frozenset[int] = frozenset()  # machines whose OpenVPN has another option at the end
    work: float = 0.0  # seconds that an OpenVPN needs for one record
    instances: int = 1  # OpenVPNs on each machine, each with a VIP and clients of its own
    fence: FencePlan | None = None  # required, on every machine
    spares: SparePlan | None = None  # which machines have two processes of each OpenVPN

    @property
    def runs_short(self) -> bool:
        """A key's packet ids run out within seconds, and only traffic brings it another one."""
        return self.round_size < ROUND

    def spares_of(self, index: int) -> SparePolicy | None:
        """Whether a machine has spares; None: it has not."""
        there = self.spares is not None and index in self.spares.machines
        return self.spares.policy if self.spares is not None and there else None

    def without(self, steps: frozenset[int]) -> Schedule:
        """The same with fewer steps."""
        kept = tuple(step for number, step in enumerate(self.steps) if number not in steps)
        return replace(self, steps=kept)

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: {self.nodes} nodes, {self.instances} instance(s), "
            f"{self.links} BCN link(s), "
            f"{self.clients} clients, round {self.round_size}, "
            f"{'preferred' if self.preferred else 'sticky'}, "
            f"lost at the end: {sorted(self.lost) or 'none'}, "
            f"with another option: {sorted(self.differ) or 'none'}, fence: {self.fence or 'none'}, "
            f"spares: {self.spares or 'none'}"
        )
        return "\n".join([head, *(f"  {step}" for step in self.steps)])


def draw(seed: int, spares: float = SHARE) -> Schedule:
    """The schedule of this seed; ``spares``: of all schedules, how many have some."""
    rng = random.Random(seed)  # noqa: S311 - a test's dice
    nodes = rng.choices((2, 3, 4, 5), (45, 40, 9, 6))[0]
    chaos = rng.uniform(3.0, 11.0)
    small = rng.random() < 0.3
    lost = frozenset(one for one in range(1, nodes) if rng.random() < 0.1)
    plan = draw_spares(seed, nodes, chaos, spares)
    return Schedule(
        seed=seed,
        nodes=nodes,
        links=rng.choice((1, 1, 2)),
        preferred=rng.random() < 0.3,
        round_size=rng.choice((16, 64, 256)) if small else ROUND,
        packets=rng.choice((1, 3)),
        clients=rng.choice((0, 1, 2, 4, 8, 8, 16, 40)),
        chaos=chaos,
        lost=lost,
        steps=_merge(_draw_steps(rng, nodes, chaos), plan),
        differ=frozenset(one for one in range(nodes) if rng.random() < 0.05),
        instances=rng.choices((1, 2, 3), (65, 25, 10))[0],
        fence=draw_fence(seed),
        spares=plan,
    )


def _merge(steps: list[Step], plan: SparePlan | None) -> tuple[Step, ...]:
    """In the order in which they happen."""
    more = plan.steps if plan is not None else ()
    return tuple(sorted((*steps, *more), key=lambda step: step.at))


def _draw_steps(rng: random.Random, nodes: int, chaos: float) -> list[Step]:
    count = rng.choice((4, 8, 12, 20, 30))
    kinds = rng.sample(sorted(WEIGHTS), rng.randint(4, len(WEIGHTS)))
    weights = [WEIGHTS[kind] for kind in kinds]
    steps: list[Step] = []
    at = 0.0
    for _ in range(count):
        burst = steps and rng.random() < BURST
        at = at + 10 ** rng.uniform(-4.5, -1.0) if burst else rng.uniform(0.8, chaos)
        what = rng.choices(kinds, weights)[0]
        node = MASTER if rng.random() < 0.45 else rng.randrange(nodes)
        seconds = 10 ** rng.uniform(-2.5 if what in SHORT else -1.0, 0.8)
        steps.append(Step(at, what, node, seconds, rng.randrange(1 << 16)))
    return steps
