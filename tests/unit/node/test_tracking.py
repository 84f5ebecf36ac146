"""Who serves tells, and nobody else: what conntrackd is ordered, and when."""

from __future__ import annotations

import math

import pytest

from ovpnha.model import InstanceName, Role
from ovpnha.node.tracking import SETTLE, Order, Tracking

ONE, TWO = InstanceName("udp"), InstanceName("other")
REFRESH = 30.0
SERVE, LEAVE = (Order.FILL, Order.TELL), (Order.FORGET, Order.ASK)


def make(role: Role | None = None, *, told: int = 0) -> Tracking:
    """At 0.0 with conntrackd up; with a role, everything of it is ordered."""
    tracking = Tracking([ONE], REFRESH, 0.0)
    tracking.answered(told, 0.0)
    if role is not None:
        tracking.role_changed(ONE, role, 0.0)
        tracking.orders(SETTLE)
    return tracking


def test_a_new_master_tells_all_that_its_kernel_knows() -> None:
    tracking = make(Role.STANDBY)
    tracking.role_changed(ONE, Role.MASTER, 10.0)
    assert tracking.orders(10.0 + SETTLE) == SERVE
    assert tracking.orders(10.1 + SETTLE) == ()


def test_nothing_is_ordered_while_a_promotion_is_under_way() -> None:
    tracking = make(Role.STANDBY)
    tracking.role_changed(ONE, Role.MASTER, 10.0)
    assert tracking.next_due() == tracking.quiet_until() == 10.0 + SETTLE
    assert tracking.orders(10.0 + SETTLE - 0.01) == ()


def test_when_something_is_due_by_time_alone() -> None:
    assert make().next_due() == math.inf  # the role is not known
    assert make(Role.STANDBY).next_due() == math.inf
    master = make(Role.MASTER)
    assert master.next_due() == SETTLE + REFRESH
    assert master.quiet_until() == make().quiet_until() == -math.inf
    master.lost()
    assert master.next_due() == math.inf


@pytest.mark.parametrize("role", [Role.STANDBY, Role.FAULT])
def test_who_serves_no_more_forgets_before_its_timers_end_live_connections(role: Role) -> None:
    tracking = make(Role.MASTER)
    tracking.role_changed(ONE, role, 10.0)
    assert tracking.orders(10.0 + SETTLE) == LEAVE


def test_a_held_master_has_not_stopped_serving() -> None:
    tracking = make(Role.MASTER)
    tracking.role_changed(ONE, Role.HELD, 10.0)
    assert tracking.orders(10.0 + SETTLE) == ()
    tracking.role_changed(ONE, Role.MASTER, 11.0)
    assert tracking.orders(11.0 + SETTLE) == ()


def test_a_held_master_that_becomes_standby_has() -> None:
    tracking = make(Role.MASTER)
    tracking.role_changed(ONE, Role.HELD, 10.0)
    tracking.role_changed(ONE, Role.STANDBY, 11.0)
    assert tracking.orders(11.0 + SETTLE) == LEAVE


def test_a_sidecar_that_does_not_know_its_role_yet_orders_nothing() -> None:
    tracking = make()
    assert tracking.orders(100.0) == ()


def test_all_is_told_again_before_a_standby_s_timers_end() -> None:
    tracking = make(Role.MASTER)
    first = SETTLE + REFRESH
    assert tracking.orders(first - 0.1) == ()
    assert tracking.orders(first) == (Order.TELL,)
    assert tracking.orders(first + REFRESH - 0.1) == ()
    assert tracking.orders(first + REFRESH) == (Order.TELL,)


def test_a_standby_tells_nothing_again() -> None:
    assert make(Role.STANDBY).orders(SETTLE + REFRESH) == ()


def test_a_standby_whose_conntrackd_filled_its_cache_lets_it_forget() -> None:
    tracking = make(Role.STANDBY)
    tracking.answered(7, 20.0)
    assert tracking.orders(20.0) == (Order.FORGET,)
    assert tracking.orders(20.1) == ()


@pytest.mark.parametrize(("role", "orders"), [(Role.MASTER, SERVE), (Role.STANDBY, LEAVE)])
def test_one_that_was_started_anew_is_told_everything(
    role: Role, orders: tuple[Order, ...]
) -> None:
    tracking = make(role)
    tracking.lost()
    assert tracking.orders(20.0) == ()
    tracking.answered(0, 50.0)
    assert tracking.orders(50.0) == orders


def test_one_that_comes_up_in_a_promotion_waits_for_its_end() -> None:
    tracking = Tracking([ONE], REFRESH, 0.0)
    tracking.role_changed(ONE, Role.MASTER, 10.0)
    tracking.answered(0, 10.2)
    assert tracking.orders(10.3) == ()
    assert tracking.orders(10.0 + SETTLE) == SERVE


def test_a_node_serves_while_one_of_its_instances_does() -> None:
    tracking = Tracking([ONE, TWO], REFRESH, 0.0)
    tracking.answered(0, 0.0)
    tracking.role_changed(ONE, Role.MASTER, 0.0)
    tracking.role_changed(TWO, Role.MASTER, 0.0)
    assert tracking.orders(SETTLE) == SERVE
    tracking.role_changed(ONE, Role.STANDBY, 10.0)
    assert tracking.orders(10.0 + SETTLE) == ()
    tracking.role_changed(TWO, Role.STANDBY, 20.0)
    assert tracking.orders(20.0 + SETTLE) == LEAVE
