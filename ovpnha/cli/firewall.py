"""``ovpnha firewall``: shows, sets and removes the nftables table of our own."""

from __future__ import annotations

import json
from pathlib import Path

from ovpnha.config import Config
from ovpnha.errors import ConfigError
from ovpnha.firewall.findings import LIBERAL, find_findings
from ovpnha.firewall.table import FAMILY, TABLE, Plan, render_table
from ovpnha.runtime.firewall import (
    read_liberal,
    read_rules,
    read_table,
    remove_table,
    set_liberal,
    set_table,
)
from ovpnha.runtime.netlink import read_network
from ovpnha.runtime.site import make_plan, make_site

NAME = f"table {FAMILY} {TABLE}"


def run_firewall(config: Config, verb: str, *, as_json: bool) -> str:
    """Show, apply or remove; gives what is to be printed.

    Raises:
        ConfigError: The configuration does not say what is wanted.
        FirewallError: It could not be done.
    """
    plan = make_plan(config)
    directory = config.control.socket.parent
    done = ""
    if verb == "apply":
        set_table(_needed(plan), directory)
        set_liberal(directory)
        done = f"{NAME}: set, and {LIBERAL} = 1\n"
    elif verb == "remove":
        done = f"{_remove(directory)}{_again(plan)}\n"
    if as_json:
        return json.dumps(_describe(config, plan), indent=2) + "\n"
    return done or render_table(_needed(plan))


def run_removal(directory: Path) -> str:
    """Remove without a configuration, which was taken away before; gives what is to be printed.

    Raises:
        FirewallError: It could not be done.
    """
    return f"{_remove(directory)}\n"


def _remove(directory: Path) -> str:
    done = "removed" if remove_table(directory) else "is not there"
    liberal = read_liberal()
    return f"{NAME}: {done}" + (f"; {LIBERAL} = {liberal}" if liberal is not None else "")


def _needed(plan: Plan | None) -> Plan:
    if plan is None:
        raise ConfigError(
            "firewall.manage: is false, so that nothing is set; set manage = true under [firewall]"
        )
    return plan


def _again(plan: Plan | None) -> str:
    if plan is None:
        return ""
    return "; a sidecar that runs sets it again, until manage = true is taken out and it restarts"


def _describe(config: Config, plan: Plan | None) -> dict[str, object]:
    """Everything that is known: what would be set, what is set, and what should be changed."""
    reading = read_rules()
    site = make_site(config, read_network())
    return {
        "manage": config.firewall.manage,
        "table": None if plan is None else render_table(plan),
        "present": read_table() is not None,
        "tcp_be_liberal": read_liberal(),
        "networks": [str(net) for net in site.tunnels],
        "vips": {name: [str(vip) for vip in vips] for name, vips in site.interfaces.items()},
        "findings": [
            {"kind": one.kind.value, "what": one.what, "fix": one.fix}
            for one in find_findings(site, reading.rules)
        ],
        "unread": list(reading.unread),
    }
