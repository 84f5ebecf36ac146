"""``ovpnha check-config``: the command. What there is to find, ``ovpnha.cli.lint`` knows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, NodeOption
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.errors import ConfigError
from ovpnha.runtime.journal import is_journal


def check_config(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    starting: Annotated[
        bool,
        typer.Option(
            "--starting",
            help="For the unit: a program that cannot be started is a warning, no problem.",
        ),
    ] = False,
) -> None:
    """Check configuration and key file as `run` would, and warn of what looks wrong on this host.

    OpenVPN's own configuration is read as well: what `cluster` refuses there is a problem, and
    before that file says `cluster` something to fix first. So is this host's packet filter: what
    in it ends the connections of clients at a move is told with the rule to use instead. A program
    of `[fence]`, `[[hook]]` or `[[check]]` that this user cannot start is a problem, one that only
    the sidecar's user cannot start a warning. With `--starting`, as the unit of the sidecar calls
    it, the former is a warning, too: clients are not left without a sidecar for want of a hook. Nor
    are they, while OpenVPN runs, for a line of its file, which it reads when it starts next, or for
    an address that this host lacks at the moment.

    Exit code 2 and one line for each problem; warnings are told but are no problems.
    """
    from ovpnha.cli.lint import find_refusals, lint, lint_firewall, lint_http, lint_own_vip
    from ovpnha.runtime.composing import find_keys
    from ovpnha.runtime.hostcheck import is_served
    from ovpnha.runtime.hostprograms import find_bad_programs, find_in_time
    from ovpnha.runtime.hostsidecar import find_user
    from ovpnha.runtime.netlink import read_network

    checked = load_config(config, node)
    keys = find_keys(checked)
    network = read_network()
    refused, soon = find_refusals(checked, network, served=starting and is_served(checked))
    if not starting:
        refused += find_bad_programs(checked, None)
    if refused:
        raise ConfigError("\n".join(refused))
    warnings = [*lint(checked, network), *lint_http(checked), *soon]
    warnings += lint_own_vip(checked, network)
    warnings += (
        find_in_time(checked) if starting else find_bad_programs(checked, find_user(checked).number)
    )
    priority = "<4>" if is_journal(sys.stderr) else ""
    if not checked.cluster.alone:  # nothing of a connection goes to another host
        warnings += lint_firewall(checked, network)
    for warning in warnings:
        typer.echo(f"{priority}warning: {warning}", err=True)
    names = ", ".join(one.name for one in checked.instance)
    told = f"Node {checked.cluster.node} of cluster {checked.cluster.name}, {len(keys)} key(s)"
    if checked.cluster.alone:
        told = f"Server {checked.cluster.node}, alone"
    typer.echo(f"{config}: good. {told}, instances: {names}")
