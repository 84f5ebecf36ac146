"""Woken before anything is due, a node does nothing: a whole life, looked at all the time."""

from __future__ import annotations

import pytest

from ovpnha.model import RekeyPolicy
from tests.model_cluster import ModelNode, Network, World

EVERY = 0.00737  # seconds; no time of ours is a multiple of it
GOOD, BAD = Network(), Network(jitter=0.01, loss=0.1, repeat=0.1)


class Restless(World):
    """Wakes every sidecar all the time, and sees that it orders, says and tells nothing."""

    def __init__(self, seed: int, network: Network) -> None:
        super().__init__(seed, network)
        self.woken = 0
        self.later(EVERY, self._wake)

    def _wake(self) -> None:
        for one in self.nodes.values():
            self._wake_one(one)
        self.later(EVERY, self._wake)

    def _wake_one(self, one: ModelNode) -> None:
        due = one.node.get_timer() if one.node is not None else None
        if one.node is None or due is None or due <= self.now:
            return
        one.node.handle_timer(self.now)
        assert one.node.next_output() is None
        assert one.node.get_timer() == pytest.approx(due, abs=1e-6)
        self.woken += 1


@pytest.mark.parametrize("network", [GOOD, BAD], ids=["good", "bad"])
def test_nothing_is_done_early(network: Network) -> None:
    world = Restless(3, network)
    a, b, _ = (world.add(name, rekey_after_promotion=RekeyPolicy.ALWAYS) for name in "abc")
    world.add("d", patched=False)
    world.run(0.5)
    world.move_vip("a")
    world.run(1.0)
    assert a.openvpn is not None
    for number in range(30):
        a.openvpn.connect_client(f"client{number}")
        a.pump()
        world.run(0.01)
    world.run_until(lambda: a.figures.exporter.protected == 30)
    world.run(2.0)
    a.kill()
    world.run(0.1)
    world.move_vip("b")
    world.run(6.0)
    a.start()
    world.run(4.0)
    a.start_openvpn()
    world.run(2.0)
    b.kill_openvpn()
    world.run(2.0)
    b.start_openvpn()
    world.run(3.0)
    b.kill_sidecar()
    world.run(2.0)
    b.start()
    world.run(3.0)
    assert world.woken > 2_000
