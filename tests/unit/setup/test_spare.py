"""The way back of a server with a second process, whoever has added that and whichever serves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.setup.commands import (
    Before,
    Command,
    StockUnit,
    Units,
    find_return,
    note_before,
    note_before_alone,
)
from tests.unit.setup.builders import ANSWERS, SOURCE, host, plan

MAIN, SPARE = "openvpn-cluster@office", "openvpn-cluster-spare@office"
STOCK = StockUnit("openvpn-server@office.service", enabled=True, active=True)
UNUSED = replace(STOCK, active=False)
OWN = host(("eth0", "192.0.2.10/24"), ("eth1", "198.51.100.1/24"), ("bcn0", "192.168.77.1/24"))
ANSWERED = replace(ANSWERS, own_address="192.0.2.11")


def before(stock: StockUnit = STOCK) -> Before:
    """How it was on a node of a cluster."""
    return note_before(plan(ANSWERED, OWN), SOURCE.path, stock, OWN)


def order(commands: list[Command], *words: str) -> list[int]:
    """Where the one command with each of these words is."""
    texts = [" ".join(one) for one in commands]
    found = []
    for word in words:
        (at,) = (at for at, text in enumerate(texts) if word in text)
        found.append(at)
    return found


@pytest.mark.parametrize("stock", [STOCK, UNUSED])
@pytest.mark.parametrize(
    "now",
    [
        Units(runs_main=True, runs_spare=True, starts_spare=True),
        Units(runs_main=True, runs_spare=True, starts_spare=False),
        Units(runs_main=True, runs_spare=False, starts_spare=True),
        Units(runs_main=False, runs_spare=False, starts_spare=True),
    ],
)
def test_a_spare_that_somebody_has_added_ends_before_the_main_one(
    now: Units, stock: StockUnit
) -> None:
    """So that the main one has the clients, and says goodbye to them while it has the address."""
    back = list(find_return(before(stock), now=now))
    assert back[0] == ("systemctl", "disable", "--now", SPARE)
    found = order(back, f"--no-block {MAIN};", "--no-block keepalived", f"kill-who=main {MAIN} ")
    assert found == sorted(found)
    assert found[0] == 1
    assert back[1:] == list(find_return(before(stock)))


@pytest.mark.parametrize("by_init", [False, True])
def test_a_spare_that_serves_alone_is_who_says_goodbye(*, by_init: bool) -> None:
    """The main one, which systemd may try to start again and again, must not go on in its place."""
    now = Units(runs_main=False, runs_spare=True, starts_spare=by_init)
    back = list(find_return(replace(before(), spare=by_init), now=now))
    assert back[0] == ("systemctl", "disable", "--now", MAIN)
    found = order(
        back,
        f"--no-block {SPARE};",
        "--no-block keepalived",
        f"kill-who=main {SPARE} ",
        f"systemctl start {STOCK.name}",
        f"disable --now {SPARE} ovpnha",
    )
    assert found == sorted(found)
    assert not any(MAIN in word for one in back[1:] for word in one)


def test_a_spare_beside_a_stock_openvpn_ends_too() -> None:
    """It was enabled before the distribution's OpenVPN came back."""
    now = Units(runs_main=True, runs_spare=False, starts_spare=True)
    back = list(find_return(replace(before(), beside=True), now=now))
    assert back[0] == ("systemctl", "disable", "--now", SPARE)
    assert not any(f"{MAIN} " in " ".join(one) for one in back)


def test_where_there_is_none_no_unit_is_named_that_may_not_be_there() -> None:
    now = Units(runs_main=True, runs_spare=False, starts_spare=False)
    assert list(find_return(before(), now=now)) == list(find_return(before()))
    assert not any(SPARE in word for one in find_return(before(), now=now) for word in one)


def test_that_of_init_is_known_where_nobody_can_be_asked() -> None:
    alone = note_before_alone("office", SOURCE.path, STOCK, host())
    assert next(find_return(alone)) == ("systemctl", "disable", "--now", SPARE)
