"""A node of many instances: what concerns one of them is no work for the others."""

from __future__ import annotations

import random

import pytest

from ovpnha.model import BootId, InstanceName, NodeName
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.instance import Instance
from ovpnha.node.node import Node
from ovpnha.node.outputs import WriteManagement
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import HelloReceived, NodeUp, OneWayLink, SnapshotEnded
from tests.model_openvpn import ModelOpenvpn
from tests.unit.node.doubles import state

NAMES = [InstanceName(name) for name in ("one", "two", "three")]
ONE, TWO, THREE = NAMES
OTHER, BOOT = NodeName("b"), BootId(b"b" * 16)
KEY = b"k" * 32


class Host:
    """A node whose OpenVPNs answer at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(1)  # noqa: S311 - a test's dice
        self.now = 100.0
        replication = ReplicationConfig(cluster="office", node=NodeName("a"), keys=(KEY,))
        self.node = Node(
            NodeConfig(replication, tuple(InstanceConfig(name) for name in NAMES)),
            boot=BootId(self.rng.randbytes(16)),
            random=self.rng.randbytes,
            now=self.now,
        )
        self.openvpns = {name: ModelOpenvpn(self.rng) for name in NAMES}
        self.evaluated: list[InstanceName] = []
        evaluate = Instance.evaluate

        def note(instance: Instance, now: float) -> None:
            self.evaluated.append(instance.parts.config.name)
            evaluate(instance, now)

        monkeypatch.setattr(Instance, "evaluate", note)

    def start(self) -> None:
        for name, openvpn in self.openvpns.items():
            openvpn.connect()
            self.node.management_up(name, self.now)
            self.node.vip_changed(name, name == ONE, self.now)
        self.run(10.0)
        self.taken()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self.exchange()
        while (due := self.node.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.node.handle_timer(self.now)
            self.exchange()
        self.now = end

    def exchange(self) -> None:
        while (output := self.node.next_output()) is not None:
            if isinstance(output, WriteManagement):
                self.openvpns[output.instance].receive(output.data)
                self.speak(output.instance)

    def speak(self, name: InstanceName) -> None:
        if data := self.openvpns[name].take_output():
            self.node.receive_management(name, data, self.now)

    def taken(self) -> list[InstanceName]:
        """Whose whole situation was looked at since the last call."""
        evaluated, self.evaluated = self.evaluated, []
        return evaluated

    def tell(self, *events: object) -> list[InstanceName]:
        """The other node says something."""
        self.node._replication._events.extend(events)  # type: ignore[arg-type]
        self.node._go_on(self.now, set())
        return self.taken()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(monkeypatch)
    host.start()
    assert [one.role.value for one in host.node.statistics(host.now).instances] == [
        "master",
        "standby",
        "standby",
    ]
    return host


def test_what_one_openvpn_says_of_itself_concerns_its_own_instance(host: Host) -> None:
    host.openvpns[TWO]._say(">CLUSTER:STATE,standby," + host.openvpns[TWO].holder.hex())
    host.speak(TWO)
    assert set(host.taken()) == {TWO}
    host.node.vip_changed(THREE, True, host.now)
    assert set(host.taken()) == {THREE}


def test_what_it_says_of_clients_concerns_no_role(host: Host) -> None:
    host.openvpns[ONE].connect_client("laptop")
    host.speak(ONE)
    assert host.taken() == []
    assert host.node.statistics(host.now).instances[0].clients == 1


def test_a_hello_concerns_those_of_whom_it_has_news(host: Host) -> None:
    states = {ONE: state(), TWO: state()}
    assert host.tell(NodeUp(OTHER, BOOT)) == NAMES
    assert host.tell(HelloReceived(OTHER, states)) == [ONE, TWO]
    assert host.tell(HelloReceived(OTHER, {**states, TWO: state(clients=3)})) == [TWO]
    assert host.tell(HelloReceived(OTHER, {ONE: state()})) == [TWO], "it has gone there"
    assert host.tell(HelloReceived(OTHER, {ONE: state(), THREE: state()})) == [THREE]
    assert host.tell(HelloReceived(OTHER, {ONE: state(), InstanceName("four"): state()})) == [THREE]
    assert host.tell(OneWayLink(OTHER)) == NAMES


def test_the_end_of_a_snapshot_concerns_one(host: Host) -> None:
    assert host.tell(SnapshotEnded(THREE, OTHER, {})) == [THREE]
    assert host.tell(SnapshotEnded(InstanceName("four"), OTHER, {})) == []


def test_an_instance_that_is_not_settled_is_looked_at_in_every_step(host: Host) -> None:
    host.node.management_down(TWO, "closed by openvpn", host.now)
    host.taken()
    host.openvpns[ONE].connect_client("laptop")
    host.speak(ONE)
    assert host.taken() == [TWO]
