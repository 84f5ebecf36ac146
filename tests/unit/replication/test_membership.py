"""Who is believed: challenges, replays of dead boots, one-way links, names carried twice."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from ovpnha.model import BootId, CheckState, InstanceName, NodeName, Role, Verdict
from ovpnha.replication.boots import HeardBoot
from ovpnha.replication.challenges import Challenge
from ovpnha.replication.config import Timings
from ovpnha.replication.events import (
    HelloReceived,
    NameConflict,
    NodeDown,
    NodeUp,
    OneWayLink,
    OtherKey,
    OtherVersion,
)
from ovpnha.replication.fields import PARTS_LIMIT
from ovpnha.replication.hello import SHORT_ARRAY, STATES_LIMIT, Hello, HelloState, split
from ovpnha.replication.membership import CONFLICT_AGAIN
from ovpnha.replication.sealing import PAYLOAD_LIMIT, VERSION, BootTrust
from tests.unit.replication.network import (
    INSTANCE,
    KEY,
    STATE,
    End,
    Link,
    Network,
    equal,
    is_hello,
    look_into,
    make_record,
)
from tests.unit.replication.test_protocol import connect


def reasons(end: End) -> list[str]:
    return [event.reason for event in end.events if isinstance(event, NodeDown)]


def test_two_live_nodes_believe_each_other_within_milliseconds() -> None:
    network = Network(1)
    began = network.now
    connect(network, "a", "b")
    assert network.now - began < 0.02


def test_sixteen_nodes_believe_each_other_within_a_second() -> None:
    network = Network(2, Link(loss=0.05))
    began = network.now
    connect(network, *(f"node{number}" for number in range(16)))
    assert network.now - began < 2.0


def test_a_restarted_node_replaces_its_old_boot_at_once() -> None:
    network = Network(3)
    first, _ = connect(network, "a", "b")
    network.run(5)
    began = network.now
    network.start("b")
    assert network.run_until(lambda: len(first.of(NodeUp)) == 2, 1)
    assert network.now - began < 0.05
    assert reasons(first) == ["replaced by a newer boot"]
    network.run(5)
    assert not first.of(NameConflict)


def test_a_node_that_restarts_often_is_believed_each_time() -> None:
    network = Network(3)
    first, _, third = connect(network, "a", "b", "c")
    first.become_source([make_record(1)])
    third.follow("a")
    for count in range(2, 6):
        network.start("b")
        assert network.run_until(lambda count=count: len(first.of(NodeUp)) == count + 1, 1)  # type: ignore[misc]
        network.run(0.2)
    assert third.protocol.statistics().resyncs == 1


def test_recorded_hellos_do_not_look_like_a_one_way_link() -> None:
    network = Network(3)
    network.start("b")
    network.run(5)
    recorded = [data for _, data in network.recorded]
    network.stop("b")
    first, _ = connect(network, "a", "b")
    for data in recorded:
        first.protocol.receive_datagram(data, "bcn", network.now)
        network.run(0.4)
    assert len(recorded) * 0.4 > 3
    assert not first.of(OneWayLink)


def test_recorded_traffic_of_a_dead_boot_achieves_nothing() -> None:
    network = Network(4)
    source, other = connect(network, "a", "b")
    source.become_source([make_record(number) for number in range(10)])
    other.follow("a")
    network.run(1)
    recorded = [data for name, data in network.recorded if name == "a"]
    source = network.start("a")
    records = [make_record(number, 2) for number in range(5)]
    source.become_source(records)
    assert network.run_until(lambda: equal(records, other), 2)
    other.events.clear()
    for data in recorded:
        other.protocol.receive_datagram(data, "bcn", network.now)
    network.run(1)
    assert equal(records, other)
    assert not other.of(NodeUp)
    assert not other.of(NameConflict)


def withhold_hello() -> tuple[Network, End, bytes]:
    """A hello of a boot that is dead by now, which echoes a challenge that is still valid."""
    network = Network(4)
    network.link.cut = lambda sender, _: sender == "a"
    network.start("a")
    victim = network.start("b")
    network.run(1)
    withheld = [data for name, data in network.recorded if name == "a" and is_hello(data)][-1]
    network.stop("a")
    network.link.cut = lambda _sender, _receiver: False
    assert not victim.of(NodeUp)
    return network, victim, withheld


def test_a_late_hello_of_a_dead_boot_does_not_replace_its_successor() -> None:
    network, victim, withheld = withhold_hello()
    network.start("a")
    assert network.run_until(lambda: bool(victim.of(NodeUp)), 1)
    victim.protocol.receive_datagram(withheld, "bcn", network.now)
    network.run(5)
    assert len(victim.of(NodeUp)) == 1
    assert not victim.of(NodeDown)
    assert not victim.of(NameConflict)


def test_nor_when_both_have_answered_the_same_challenge() -> None:
    network = Network(4)
    victim = network.start("b")
    network.run(1)
    asked = network.recorded[-1][1]
    answers = []
    for _ in range(2):
        boot = network.start("a")
        boot.protocol.receive_datagram(asked, "bcn", network.now)
        boot.protocol.greet(network.now)
        answers.append(boot.protocol.datagrams_to_send(network.now)[-1].data)
    dead, successor = answers
    for data in (successor, dead):
        victim.protocol.receive_datagram(data, "bcn", network.now)
    victim.drain()
    assert len(victim.of(NodeUp)) == 1
    assert not victim.of(NodeDown)


def test_a_late_hello_of_a_dead_boot_does_not_keep_its_successor_out() -> None:
    network, victim, withheld = withhold_hello()
    successor = network.start("a")
    first = successor.protocol.datagrams_to_send(network.now)[0].data
    victim.protocol.receive_datagram(first, "bcn", network.now)
    victim.protocol.receive_datagram(withheld, "bcn", network.now)
    assert network.run_until(lambda: len(victim.of(NodeUp)) == 2, 1)
    network.run(5)
    assert victim.protocol.statistics().nodes[0].believed
    assert not victim.of(NameConflict)


def test_recorded_traffic_does_not_deceive_a_node_that_restarted() -> None:
    network = Network(5)
    source, other = connect(network, "a", "b")
    source.become_source([make_record(1)])
    other.follow("a")
    network.run(1)
    recorded = [data for name, data in network.recorded if name == "a"]
    network.stop("a")
    network.stop("b")
    other = network.start("b")
    other.follow("a")
    for data in recorded * 2:
        other.protocol.receive_datagram(data, "bcn", network.now)
    network.run(3)
    assert not other.of(NodeUp)
    assert not other.imported
    refused = other.protocol.statistics().refused
    assert refused["not_believed"] > 0
    assert refused["replayed"] > 0


def test_a_silent_node_is_down_and_must_prove_itself_again() -> None:
    network = Network(6)
    first, second = connect(network, "a", "b")
    network.link.cut = lambda _sender, _receiver: True
    network.run(2.1)
    assert reasons(first) == ["silent"]
    network.link.cut = lambda _sender, _receiver: False
    assert network.run_until(lambda: len(first.of(NodeUp)) == 2 == len(second.of(NodeUp)), 2)


def test_a_boot_that_fell_silent_is_retired_by_its_successor() -> None:
    network = Network(6)
    first, _ = connect(network, "a", "b")
    network.stop("b")
    network.run(3)
    network.start("b")
    assert network.run_until(lambda: len(first.of(NodeUp)) == 2, 1)
    assert reasons(first) == ["silent"]
    assert len(first.protocol.statistics().nodes) == 1


def test_goodbye_is_heard_at_once_and_for_good() -> None:
    network = Network(7)
    first, second = connect(network, "a", "b")
    second.protocol.goodbye(network.now)
    network.run(0.01)
    assert reasons(first) == ["goodbye"]
    network.run(3)
    assert len(first.of(NodeUp)) == 1


def test_a_one_way_link_is_shown_and_never_believed() -> None:
    network = Network(8)
    network.link.cut = lambda sender, _: sender == "a"
    first = network.start("a")
    second = network.start("b")
    network.run(5)
    assert not first.of(NodeUp)
    assert not second.of(NodeUp)
    assert len(first.of(OneWayLink)) == 1
    assert not second.of(OneWayLink)


def test_a_believed_node_that_ceases_to_hear_us_is_believed_no_longer() -> None:
    network = Network(9)
    first, _ = connect(network, "a", "b")
    network.link.cut = lambda sender, _: sender == "a"
    network.run(20)
    assert reasons(first) == ["answers no challenge"]
    assert len(first.of(OneWayLink)) == 1
    network.link.cut = lambda _sender, _receiver: False
    assert network.run_until(lambda: len(first.of(NodeUp)) == 2, 1)


def hold_back(network: Network, seconds: float) -> list[bytes]:
    """Hellos of a, kept from b while a believes that b hears them; then a is dead."""
    held: list[bytes] = []

    def keep(sender: str, data: bytes) -> bool:
        if sender == "a" and is_hello(data):
            held.append(data)
            return len(held) % 2 == 0
        return False

    network.link.drop = keep
    network.run(seconds)
    network.link.drop = lambda _sender, _data: False
    network.stop("a")
    return held[1::2]


def test_hellos_that_were_held_back_do_not_keep_a_dead_node_alive() -> None:
    network = Network(21)
    _, victim = connect(network, "a", "b")
    held = hold_back(network, 45)
    assert len(held) > 30
    assert not victim.of(NodeDown)
    died = network.now
    for data in held:
        victim.protocol.receive_datagram(data, "bcn", network.now)
        network.run(1.0)
        if victim.of(NodeDown):
            break
    assert network.now - died <= Timings().proof_timeout + 1.0
    assert reasons(victim) == ["answers no challenge"]
    for data in held:
        victim.protocol.receive_datagram(data, "bcn", network.now)
        network.run(0.3)
    assert len(victim.of(NodeUp)) == 1


def test_state_that_was_held_back_does_not_keep_a_dead_node_alive() -> None:
    network = Network(22)
    source, victim = connect(network, "a", "b")
    source.become_source([make_record(1)])
    victim.follow("a")
    network.run(1)
    held: list[bytes] = []

    def keep(sender: str, data: bytes) -> bool:
        wanted = sender == "a" and not is_hello(data)
        if wanted:
            held.append(data)
        return wanted

    network.link.drop = keep
    network.run(20)
    network.stop("a")
    died = network.now
    for data in held:
        victim.protocol.receive_datagram(data, "bcn", network.now)
        network.run(0.5)
        if victim.of(NodeDown):
            break
    assert network.now - died <= Timings().proof_timeout + 0.5


def test_a_hello_of_which_a_part_is_dropped_does_not_keep_the_rest_believed() -> None:
    """Else what that part said, who is master and has the VIP, would be believed for ever."""
    network = Network(23)
    first, second = connect(network, "a", "b")
    for number in range(20):
        first.protocol.announce(InstanceName(f"instance{number}"), STATE, network.now)
    network.run(1)

    def is_last_part(sender: str, data: bytes) -> bool:
        (message,) = look_into(data)[1]
        return sender == "a" and isinstance(message, Hello) and message.part == message.parts - 1

    network.link.drop = is_last_part
    network.run(Timings().proof_timeout + 0.2)
    assert reasons(second) == ["answers no challenge"]


def test_loss_costs_no_belief_and_clear_weather_no_datagram() -> None:
    network = Network(24, Link(loss=0.2, duplicate=0.2, delay=0.001, jitter=0.02))
    ends = connect(network, "a", "b", "c")
    network.run(120)
    assert not any(end.of(NodeDown) for end in ends)
    network.link = Link(delay=0.02)
    network.run(5)
    sent = ends[0].protocol.statistics().sent["hello"]
    network.run(60)
    assert ends[0].protocol.statistics().sent["hello"] - sent <= 60 / Timings().hello_interval + 1


@pytest.mark.parametrize("deaf", ["a", "b"])
def test_loss_in_one_direction_costs_no_belief(deaf: str) -> None:
    network = Network(25)
    ends = connect(network, "a", "b")
    network.link.drop = lambda sender, _: sender != deaf and network.random.random() < 0.4
    network.run(60)
    assert not any(end.of(NodeDown) for end in ends)


def test_two_machines_with_one_name_raise_an_alarm() -> None:
    network = Network(10)
    first, second = connect(network, "a", "b")
    twin = End(network, second.config)
    network.ends["twin"] = twin
    network.run(5)
    named = [one for one in first.events if isinstance(one, NameConflict)]
    assert {one.node for one in named} == {second.name}
    told = len(first.of(NameConflict))
    network.run(30)
    assert 2 <= len(first.of(NameConflict)) - told <= 4
    assert twin.of(NameConflict)
    assert second.of(NameConflict)
    assert not twin.of(OneWayLink)


def test_that_alarm_is_told_again_when_its_time_has_passed() -> None:
    protocol = Network(10).start("a").protocol
    twin = HeardBoot(BootId(b"t" * 16), NodeName("b"), 0.0, 0.0, BootTrust.RETIRED)
    told = []
    for number, now in enumerate((100.0, 100.0 + CONFLICT_AGAIN - 0.001, 100.0 + CONFLICT_AGAIN)):
        proof = Challenge(number + 1, now)
        protocol._membership._check_conflict(twin, proof, now)
        told.append(isinstance(protocol.next_event(), NameConflict))
        twin.retired_at = number
        protocol._membership._check_conflict(twin, None, now)
    assert told == [True, False, True]
    assert protocol.next_event() is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keys": (b"x" * 32,)}, "unknown_key"),
        ({"cluster": "other"}, "foreign_cluster"),
    ],
    ids=["key", "cluster"],
)
def test_strangers_are_refused(options: dict[str, object], reason: str) -> None:
    network = Network(11)
    first = network.start("a")
    network.start("b", **options)  # type: ignore[arg-type]
    network.run(70)
    said = [one.reason for one in first.events if isinstance(one, OtherKey)]
    assert len(first.events) == len(said)
    assert said == ([reason] * 2 if "keys" in options else [])
    assert first.protocol.statistics().refused[reason] > 100


def test_nodes_of_another_version_are_refused_and_told_of() -> None:
    network = Network(12)
    first, other = network.start("a"), network.start("b")
    for _ in range(140):
        network.run(0.5)
        (*_, latest) = [data for name, data in network.recorded if name == other.name]
        older = latest[:12] + bytes([VERSION - 1]) + latest[13:]
        first.protocol.receive_datagram(older, "bcn", network.now)
    assert first.of(OtherVersion) == [OtherVersion("bcn")] * 2
    assert first.protocol.statistics().refused["version"] == 140


def test_a_cluster_key_is_rotated_without_losing_a_node() -> None:
    new = b"n" * 32
    network = Network(12)
    connect(network, "a", "b")
    for keys in ((KEY, new), (new, KEY), (new,)):
        for name in ("a", "b"):
            end = network.start(name, keys=keys)
            assert network.run_until(lambda end=end: bool(end.of(NodeUp)), 1)  # type: ignore[misc]
            network.run(1)
    for end in network.ends.values():
        assert "unknown_key" not in end.protocol.statistics().refused


def test_a_change_of_state_is_said_at_once_and_many_share_a_hello() -> None:
    network = Network(13)
    first, second = connect(network, "a", "b")
    network.run(1)
    sent = first.protocol.statistics().sent["hello"]
    for clients in range(50):
        state = dataclasses.replace(STATE, role=Role.MASTER, clients=clients)
        first.protocol.announce(INSTANCE, state, network.now)
        network.run(0.001)
    network.run(0.05)
    heard = second.of(HelloReceived)[-1]
    assert isinstance(heard, HelloReceived)
    assert heard.instances[INSTANCE].clients == 49
    assert first.protocol.statistics().sent["hello"] - sent < 7


def test_the_same_state_again_is_no_news() -> None:
    network = Network(13)
    first, _ = connect(network, "a", "b")
    network.run(1)
    sent = first.protocol.statistics().sent["hello"]
    for _ in range(10):
        first.protocol.announce(INSTANCE, STATE, network.now)
        network.run(0.01)
    assert first.protocol.statistics().sent["hello"] - sent <= 1


def test_an_instance_of_which_nothing_was_said_can_be_left_out_again() -> None:
    network = Network(13)
    first, second = connect(network, "a", "b")
    network.run(1)
    first.protocol.announce(INSTANCE, STATE, network.now)
    network.run(1)
    sent = first.protocol.statistics().sent["hello"]
    for _ in range(10):
        first.protocol.announce(InstanceName("other"), None, network.now)
        network.run(0.01)
    assert first.protocol.statistics().sent["hello"] - sent <= 1
    heard = second.of(HelloReceived)[-1]
    assert isinstance(heard, HelloReceived)
    assert set(heard.instances) == {INSTANCE}


def test_more_instances_than_fit_one_datagram() -> None:
    network = Network(14)
    first, second = connect(network, "a", "b")
    for number in range(STATES_LIMIT - 1):
        first.protocol.announce(InstanceName(f"instance{number}"), STATE, network.now)
    network.run(0.1)
    heard = second.of(HelloReceived)[-1]
    assert isinstance(heard, HelloReceived)
    assert len(heard.instances) == STATES_LIMIT
    with pytest.raises(ValueError, match="no more than"):
        first.protocol.announce(InstanceName("one more"), STATE, network.now)


@pytest.mark.parametrize("length", range(1, 12))
def test_each_part_of_a_hello_is_as_full_as_a_datagram_allows(length: int) -> None:
    """An array of more than 15 elements, as here with the shortest names, is 2 bytes longer."""
    whole = Hello("a", bytes(16), (), 1, PARTS_LIMIT, PARTS_LIMIT, ())
    state = dataclasses.replace(STATE, openvpn="", digest="", certificate="", issuer="")
    names = (f"{number:x}"[:length].ljust(length, "_") for number in range(40))
    told = [HelloState.of(InstanceName(name), state) for name in names]
    parts = split(whole, told)
    assert [one for part in parts for one in part.states] == told
    assert [(part.part, part.parts) for part in parts] == [
        (number, len(parts)) for number in range(len(parts))
    ]
    for part, following in itertools.pairwise(parts):
        size = len(dataclasses.replace(part, part=PARTS_LIMIT, parts=PARTS_LIMIT).encode())
        more = (*part.states, following.states[0])
        longer = dataclasses.replace(whole, states=more)
        assert size <= PAYLOAD_LIMIT < len(longer.encode())
    assert length > 8 or len(parts[0].states) > SHORT_ARRAY


def test_checks_that_do_not_fit_a_datagram_stay_untold_and_nothing_else() -> None:
    """The last ones: those that failed come first."""
    network = Network(14)
    first, second = connect(network, "a", "b")
    checks = tuple(
        CheckState(f"{number}" * 64, Verdict.FAILED, text="t" * 48) for number in range(6)
    )
    texts = dict.fromkeys(("digest", "certificate", "issuer"), "d" * 64)
    state = dataclasses.replace(STATE, checks=checks, **texts)  # type: ignore[arg-type]
    names = [InstanceName(f"{number}" * 64) for number in range(3)]
    for name in names:
        first.protocol.announce(name, state, network.now)
    network.run(0.2)
    heard = second.of(HelloReceived)[-1]
    assert isinstance(heard, HelloReceived)
    for name in names:
        found = heard.instances[name]
        assert dataclasses.replace(found, checks=checks) == state
        assert 0 < len(found.checks) < len(checks)
        assert found.checks == checks[: len(found.checks)]


def test_the_same_datagram_over_two_links_is_a_duplicate_and_no_fault() -> None:
    network = Network(15, links=("eth1", "eth2"))
    first, second = connect(network, "a", "b")
    second.follow("a")
    records = [make_record(number) for number in range(20)]
    first.become_source(records)
    assert network.run_until(lambda: equal(records, second), 1)
    network.run(1)
    figures = second.protocol.statistics()
    assert figures.ignored["duplicate"] > 0
    assert not figures.refused
    assert set(figures.nodes[0].links) == {"eth1", "eth2"}


def test_losing_one_of_two_links_loses_nothing() -> None:
    network = Network(16, links=("eth1", "eth2"))
    first, second = connect(network, "a", "b")
    second.follow("a")
    network.links = ("eth2",)
    records = [make_record(number) for number in range(20)]
    first.become_source(records)
    assert network.run_until(lambda: equal(records, second), 1)
    network.run(5)
    assert not second.of(NodeDown)


def test_hostile_recordings_of_many_boots_do_not_grow_memory() -> None:
    network = Network(17)
    recorded = []
    for _ in range(150):
        network.start("b")
        network.run(0.6)
        recorded += [data for _, data in network.recorded]
        network.recorded.clear()
    network.stop("b")
    victim = network.start("a")
    for data in recorded:
        victim.protocol.receive_datagram(data, "bcn", network.now)
        network.now += 0.001
    assert len(victim.protocol.statistics().nodes) <= 64
    assert victim.protocol._opener.boots <= 64
    assert not victim.of(NodeUp)
    network.start("b")
    assert network.run_until(lambda: bool(victim.of(NodeUp)), 1)


def test_a_hello_under_a_name_that_is_not_its_tag_is_malformed() -> None:
    network = Network(18)
    victim = network.start("a")
    liar = network.start("b")
    liar.protocol._membership._name = type(liar.name)("c")
    network.run(1)
    assert victim.protocol.statistics().refused["malformed"] > 0
    assert not victim.events


def test_a_hello_of_a_round_that_is_over_is_no_news() -> None:
    """Two parts make a round; one that was overtaken on its way counts no more."""

    def part(number: int, of_round: int) -> Hello:
        return Hello("b", b"c" * 16, (), of_round, number, 2, (), release=str(of_round))

    boot = HeardBoot(BootId(b"b" * 16), NodeName("b"), 0.0, 0.0)
    assert not boot.collect(part(0, 7))
    assert boot.collect(part(1, 7))
    assert not boot.collect(part(0, 8))
    assert not boot.collect(part(1, 7))
    assert (boot.round, boot.release) == (8, "7")
