"""The checks are checked: each planted defect must be caught within a few schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from ovpnha.management.commands import Demote, Hold, Promote
from ovpnha.management.notices import ChangedNotice
from ovpnha.model import NO_EPOCH, BootId, ClientRecord, InstanceName, NodeName, Uid
from ovpnha.node.change import RoleChange
from ovpnha.node.instance import Instance
from ovpnha.node.master.exporter import Exporter
from ovpnha.node.master.protection import Protection
from ovpnha.node.standby.importer import Importer
from ovpnha.node.steps import Steps
from ovpnha.replication.hello import Hello
from ovpnha.replication.membership import Membership
from ovpnha.replication.sealing import BootTrust, Opened
from tests.model_openvpn import Range
from tests.simulation.cluster import Defect
from tests.simulation.handshakes import Handshake
from tests.simulation.ranges import OwnedKey
from tests.simulation.run import Run, run
from tests.simulation.schedule import Schedule, draw
from tests.simulation.shrink import shrink
from tests.simulation.steps import MASTER, Step
from tests.simulation.truth import WatchedNode, WatchedOpenvpn

SEEDS = 30


class KeepsStale(Importer):
    """Seeds what is known to be stale."""

    def stale(self) -> list[Uid]:
        return []


class DropsCurrent(Importer):
    """Drops what is current."""

    def stale(self) -> list[Uid]:
        return [Uid(uid) for uid in self.table._copies]


class LosesWithdrawals(Importer):
    """Keeps clients that are gone."""

    def withdraw(self, uid: Uid, now: float) -> None:
        pass


class ForgetsDrops(Importer):
    """Does not remember what OpenVPN was told to drop when the channel broke."""

    def find(self, clients: Mapping[Uid, int]) -> None:
        self.table.find(clients)


class AcknowledgesUnimported(Importer):
    """Says that OpenVPN has what it was never given."""

    def take_record(self, record: ClientRecord, now: float) -> None:
        self._backchannel.acknowledge(
            self._openvpn.instance, record.uid, record.generation, (), now
        )


class ForgetsChanges(Exporter):
    """Exports a client only once."""

    def take_changed(self, notice: ChangedNotice, now: float) -> None:
        if notice.uid not in self.table:
            super().take_changed(notice, now)


class ServesWithoutVip(RoleChange):
    """Does not make OpenVPN fall silent."""

    def order(self, order: Promote | Hold | Demote) -> None:
        if not isinstance(order, Hold):
            super().order(order)


class WipesAtOnce(Steps):
    """Does not wait for proof that someone else was promoted."""

    def _hold(self, now: float) -> None:
        super()._hold(now)
        self._parts.role.held_since = now - self._parts.config.held_max


class FollowsAnyone(Instance):
    """Replicates with nodes that have other options."""

    def _differ(self, _difference: str, master: NodeName | None, now: float) -> None:
        state = self.parts.view.state(master)
        self.parts.importer.follow(master, state.epoch if state is not None else NO_EPOCH, now)


class ReleasesAtOnce(Protection):
    """Lets a new client go before anyone has it."""

    def arrive(self, uid: Uid, now: float) -> None:
        super().arrive(uid, now)
        if uid in self._deadlines:
            self._release(uid, "released_by_ack")


class ForgetsDeadlines(Protection):
    """Lets a new client wait for ever."""

    def get_timer(self) -> float | None:
        return None

    def handle_timer(self, now: float) -> None:
        pass


class IgnoresPendingKeys(Exporter):
    """Does not release what waits with a pending key."""

    def take_changed(self, notice: ChangedNotice, now: float) -> None:
        super().take_changed(notice, now)
        if notice.reason == "pending":
            self.protection.leave(notice.uid)


class SendsUnderPending(OwnedKey):
    """Sends under a key that the client may lack."""

    def take_over(self) -> None:
        super().take_over()
        self.pending = False


class SaysItAtOnce(WatchedOpenvpn):
    """Gives the client a key that no standby has."""

    def write_message(self, one: Handshake) -> bool:
        one.key = self.rng.randbytes(8)
        return True


class HealsNobody(WatchedOpenvpn):
    """Leaves clients in handshakes that nobody can finish."""

    def heal(self) -> None:
        pass


class SaysNoWord(WatchedOpenvpn):
    """Once promoted, does not say what its master had still to say."""

    def send_messages(self) -> None:
        pass


class GivesWhatItKeeps(OwnedKey):
    """Grants ids that it goes on to send."""

    def grant(self, holders: list[bytes]) -> None:
        super().grant(holders)
        for holder in self.grants:
            self.grants[holder] = [Range(self.counter + 1, self.counter + 1000)]


class AsksForNoProof(Importer):
    """Is in sync once and for all."""

    def prove(self, proved: bool) -> None:
        pass


class BelievesOldHellos(Membership):
    """Takes whatever arrives for a sign of life."""

    def heard(self, boot: BootId, now: float) -> None:
        super().heard(boot, now)
        self._boots[boot].fresh = now

    def hear_untrusted(self, hello: Hello, opened: Opened, link: str, now: float) -> None:
        super().hear_untrusted(hello, opened, link, now)
        if opened.trust is BootTrust.BELIEVED:
            self._boots[opened.boot].fresh = now


def believe_old_hellos(node: WatchedNode) -> None:
    node._replication._membership.__class__ = BelievesOldHellos


class MixesInstances(WatchedNode):
    """Takes the VIP of one instance for that of all."""

    def vip_changed(
        self, _instance: InstanceName, present: bool, now: float, why: str = ""
    ) -> None:
        for one in self._instances:
            super().vip_changed(one, present, now, why)


def mix_instances(node: WatchedNode) -> None:
    node.__class__ = MixesInstances


def importer(kind: type[Importer]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one.parts.importer, kind))


def exporter(kind: type[Exporter]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one.parts.exporter, kind))


def instance(kind: type[Instance]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one, kind))


def change(kind: type[RoleChange]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one._change, kind))


def steps(kind: type[Steps]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one._steps, kind))


def protection(kind: type[Protection]) -> Defect:
    return Defect(lambda node: _replace(node, lambda one: one.parts.exporter.protection, kind))


def open_with_first_key_only(node: WatchedNode) -> None:
    opener = node._replication._opener
    opener.use_keys(list(opener._keys.values())[:1])


def _replace(node: WatchedNode, part: Callable[[Instance], object], kind: type) -> None:
    for one in node._instances.values():
        part(one).__class__ = kind


def draw_last_words(seed: int) -> Schedule:
    """A master that dies while its last changes are being lost."""
    step = Step(2.0, "last_words", MASTER, 2.0, 10 + 7 * seed)
    return make_schedule(seed, step)


def make_schedule(
    seed: int, *steps: Step, differ: frozenset[int] = frozenset(), instances: int = 1
) -> Schedule:
    """Two nodes and eight clients for three seconds."""
    return Schedule(
        seed, 2, 1, False, 1 << 20, 1, 8, 3.0, frozenset(), steps, differ, instances=instances
    )


def draw_half_a_rotation(seed: int) -> Schedule:
    """Every node has the new key; it has come to the front on one of two when all ends."""
    return make_schedule(
        seed, Step(0.8, "new_key", MASTER, 0.5, 0), Step(2.0, "new_key", MASTER, 2.5, 0)
    )


def draw_another_option(seed: int) -> Schedule:
    """A node comes back with another option, and keeps it."""
    return make_schedule(seed, differ=frozenset({seed % 2}))


def draw_renegotiations(seed: int) -> Schedule:
    """Nothing goes wrong but that the master dies at the end."""
    return make_schedule(
        seed, *(Step(1.0 + at / 8, "renegotiate", MASTER, 1.0, at) for at in range(8))
    )


def draw_instances(seed: int) -> Schedule:
    """Two or three OpenVPNs on each node, and the VIP of one is lost for a while."""
    return make_schedule(seed, Step(1.1, "vip_cut", MASTER, 1.8, 3 * seed), instances=2 + seed % 2)


def draw_bad_weather(seed: int) -> Schedule:
    """Clients connect while the BCN loses most of what is sent."""
    connects = [Step(2.1 + at / 5, "connect", MASTER, 1.0, at) for at in range(4)]
    return make_schedule(seed, Step(2.0, "weather", MASTER, 2.0, 3), *connects)


def draw_lost_drops(seed: int) -> Schedule:
    """Clients leave while the standby's OpenVPN hangs; its channel breaks, then the master dies."""
    steps = (
        Step(2.0, "pause_openvpn", 1, 1.0, 0),
        Step(2.2, "disconnect", MASTER, 1.0, 4 * seed + 3),
        Step(2.5, "break_management", 1, 1.0, 0),
        Step(2.6, "crash", MASTER, 2.0, 0),
    )
    return replace(make_schedule(seed, *steps), chaos=6.0)


DEFECTS = [
    ("stale record seeded", importer(KeepsStale), draw_last_words),
    ("current record dropped", importer(DropsCurrent), draw),
    ("it does not settle", importer(LosesWithdrawals), draw),
    ("stale record seeded", importer(ForgetsDrops), draw_lost_drops),
    ("it does not settle", importer(AcknowledgesUnimported), draw),
    ("a change does not arrive", exporter(ForgetsChanges), draw),
    ("master without the vip", change(ServesWithoutVip), draw_instances),
    ("demoted without cause", steps(WipesAtOnce), draw),
    ("packet id sent twice", Defect(key=GivesWhatItKeeps), draw),
    ("it does not settle", instance(FollowsAnyone), draw_another_option),
    ("it does not settle", Defect(open_with_first_key_only), draw_half_a_rotation),
    ("released unprotected", protection(ReleasesAtOnce), draw),
    ("a new client waits too long", protection(ForgetsDeadlines), draw_bad_weather),
    ("the vip is not served", Defect(mix_instances), draw_instances),
    ("a new key waits too long", exporter(IgnoresPendingKeys), draw_renegotiations),
    ("released unprotected", protection(ReleasesAtOnce), draw_renegotiations),
    ("a key nobody has", Defect(openvpn=SaysItAtOnce), draw_renegotiations),
    ("sent to under a key it lacks", Defect(key=SendsUnderPending), draw_renegotiations),
    ("a client is left in its handshake", Defect(openvpn=SaysNoWord), draw_renegotiations),
    ("a client is left in its handshake", Defect(openvpn=HealsNobody), draw_renegotiations),
    ("falsely in sync", importer(AsksForNoProof), draw_renegotiations),
    ("a dead node is believed", Defect(believe_old_hellos), draw_renegotiations),
]


@pytest.mark.parametrize(("rule", "defect", "draws"), DEFECTS)
def test_a_planted_defect_is_caught(
    rule: str, defect: Defect, draws: Callable[[int], Schedule]
) -> None:
    found: set[str] = set()
    for seed in range(SEEDS):
        found |= {one.rule for one in run(draws(seed), defect).violations}
        if rule in found:
            return
    pytest.fail(f"not caught in {SEEDS} schedules; found instead: {sorted(found)}")


def test_the_same_seed_is_the_same_run() -> None:
    defect = importer(LosesWithdrawals)
    first, second = run(draw(1), defect), run(draw(1), defect)
    assert first.violations
    assert first == second


def test_a_failure_is_made_smaller() -> None:
    verdict = run(draw(1), importer(LosesWithdrawals))
    smaller = shrink(verdict, importer(LosesWithdrawals))
    assert smaller.violations[0].rule == verdict.violations[0].rule
    assert len(smaller.schedule.steps) < len(verdict.schedule.steps)
    assert smaller.trace


def test_instances_are_master_on_different_nodes() -> None:
    one = Run(draw_instances(1))
    one.cluster.clock.run_to(one.cluster.clock.now + 3.0)
    masters = [service.holder() for service in one.cluster.services]
    assert all(master is not None and master.serving() is not None for master in masters)
    assert len({master.host for master in masters if master is not None}) == 2
    assert one.verdict().violations == ()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_wrong(seed: int) -> None:
    assert run(draw(seed)).violations == ()


@pytest.mark.parametrize(
    "draws",
    [
        draw_last_words,
        draw_lost_drops,
        draw_half_a_rotation,
        draw_another_option,
        draw_bad_weather,
        draw_renegotiations,
        draw_instances,
    ],
)
def test_nothing_is_wrong_without_the_defect(draws: Callable[[int], Schedule]) -> None:
    for seed in range(2):
        assert run(draws(seed)).violations == ()
