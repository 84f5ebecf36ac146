"""The files that a node gets: ``ovpnha.toml``, and keepalived's from the templates of ``deploy/``.

Decides what stands in them. A template is changed line by line, and only in lines that are known;
one that lacks such a line is refused, so that a template cannot change without this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovpnha.config.problems import toml_value
from ovpnha.errors import ConfigError
from ovpnha.setup.cluster import ClusterPlan

TOML_PATH = "/etc/ovpnha/ovpnha.toml"
KEY_PATH = "/etc/ovpnha/cluster.key"
KEEPALIVED_PATH = "/etc/keepalived/keepalived.conf"
NODE_PATH = "/etc/keepalived/node.conf"
CHECK_PATH = "/etc/keepalived/check-grade"
PACKAGED_CHECK = "/usr/lib/ovpnha/check-grade"

OUTSIDE_LINE = "        $OUTSIDE_VIP dev $OUTSIDE_IF\n"
OUTSIDE6_LINE = "        $OUTSIDE_VIP6\n"
INSIDE_LINE = "        $INSIDE_VIP dev $INSIDE_IF\n"
INSIDE_TRACKED = "    track_interface {\n        $INSIDE_IF\n    }\n"


@dataclass(frozen=True)
class KeepalivedFiles:
    """The files of keepalived: the templates, or what is made of them."""

    keepalived: str
    node: str
    check_grade: str


def render_toml(plan: ClusterPlan) -> str:
    """Our own configuration."""
    return "\n".join(
        [
            "# Made by `ovpnha init`. Every key: docs/configuration.md. Check: ovpnha check-config",
            "[cluster]",
            f"name = {toml_value(plan.cluster)}",
            f"key_file = {toml_value(KEY_PATH)}",
            "",
            "[bcn]",
            *_bcn_lines(plan),
            "",
            "[[instance]]",
            f"name = {toml_value(plan.instance)}",
            f"management = {toml_value(plan.management)}",
            f"vip = {toml_value(_vip_value(plan))}",
            f"vip_interface = {toml_value(plan.outside.interface)}",
            f"track_file = {toml_value(plan.grade_file)}",
            *_stock_lines(plan),
            *_firewall_lines(plan),
            "",
        ]
    )


def _vip_value(plan: ClusterPlan) -> object:
    ips = [str(one.ip) for one in plan.served]
    return ips if plan.beside else ips[0]


def _bcn_lines(plan: ClusterPlan) -> Iterable[str]:
    if plan.bcn_interface in {one.interface for one in plan.vips}:
        yield "# Whoever can flood that interface delays replication."
        yield "shared_with_clients = true"
    yield f"mode = {toml_value('unicast' if plan.bcn_nodes else 'broadcast')}"
    yield f"links = {toml_value([bcn_link(plan)])}"


def bcn_link(plan: ClusterPlan) -> dict[str, object]:
    """The link of the BCN, as a table of the configuration."""
    nodes = {"nodes": [str(one) for one in plan.bcn_nodes]} if plan.bcn_nodes else {}
    return {"interface": plan.bcn_interface, **nodes}


def _stock_lines(plan: ClusterPlan) -> Iterable[str]:
    if plan.stock:
        yield "# OpenVPN is the distribution's: clients reconnect at a takeover."
        yield "seamless = false"
        if plan.keeps:
            yield f"pool_file = {toml_value(plan.pool_file)}"
        if plan.tcp_port is not None:
            yield f"tcp_port = {plan.tcp_port}"


def _firewall_lines(plan: ClusterPlan) -> Iterable[str]:
    if plan.inside is not None:
        yield ""
        yield "# For check-config: the address that the tunnels' traffic has when it is translated."
        yield "[firewall]"
        snat = {"interface": plan.inside.interface, "vip": str(plan.inside.ip)}
        yield f"snat = {toml_value([snat])}"


def render_keepalived(plan: ClusterPlan, templates: KeepalivedFiles, check: str) -> KeepalivedFiles:
    """The files of this node; ``check`` is where the script will be."""
    mixed = plan.inside is not None and plan.inside.ip.version != plan.outside.ip.version
    text = templates.keepalived
    if plan.inside is None:
        text = _cut(text, INSIDE_TRACKED)
    if plan.inside is None or mixed:
        text = _cut(text, INSIDE_LINE)
    text = _with_more(text, plan)
    node = set_variables(templates.node, make_variables(plan, check, mixed=mixed))
    return KeepalivedFiles(text, node, templates.check_grade)


def _with_more(text: str, plan: ClusterPlan) -> str:
    """Further VIPs stand beside the first, those of the other family where keepalived has them."""
    for one in reversed(plan.beside):
        same = one.ip.version == plan.outside.ip.version
        after = OUTSIDE_LINE if same else OUTSIDE6_LINE
        line = f"        {one.address} dev $OUTSIDE_IF\n"
        if after not in text:
            raise ConfigError(f"{KEEPALIVED_PATH}: the template lacks {after.split()[0]}")
        text = text.replace(after, after + line, 1)
    return text


def make_variables(plan: ClusterPlan, check: str, *, mixed: bool = False) -> dict[str, str]:
    """What differs between the nodes, and the addresses of the site."""
    inside = plan.inside
    moving = "" if inside is None else str(inside.address)
    return {
        "NODE": plan.node,
        "PRIORITY": str(plan.priority),
        "OUTSIDE_IF": plan.outside.interface,
        "OUTSIDE_VIP": str(plan.outside.address),
        "INSIDE_IF": "" if inside is None else inside.interface,
        "INSIDE_VIP": "" if mixed else moving,
        "INSIDE_VIP6": f"{moving} dev $INSIDE_IF" if mixed else "",
        "ROUTER_ID": str(plan.router_id),
        "GRADE_FILE": plan.grade_file,
        "CHECK_GRADE": f'"{check} {plan.grade_file}"',
    }


def set_variables(text: str, variables: Mapping[str, str]) -> str:
    """``node.conf`` with these values; ConfigError when it lacks one."""
    for name, value in variables.items():
        pattern = re.compile(rf"^\${name}=.*$", re.M)
        if not pattern.search(text):
            raise ConfigError(f"{NODE_PATH}: has no line ${name}=; take deploy/keepalived anew")
        text = pattern.sub(f"${name}={value}".replace("\\", r"\\"), text, count=1)
    return text


def _cut(text: str, lines: str) -> str:
    if lines not in text:
        raise ConfigError(f"{KEEPALIVED_PATH}: the template lacks {lines.split()[0]}")
    return text.replace(lines, "", 1)
