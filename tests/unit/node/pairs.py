"""Machines of two processes, and what their tests ask of them."""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.machines import Process
from ovpnha.model import Sync
from ovpnha.node.config import InstanceConfig
from ovpnha.node.moving import MovePhase
from ovpnha.node.outputs import EndProcess
from ovpnha.problems import ProblemKind
from ovpnha.replication.history import HistoryEntry
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, ModelPair, add_pair

GAP = 0.005
"""Seconds in which a client that is told nothing notices nothing."""


def lone(seed: int = 0, clients: int = 3) -> tuple[World, ModelPair]:
    """One server, no other machine, its main process serving and its spare in sync."""
    world = World(seed)
    one = add_pair(world, "a")
    one.set_vip(True)
    serve(world, one, clients)
    return world, one


def serve(world: World, one: ModelPair, clients: int = 3) -> None:
    """It is master, with clients, and its spare has them."""
    world.run_until(lambda: one.serves is MAIN)
    for number in range(clients):
        one.openvpns[MAIN].connect_client(f"client{number}")
    one.pump_process(MAIN)
    world.run_until(lambda: not one.told.obstacles)


def lone_serving(process: Process, clients: int = 3) -> tuple[World, ModelPair]:
    """The same, but this process serves, and the other one has everything."""
    world, one = lone(clients=clients)
    if process is not one.serves:
        move(world, one)
        world.run_until(lambda: not one.told.obstacles)
    return world, one


def alone(*, spares: bool = True) -> tuple[World, ModelPair]:
    """One server whose main process serves, without a spare process; an older one knows of none."""
    world = World()
    one = add_pair(world, "a", start=False)
    one.run_process(MAIN, spares=spares)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    return world, one


def ask(one: ModelPair, within: float = 2.0, number: bytes = b"1") -> None:
    one.do(lambda pair, now: pair.ask_restart(INSTANCE, number, within, now))


def move(world: World, one: ModelPair) -> None:
    """A planned move, to its end."""
    ask(one)
    world.run_until(lambda: one.told.phase in (MovePhase.DONE, MovePhase.FAILED))


def phase(one: ModelPair, wanted: MovePhase) -> Callable[[], bool]:
    return lambda: one.told.phase is wanted


def ends_asked(one: ModelPair) -> list[EndProcess]:
    return [output for output in one.outputs if isinstance(output, EndProcess)]


def history(one: ModelPair) -> tuple[HistoryEntry, ...]:
    assert one.pair is not None
    return one.pair.history()


def two() -> tuple[World, ModelPair, ModelPair]:
    """Two machines, each with two processes; the first serves."""
    world = World()
    one, other = add_pair(world, "a"), add_pair(world, "b")
    one.set_vip(True)
    serve(world, one)
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    world.run(0.1)
    return world, one, other


def told_by(one: ModelPair) -> list[ProblemKind]:
    return [problem.kind for problem in one.figures.problems]


def unwanted() -> tuple[World, ModelPair]:
    """One server whose configuration says that it has no spare."""
    world = World()
    one = ModelPair(world, "a", InstanceConfig(INSTANCE, ("192.0.2.10",)))
    world.nodes["a"] = one
    one.wanted = False
    one.run_process(MAIN)
    one.set_vip(True)
    return world, one
