"""What a held node knows of the one that was promoted after it, and what a node says of itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ovpnha.model import NO_EPOCH, Epoch, InstanceState, Role, Sync
from ovpnha.node.cluster.successor import LAG, LOOK, Successor
from ovpnha.node.role.lineage import Kin
from ovpnha.node.role.ownepoch import OwnEpoch
from ovpnha.replication.events import GenerationHeard, RecordReceived
from tests.unit.node.doubles import INSTANCE, A, B, NoteTaker, record, state, uid

FIRST, SECOND = Epoch(1, A), Epoch(2, B)
SERVES = replace(
    state(Role.MASTER, epoch=SECOND, vip=True, sync=Sync.IN_SYNC), origin=FIRST, touched=True
)


def make() -> tuple[Successor, NoteTaker]:
    backchannel = NoteTaker()
    return Successor(INSTANCE, backchannel), backchannel


def has(told: InstanceState, kin: Kin = Kin.HEIR, *, spare: bool = False) -> bool:
    one, _ = make()
    one.observe(told, 0.0)
    return one.describe(kin, 0.0, spare=spare).has


def test_nobody_has_served_for_longer_than_it_has_proved() -> None:
    one, _ = make()
    assert list(one.moments(2.5)) == []
    one.observe(SERVES, 1.0)
    assert list(one.moments(2.5)) == [3.5]
    heir = one.describe(Kin.HEIR, 3.5, spare=False, proved=3.5 - LAG)
    assert heir.served == 2.5
    assert list(one.moments(2.5)) == [3.5]
    heir = one.describe(Kin.HEIR, 3.5, spare=False, proved=2.0)
    assert heir.served == pytest.approx(1.0 + LAG)
    assert list(one.moments(2.5)) == [3.5, 3.5 + LOOK]
    assert one.describe(Kin.HEIR, 3.6, spare=False, proved=-math.inf).served == 0.0


def test_service_is_measured_without_a_break() -> None:
    one, _ = make()
    one.observe(SERVES, 1.0)
    one.observe(replace(SERVES, clients=5), 2.0)
    heir = one.describe(Kin.HEIR, 3.0, spare=False)
    assert (heir.served, heir.role, heir.touched) == (2.0, Role.MASTER, True)
    one.observe(replace(SERVES, role=Role.HELD, vip=False), 3.0)
    assert one.describe(Kin.HEIR, 3.0, spare=False).served is None
    one.observe(SERVES, 4.0)
    one.observe(replace(SERVES, epoch=Epoch(3, B)), 5.0)
    assert one.serves_since == 5.0
    one.observe(None, 6.0)
    heir = one.describe(Kin.HEIR, 6.0, spare=False)
    assert (heir.served, heir.role, heir.has) == (None, None, False)


def test_who_has_our_clients() -> None:
    assert has(SERVES)
    assert has(replace(SERVES, sync=Sync.NONE))  # it does not tell
    assert not has(replace(SERVES, sync=Sync.SYNCING))
    assert not has(replace(SERVES, origin=NO_EPOCH))  # it began with nobody's
    assert has(replace(SERVES, sync=Sync.SYNCING), spare=True)
    assert has(replace(SERVES, sync=Sync.SYNCING), Kin.ABOVE)  # ours came from it


def test_a_master_without_the_vip_was_promised_it() -> None:
    one, _ = make()
    one.observe(replace(SERVES, vip=False), 0.0)
    one.observe(SERVES, 1.0)
    assert one.planned
    one.stop(2.0)
    assert not one.planned


def test_what_changed_there_is_known_after_it_is_gone() -> None:
    one, backchannel = make()
    one.observe(SERVES, 0.0)
    one.follow(B, 0.0)
    one.follow(B, 0.1)
    for number, generation in ((1, 5), (1, 4)):
        one.take(GenerationHeard(INSTANCE, B, uid(number), generation), 0.2)
    one.take(RecordReceived(INSTANCE, B, record(2, 3)), 0.2)
    assert one.newer({uid(1): 4, uid(2): 3, uid(3): 1}) == [uid(1)]
    one.stop(1.0)
    assert one.newer({uid(1): 4}) == []
    assert backchannel.taken() == [("follow", B), ("follow", None)]


def test_what_a_promotion_lacked_counts_for_held_max() -> None:
    own = OwnEpoch(60.0)
    assert own.sync is Sync.NONE
    own.begin(SECOND, FIRST, 3, 10.0, whole=False)
    own.handle_timer(69.9)
    assert (own.sync, own.lacked, own.get_timer()) == (Sync.SYNCING, 3, 70.0)
    own.handle_timer(70.0)
    assert (own.sync, own.lacked, own.get_timer()) == (Sync.IN_SYNC, 0, None)
    own.begin(SECOND, FIRST, 0, 80.0, whole=True)
    assert (own.sync, own.get_timer()) == (Sync.IN_SYNC, None)
    own.go_on(Epoch(4, A))
    assert (own.epoch, own.origin) == (Epoch(4, A), SECOND)
    own.take_up(FIRST)
    assert (own.epoch, own.origin, own.sync) == (FIRST, NO_EPOCH, Sync.NONE)
