"""Whole clusters under random schedules: whatever has happened, what matters holds.

Nodes, OpenVPNs and sidecars die and come back, the VIP wanders (to two nodes, to none), the back
channel loses and repeats datagrams and falls apart; clients come, go and renegotiate. No packet id
is ever sent twice under one key. Once everything is calm the node with the VIP is master, the
others are in sync with it, and all tables are equal.
"""

from __future__ import annotations

import random

import pytest

from ovpnha.model import Role, Sync
from tests.model_cluster import ModelNode, Network, World
from tests.model_openvpn import ModelOpenvpn

STEPS = 60
SEEDS = range(40)


class Schedule:
    """One random life of a cluster."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a test's dice
        count = self.dice.choice([2, 2, 3, 3, 4])
        network = Network(
            jitter=self.dice.choice([0.0, 0.005, 0.05]),
            loss=self.dice.choice([0.0, 0.05, 0.3]),
            repeat=self.dice.choice([0.0, 0.2]),
        )
        self.world = World(seed, network)
        self.names = "abcd"[:count]
        self.processes: list[ModelOpenvpn] = []
        for name in self.names:
            self.world.add(name, start=False, held_max=5.0)
            self.start(self.world.nodes[name])

    def start(self, node: ModelNode) -> None:
        if node.node is None:
            node.start()
        if node.openvpn is None:
            self.processes.append(node.start_openvpn(round_size=128))

    def step(self) -> None:
        node = self.world.nodes[self.dice.choice(self.names)]
        act = self.dice.choice(
            [
                self.traffic,
                self.traffic,
                self.clients,
                self.clients,
                self.vip,
                self.vip,
                self.death,
                self.birth,
                self.birth,
                self.network,
                self.confusion,
            ]
        )
        act(node)
        self.world.run(self.dice.choice([0.0, 0.001, 0.01, 0.1, 1.0, 3.0]))

    def masters(self) -> list[ModelNode]:
        nodes = self.world.nodes.values()
        return [one for one in nodes if one.openvpn and one.openvpn.role is Role.MASTER]

    def traffic(self, _node: ModelNode) -> None:
        for node in self.masters():
            assert node.openvpn is not None
            for uid in list(node.openvpn.clients):
                for _ in range(self.dice.randrange(40)):
                    node.openvpn.send_packet(uid)
            node.openvpn.report()
            node.pump()

    def clients(self, _node: ModelNode) -> None:
        for node in self.masters():
            assert node.openvpn is not None
            uids = list(node.openvpn.clients)
            match self.dice.randrange(3):
                case 0 if uids:
                    node.openvpn.disconnect_client(self.dice.choice(uids))
                case 1 if uids:
                    node.openvpn.renegotiate(self.dice.choice(uids))
                case _:
                    node.openvpn.connect_client()
            node.pump()

    def vip(self, node: ModelNode) -> None:
        match self.dice.randrange(5):
            case 0:
                self.world.move_vip(None)
            case 1:
                node.set_vip(True)
            case _:
                self.world.move_vip(node.name)

    def death(self, node: ModelNode) -> None:
        self.dice.choice([node.kill, node.kill_openvpn, node.kill_sidecar])()

    def birth(self, node: ModelNode) -> None:
        self.start(node)

    def network(self, node: ModelNode) -> None:
        node.reachable = not node.reachable

    def confusion(self, node: ModelNode) -> None:
        """OpenVPN refuses, or its channel breaks."""
        if node.openvpn is None:
            return
        word = self.dice.choice(["promote", "hold", "import", "export", "demote", "?"])
        if word == "?":
            node.openvpn.notify("nonsense")
            node.pump()
        else:
            node.openvpn.refuse[f"cluster-{word}"] = "not now"

    def calm(self) -> None:
        """All that is broken is repaired; one node has the VIP."""
        self.world.network = Network()
        for node in self.world.nodes.values():
            node.reachable = True
            self.start(node)
            if node.openvpn is not None:
                node.openvpn.refuse.clear()
        self.world.run(5)
        self.world.move_vip(self.dice.choice(self.names))


def check(schedule: Schedule) -> None:
    world, names = schedule.world, schedule.names
    (master,) = [one for one in world.nodes.values() if one.vip]
    others = [one for one in world.nodes.values() if one is not master]
    assert master.plays(Role.MASTER)
    assert master.openvpn is not None
    assert master.openvpn.role is Role.MASTER
    for one in others:
        assert one.plays(Role.STANDBY)
        assert one.figures.sync is Sync.IN_SYNC
        assert one.figures.importer.following == master.name
    assert world.same_tables(*names)
    assert master.figures.clients == len(master.openvpn.clients)
    sent = [packet for process in schedule.processes for packet in process.sent]
    assert len(sent) == len(set(sent))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule(seed: int) -> None:
    schedule = Schedule(seed)
    for _ in range(STEPS):
        schedule.step()
    schedule.calm()
    schedule.world.run(15)
    check(schedule)
