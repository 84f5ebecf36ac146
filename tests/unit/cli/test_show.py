"""What `ovpnha status` says on a terminal."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from ovpnha.cli.show import show_status
from ovpnha.node.statistics import NodeStatistics
from ovpnha.runtime.codec import from_plain
from ovpnha.runtime.rows import describe_status
from tests.unit.cli.answers import NODE_VIEW, STATUS


def row(title: str, **changes: Any) -> str:
    """What a row of the first table says of an instance, on 80 columns, its lines joined."""
    text = shown(STATUS["instances"][0] | {"nodes": []} | changes)
    lines = iter(text.splitlines())
    begin = next(line for line in lines if line.startswith(f"{title} "))
    more = itertools.takewhile(lambda line: line.startswith("  "), lines)
    return " ".join(line.partition("│")[2].strip() for line in (begin, *more))


def printed(status: dict[str, Any], width: int) -> str:
    """What a daemon's answer looks like on a terminal of this width."""
    console = Console(record=True, width=width, file=io.StringIO())
    show_status(describe_status(from_plain(NodeStatistics, status)), console)
    return console.export_text()


DOWN = {"kind": "management_unreachable", "text": "", "fix": "start it", "instance": "udp"}
STOCK = {"seamless": False, "stock": True, "meant_stock": True, "protected": 0}
STOCK_BESIDE = STOCK | {
    "role": "standby",
    "sync": "in_sync",
    "leases": 7,
    "leases_from": "b",
    "vip": False,
}
PROCESSES = {
    "serving": "main",
    "main": {"place": "master", "clients": 3},
    "spare": {"place": "standby", "sync": "in_sync", "clients": 3},
}
STANDBY = {"role": "standby", "sync": "in_sync", "following": "b", "records": 7}


@pytest.mark.parametrize(
    ("title", "changes", "expected"),
    [
        ("role", {}, "master: serves the clients"),
        ("role", STANDBY, "standby: silent, ready to take over"),
        ("role", {"role": "init", "openvpn": ""}, "init: has not heard from OpenVPN yet"),
        ("role", {"role": "init"}, "init: OpenVPN without cluster serves by itself"),
        ("role", STANDBY | {"grade": -254}, "standby: silent, and must not take over"),
        ("VIP", {"vip": False}, "no node that is heard has it"),
        ("VIP", {"vip": False, "nodes": [NODE_VIEW | {"vip": True}]}, "not here, b has it"),
        ("OpenVPN", {}, "2.6.14, takeovers are seamless"),
        ("OpenVPN", {"seamless": False}, "2.6.14, seamless: no, clients reconnect at a takeover"),
        ("OpenVPN", {"openvpn": ""}, "connected, has not answered yet"),
        ("OpenVPN", {"management_up": False}, "not connected"),
        (
            "processes",
            {"spare": PROCESSES},
            "the main process serves, the spare one is standby, in sync",
        ),
        (
            "processes",
            {"spare": PROCESSES | {"serving": "spare", "main": {"place": "absent"}}},
            "the spare process is standby, the main one is absent",
        ),
        (
            "processes",
            {"spare": PROCESSES | {"spare": {"place": "standby", "sync": "syncing"}}},
            "the main process serves, the spare one is standby, its copy is being made",
        ),
        ("clients", {"protected": 3}, "3, all protected"),
        ("clients", {"protected": 0}, "3, none protected (one has waited for 4.0 s)"),
        ("clients", {"clients": 0, "protected": 0}, "none"),
        (
            "clients",
            {"protected": 3, "apart": 2},
            "3 protected, and 2 at an address that does not move",
        ),
        ("clients", STANDBY, "7 copied here"),
        ("clients", STANDBY | {"stale": 2}, "7 copied here, 2 missing or outdated"),
        ("clients", {"role": "init"}, "3"),
        ("copy", {}, "- (this node has the originals)"),
        ("copy", STANDBY, "in sync with b"),
        ("copy", STANDBY | {"following": None}, "was in sync; the master is not heard any more"),
        ("copy", STANDBY | {"sync": "none"}, "none: no master is heard"),
        ("copy", {"role": "fault", "sync": "none"}, "none"),
        ("copy", STANDBY | {"sync": "syncing"}, "being made of b"),
        (
            "copy",
            STANDBY | {"sync": "syncing", "following": None},
            "being made of a master that is not heard",
        ),
        ("role", STOCK, "master: OpenVPN without cluster serves, the VIP is here"),
        ("role", STOCK_BESIDE, "standby: OpenVPN without cluster runs, the VIP is not here"),
        ("OpenVPN", STOCK, "2.6.14, seamless: no, clients reconnect at a takeover"),
        ("clients", STOCK, "3, none protected"),
        ("clients", STOCK | {"role": "init"}, "3"),
        (
            "clients",
            STOCK | {"addresses_kept": 2, "addresses_changed": 1},
            "3, none protected; 2 of 3 that came back have their addresses",
        ),
        ("clients", STOCK_BESIDE | {"addresses_kept": 2}, "3, none protected"),
        ("clients", STOCK | {"clients": 0}, "none"),
        ("copy", STOCK, "- (this node has the originals)"),
        ("copy", STOCK_BESIDE, "addresses of 7 clients, no clients, of b"),
        ("copy", STOCK_BESIDE | {"sync": "syncing"}, "addresses being fetched from b"),
        ("copy", STOCK_BESIDE | {"leases_from": None, "leases": 0}, "none"),
        (
            "copy",
            STOCK_BESIDE | {"leases_from": None},
            "addresses of 7 clients, no clients; the node that served is not heard",
        ),
        ("grade", {}, "120, master"),
        ("grade", {"grade": -254, "problems": [DOWN]}, "-254, refuses the VIP (see below)"),
        ("epoch", {"epoch": "0/"}, "none: no node has ever been promoted"),
        ("promotions", {"promotions": 0}, "none of this node"),
        ("promotions", {"last_promotion_phases": {}}, "1 of this node"),
        ("new keys", {"rekey": {"pending": 0, "done": 0, "left": 0}}, "-"),
    ],
)
def test_what_the_rows_say(title: str, changes: dict[str, Any], expected: str) -> None:
    assert row(title, **changes) == expected


def test_a_vip_that_nobody_has_and_a_node_that_refuses_it_are_told() -> None:
    nobody = STATUS["instances"][0] | STANDBY | {"vip": False}
    text = shown(nobody | {"nodes": [NODE_VIEW | {"vip": True, "believed": False}]})
    assert "- udp: no node that is heard has the VIP; does the VIP manager run?" in text
    refusing = nobody | {"grade": -254}
    text = shown(refusing | {"nodes": [NODE_VIEW | {"vip": False, "grade": -254}]})
    assert "- udp: no node that is heard has the VIP; each refuses it (grade -254)" in text
    text = shown(STATUS["instances"][0] | {"nodes": [NODE_VIEW | {"grade": -254}]})
    assert "- udp, node b: refuses the VIP (grade -254); ovpnha status there says why" in text
    text = shown(STATUS["instances"][0] | {"nodes": [NODE_VIEW | {"managed": False}]})
    assert "- udp, node b: cannot take the VIP: no VIP manager reads its grade" in text


def test_a_problem_is_told_with_its_fix() -> None:
    path = "/run/openvpn-server/udp.sock"
    instance = STATUS["instances"][0] | {
        "problems": [
            DOWN | {"text": f"OpenVPN is not reached: management socket {path}: No such file"}
        ],
        "nodes": [NODE_VIEW | {"has_instance": False, "vip": True}],
    }
    status = STATUS | {
        "instances": [instance],
        "links": {"bcn0": False},
        "lacking": {"tcp": ["b", "c"]},
    }
    text = printed(status, 80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert " ".join(text.partition("Problems:")[2].split()) == (
        "- BCN link bcn0 is down: no carrier, switched off, or not there"
        " - b, c: has an instance tcp, which this node lacks; write the same [[instance]] on all"
        f" nodes - udp: OpenVPN is not reached: management socket {path}: No such file; start it"
        " - udp, node b: has no instance udp; write the same [[instance]] on all nodes"
    )


def test_connections_that_do_not_travel_are_a_problem() -> None:
    text = printed(STATUS | {"tracking": {"problem": "conntrackd does not run"}}, 200)
    assert "conntrackd does not run. Connections behind NAT would break" in text


def test_a_firewall_that_is_not_set_is_a_problem() -> None:
    text = printed(STATUS | {"firewall": "the table was not set"}, 200)
    assert "the table was not set. Connections behind NAT would break" in text


@pytest.mark.parametrize(
    ("offset", "shown"),
    [(None, ""), (0.4, ""), (7.04, "clock is 7.0 s ahead"), (-2.0, "clock is 2.0 s behind")],
)
def test_a_clock_that_is_off_is_a_problem(offset: float | None, shown: str) -> None:
    one = STATUS["instances"][0] | {"nodes": [NODE_VIEW | {"clock_offset": offset}]}
    text = printed(STATUS | {"instances": [one]}, 200)
    assert shown in text
    assert bool(shown) is ("clock" in text)


def shown(*instances: dict[str, Any]) -> str:
    return printed(STATUS | {"instances": list(instances)}, 80)


def test_a_long_problem_is_whole_on_a_narrow_terminal() -> None:
    differs = DOWN | {"kind": "node_differs", "text": "certificate differs", "fix": "", "node": "b"}
    node = NODE_VIEW | {"problem": differs, "role": "master", "vip": True}
    one = STATUS["instances"][0] | {"nodes": [node]}
    assert "\n- udp, node b: certificate differs\n" in shown(one)
    doubted = one | {"name": "other", "nodes": [NODE_VIEW | {"believed": False}]}
    text = shown(one, doubted)
    assert "\n- other, node b: heard, but not believed yet; if that lasts," in text
    (line,) = [line for line in text.splitlines() if line.startswith("b ") and "has it" in line]
    assert line.replace("│", "").split() == [
        "b",
        "master",
        "has",
        "it",
        "-",
        "90",
        "2",
        "0.2",
        "s",
        "ago",
        "udp",
    ]


def test_a_node_that_left_is_not_one_to_be_believed_soon() -> None:
    gone = NODE_VIEW | {"believed": False, "lost": True, "age": 60.0, "vip": True}
    text = shown(STATUS["instances"][0] | {"nodes": [gone]})
    assert "- udp, node b: not heard any more; it is down" in text
    (line,) = [line for line in text.splitlines() if line.startswith("b ")]
    assert [cell.strip() for cell in line.split("│")][1:5] == ["was standby", "had it", "-", "-"]


def test_a_node_without_others_says_so() -> None:
    text = shown(STATUS["instances"][0] | {"nodes": []})
    assert "Other nodes: none is heard" in text
    assert "- no other node is heard; does ovpnha run there, with the same cluster" in text
    refusing = {"vip": False, "grade": -254, "role": "init", "nodes": []}
    text = shown(STATUS["instances"][0] | refusing)
    assert "- udp: no node that is heard has the VIP; this node refuses it (grade" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, False),  # one has just connected
        ({"oldest_unprotected": 10.0}, True),
        ({"oldest_unprotected": 10.0, "protected": 3}, False),
        ({"oldest_unprotected": 10.0, "role": "held"}, False),
    ],
)
def test_what_a_failover_would_cost_is_a_problem(changes: dict[str, Any], told: bool) -> None:
    text = printed(STATUS | {"instances": [STATUS["instances"][0] | changes]}, 200)
    assert ("- udp: 1 of 3 clients would reconnect if this node died: no other" in text) is told
