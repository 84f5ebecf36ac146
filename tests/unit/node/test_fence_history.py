"""The history says of a promotion whether a fence was asked, its outcome, and how long it took."""

from __future__ import annotations

import pytest

from ovpnha.model import FencePolicy, Role
from ovpnha.node.cluster.fence import QUIET, RETRIES
from ovpnha.replication.history import FIGURES_LIMIT
from tests.model_cluster import INSTANCE, ModelNode
from tests.unit.node.test_fence import A, asked, cluster, overrule, ran


def told(node: ModelNode) -> dict[str, float]:
    """What the history says of the fence of its last promotion."""
    assert node.node is not None
    own = [one for one in node.node.history() if one.node == node.name and one.new is Role.MASTER]
    figures = max(own, key=lambda one: one.when).figures
    assert len(figures) <= FIGURES_LIMIT
    return {name: value for name, value in figures.items() if name.startswith("fence")}


def test_the_history_says_that_none_was_asked() -> None:
    world, (a, b) = cluster()
    a.step(lambda core, now: core.ask_demote(INSTANCE, now))
    world.move_vip("b")
    world.run(2.0)
    assert not told(b)


def test_the_history_says_how_long_a_fence_took_with_all_its_tries() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.01)
    ran(b, text="exit code 1")
    world.run(RETRIES[0] + 3.0)
    assert asked(b) == [A, A]
    ran(b)
    assert told(b) == {"fenced": pytest.approx(RETRIES[0] + 3.0, abs=0.1)}
    world.run(60.0)
    assert set(told(b)) == {"fenced"}


def test_the_history_says_what_became_of_a_fence_beside_a_promotion() -> None:
    world, (a, b) = cluster(FencePolicy.OPTIONAL)
    a.kill()
    b.set_vip(True)
    assert not told(b)
    world.run(QUIET + 0.1)
    assert told(b) == {"fence_asked": 0.0}
    world.run(3.0)
    ran(b, text="exit code 1")
    assert told(b) == {"fence_failed": pytest.approx(3.1, abs=0.1)}
    world.run(RETRIES[0] + 0.1)
    ran(b)
    assert told(b) == {"fenced": pytest.approx(RETRIES[0] + 3.2, abs=0.2)}


def test_the_history_says_that_a_person_has_overruled_it() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 4.0)
    overrule(b)
    assert told(b) == {"fence_overruled": pytest.approx(4.0, abs=0.1)}
    ran(b, text="killed after 30 s")  # later: it changes nothing of that
    assert set(told(b)) == {"fence_overruled"}
    b.set_vip(False)
    world.run(0.1)
    b.set_vip(True)
    assert not set(told(b)) - {"fence_overruled"}


def test_what_needs_no_fence_is_overruled_by_nobody() -> None:
    world, (a, b) = cluster()
    a.step(lambda core, now: core.ask_demote(INSTANCE, now))
    world.run(0.5)
    overrule(b)
    assert b.plays(Role.MASTER)
    assert not told(b)


def test_the_history_says_that_it_was_done_before() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    b.set_vip(False)
    world.run(2.0)
    ran(b)
    world.run(2.0)
    b.set_vip(True)
    assert told(b) == {"fenced": 0.0}


def test_a_fence_that_still_runs_when_the_vip_comes_back_is_told_too() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    b.set_vip(False)
    world.run(2.0)
    b.set_vip(True)
    world.run(2.0)
    assert asked(b) == [A]
    ran(b)
    assert told(b) == {"fenced": pytest.approx(2.0, abs=0.1)}
