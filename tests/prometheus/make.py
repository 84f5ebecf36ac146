"""The test file for ``promtool test rules``: each alert with what fires it and what must not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

A = 'node="a",instance="udp"'
B = 'node="b",instance="udp"'


@dataclass(frozen=True)
class Case:
    """Series that fire an alert, and series that must not; ``[start, step]`` each second."""

    alert: str
    fires: dict[str, str]
    calm: dict[str, str]


def masters(a: int, b: int) -> dict[str, str]:
    return {
        f'ovpnha_role{{{A},role="master"}}': steady(a),
        f'ovpnha_role{{{B},role="master"}}': steady(b),
        f"ovpnha_vip_present{{{A}}}": steady(a),
        f"ovpnha_vip_present{{{B}}}": steady(b),
    }


def steady(value: float) -> str:
    return f"{value:g}+0x120"


def rising(step: float) -> str:
    return f"0+{step:g}x120"


def copy(in_sync: int) -> dict[str, str]:
    return {
        f'ovpnha_role{{{B},role="standby"}}': steady(1),
        f'ovpnha_sync{{{B},sync="in_sync"}}': steady(in_sync),
    }


def protected(count: int) -> dict[str, str]:
    return {
        **masters(1, 0),
        f"ovpnha_clients{{{A}}}": steady(5),
        f"ovpnha_protected_clients{{{A}}}": steady(count),
    }


LONE = {
    'ovpnha_alone{node="c"}': steady(1),
    'ovpnha_clients{node="c",instance="udp"}': steady(5),
    'ovpnha_protected_clients{node="c",instance="udp"}': steady(0),
    'ovpnha_role{node="c",instance="udp",role="master"}': steady(1),
}
"""A server without any other node, which protects nobody."""

STOCK = {
    'ovpnha_meant_stock{node="d",instance="udp"}': steady(1),
    'ovpnha_clients{node="d",instance="udp"}': steady(5),
    'ovpnha_protected_clients{node="d",instance="udp"}': steady(0),
    'ovpnha_role{node="d",instance="udp",role="master"}': steady(1),
}
"""One whose OpenVPN is the distribution's, as it is meant to be."""


def promotions(quick: str) -> dict[str, str]:
    """Two promotions after half a minute; ``quick`` of them within 250 ms."""
    labels = f'{A},phase="promoted"'
    return {
        f"ovpnha_promotion_seconds_count{{{labels}}}": "0+0x30 2+0x90",
        f'ovpnha_promotion_seconds_bucket{{{labels},le="0.25"}}': f"0+0x30 {quick}+0x90",
    }


REFUSED = 'ovpnha_datagrams_refused_total{node="a",reason="%s"}'

CASES = (
    Case("OvpnhaNobodyMaster", masters(0, 0), masters(1, 0)),
    Case("OvpnhaTwoMasters", masters(1, 1), masters(1, 0)),
    Case(
        "OvpnhaFenceWaits",
        {f"ovpnha_fence_waits{{{B}}}": steady(1)},
        {f"ovpnha_fence_waits{{{B}}}": "0+0x92 1+0x40"},
    ),
    Case(
        "OvpnhaFenceFails",
        {f"ovpnha_fence_failures{{{B}}}": "0+0x30 1+0x30 2+0x60"},
        {f"ovpnha_fence_failures{{{B}}}": "0+0x30 1+0x30 0+0x60"},
    ),
    Case("OvpnhaNodeNotInSync", copy(0), copy(1)),
    Case(
        "OvpnhaRecordsRefused",
        {f"ovpnha_refused_records{{{B}}}": steady(1)},
        {f"ovpnha_refused_records{{{B}}}": steady(0)},
    ),
    Case(
        "OvpnhaClientsUnprotected",
        protected(4)
        | {'ovpnha_alone{node="a"}': steady(0), f"ovpnha_meant_stock{{{A}}}": steady(0)},
        protected(5) | LONE | STOCK,
    ),
    Case(
        "OvpnhaSpareMissing",
        {f'ovpnha_spare_ready{{{A},policy="always"}}': steady(0)},
        {f'ovpnha_spare_ready{{{A},policy="restart"}}': steady(0)},
    ),
    Case(
        "OvpnhaOpenvpnDied",
        {f"ovpnha_spare_crashes_total{{{A}}}": rising(1)},
        {f"ovpnha_spare_crashes_total{{{A}}}": steady(3)},
    ),
    Case(
        "OvpnhaTablesDiffer",
        {'ovpnha_digest_mismatches_total{node="b"}': rising(1)},
        {
            'ovpnha_digest_mismatches_total{node="b"}': steady(7),
            'ovpnha_repaired_total{node="b"}': rising(50),
        },
    ),
    Case(
        "OvpnhaNodeDiffers",
        {f'ovpnha_node_differs{{{A},other_node="b"}}': steady(1)},
        {f'ovpnha_node_differs{{{A},other_node="b"}}': steady(0)},
    ),
    Case(
        "OvpnhaSealFailures", {REFUSED % "unknown_key": rising(2)}, {REFUSED % "own": rising(200)}
    ),
    Case(
        "OvpnhaPacketIdsUsedUp",
        {f'ovpnha_events_total{{{A},kind="capped"}}': rising(1)},
        {f'ovpnha_events_total{{{A},kind="capped"}}': steady(9)},
    ),
    Case(
        "OvpnhaPacketIdsRunLow",
        {f"ovpnha_packet_id_room_lowest{{{A}}}": steady(1e5)},
        {f"ovpnha_packet_id_room_lowest{{{A}}}": steady(4e9)},
    ),
    Case(
        "OvpnhaClockOffset",
        {f'ovpnha_node_clock_offset_seconds{{{A},other_node="b"}}': steady(-6)},
        {f'ovpnha_node_clock_offset_seconds{{{A},other_node="b"}}': steady(0.3)},
    ),
    Case(
        "OvpnhaBcnLinkDown",
        {'ovpnha_link_up{node="a",link="bcn0"}': steady(0)},
        {'ovpnha_link_up{node="a",link="bcn0"}': steady(1)},
    ),
    Case(
        "OvpnhaManagementDown",
        {f"ovpnha_openvpn_up{{{A}}}": steady(0)},
        {f"ovpnha_openvpn_up{{{A}}}": steady(1)},
    ),
    Case(
        "OvpnhaNoVipManager",
        {f'ovpnha_node_vip_manager{{{A},other_node="b"}}': steady(0)},
        {
            f"ovpnha_vip_manager{{{A}}}": steady(1),
            f'ovpnha_node_vip_manager{{{A},other_node="b"}}': steady(1),
        },
    ),
    Case(
        "OvpnhaConntrackDown",
        {'ovpnha_conntrack_up{node="a"}': steady(0)},
        {'ovpnha_conntrack_up{node="a"}': steady(1)},
    ),
    Case(
        "OvpnhaFirewallNotSet",
        {'ovpnha_firewall_set{node="a"}': steady(0)},
        {'ovpnha_firewall_set{node="a"}': steady(1)},
    ),
    Case(
        "OvpnhaOpenvpnOutdated",
        {'ovpnha_openvpn_source_outdated{node="a"}': steady(1)},
        {'ovpnha_openvpn_source_outdated{node="a"}': steady(0)},
    ),
    *(
        Case(
            alert,
            {f'ovpnha_check_failed{{{A},check="lan",critical="{critical}"}}': steady(1)},
            {f'ovpnha_check_failed{{{A},check="lan",critical="{critical}"}}': steady(0)},
        )
        for alert, critical in (
            ("OvpnhaCriticalCheckFailed", "true"),
            ("OvpnhaCheckFailed", "false"),
        )
    ),
    Case(
        "OvpnhaSidecarDown",
        {'up{job="ovpnha",node="a"}': steady(0)},
        {'up{job="ovpnha",node="a"}': steady(1)},
    ),
    Case("OvpnhaPromotionSlow", promotions("1"), promotions("2")),
)


def make(rules: Path) -> dict[str, Any]:
    """What promtool reads; JSON is YAML."""
    tests = [_test(case.fires) for case in CASES] + [_test(case.calm) for case in CASES]
    return {"rule_files": [str(rules)], "evaluation_interval": "1s", "tests": tests}


def _test(series: dict[str, str]) -> dict[str, Any]:
    return {
        "interval": "1s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
    }


def firing(alert: str) -> str:
    """An expression that is there while the alert fires."""
    return f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
