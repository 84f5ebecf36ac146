"""How long the two nodes of one machine answer each other, and from when on a timer is late."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

import pytest

from ovpnha.machines import Process
from ovpnha.model import BootId, NodeName
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.node import Node
from ovpnha.node.outputs import SendDatagram
from ovpnha.node.pair import Pair, spare_config
from ovpnha.node.slot import VipSlot
from ovpnha.replication.config import ReplicationConfig
from tests.model_cluster import INSTANCE

KEYS = (bytes(32),)


class Listener(Node):
    """Counts."""

    heard = greeted = 0
    talks = False

    def greet(self, now: float) -> None:
        self.greeted += 1
        super().greet(now)

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        self.heard += 1
        if self.talks:
            self._outputs.append(SendDatagram(b"and you?"))
        else:
            super().receive_datagrams(batch, link, now)


class Restless(VipSlot):
    """There is always one thing more to be done."""

    advanced = 0

    def advance(self, _now: float) -> bool:
        self.advanced += 1
        return True


def make() -> tuple[Pair, Listener, Listener]:
    rng = random.Random(1)  # noqa: S311 - a test's dice
    replication = ReplicationConfig(cluster="c", node=NodeName("a"), keys=KEYS, links=("x",))
    config = NodeConfig(replication, (InstanceConfig(INSTANCE),))
    main, spare = (
        Listener(one, boot=BootId(rng.randbytes(16)), random=rng.randbytes, now=10.0)
        for one in (config, spare_config(config, {INSTANCE}))
    )
    return Pair(main, spare, 10.0, "x"), main, spare


def test_two_that_never_come_to_an_end_are_heard_again_in_the_next_step() -> None:
    pair, main, spare = make()
    main.talks = spare.talks = True
    for core in (main, spare):
        core._outputs.append(SendDatagram(b"hello"))
    for step in (1, 2):
        pair.link_changed("x", True, 10.0)
        assert (main.heard, spare.heard) == (64 * step, 64 * step)


def test_so_is_a_slot_that_never_comes_to_rest() -> None:
    pair, main, spare = make()
    slot = Restless(INSTANCE, main, spare, deque(), 10.0)
    pair._slots = {INSTANCE: slot}
    pair.link_changed("x", True, 10.0)
    assert slot.advanced == 64


@pytest.mark.parametrize(("after", "greeted"), [(0.0, (0, 0)), (0.5, (0, 0)), (0.501, (2, 1))])
def test_a_timer_is_late_after_half_a_second(after: float, greeted: tuple[int, int]) -> None:
    pair, main, spare = make()
    pair.link_changed("x", True, 10.0)
    main.greeted = spare.greeted = 0
    due = pair.get_timer()
    assert due is not None
    pair.handle_timer(due + after)
    assert (main.greeted, spare.greeted) == greeted


def test_one_that_nobody_has_tried_to_reach_yet_is_not_said_to_be_missed() -> None:
    """Both are dead, as the kernel says: the slot is the main one's, and that is all there is."""
    pair, main, _ = make()
    pair.vip_changed(INSTANCE, True, 10.0)
    for process in Process:
        pair.process_ended(INSTANCE, process, 10.0)
    assert pair._slots[INSTANCE].serving is Process.MAIN
    assert pair._slots[INSTANCE]._slot is Process.MAIN
    assert main.instance(INSTANCE).parts.discovery.unreachable is None
