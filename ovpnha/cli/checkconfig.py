"""``ovpnha check-config``: the command. What there is to find, ``ovpnha.cli.lint`` knows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, NodeOption
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.errors import ConfigError
from ovpnha.runtime.journal import is_journal
from ovpnha.runtime.keyfile import read_keys


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
    it, the former is a warning, too: clients are not left without a sidecar for want of a hook.

    Exit code 2 and one line for each problem; warnings are told but are no problems.
    """
    from ovpnha.cli.lint import lint, lint_firewall, lint_http, lint_own_vip, refused_by_host
    from ovpnha.runtime.hostprograms import find_bad_programs, find_in_time
    from ovpnha.runtime.hostsidecar import find_user
    from ovpnha.runtime.netlink import read_network
    from ovpnha.runtime.serverfile import check_server_files

    checked = load_config(config, node)
    keys = read_keys(checked.cluster.key_file)
    network = read_network()
    problems, soon = check_server_files(checked)
    refused = [*refused_by_host(checked, network), *problems]
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
    for warning in (*warnings, *lint_firewall(checked, network)):
        typer.echo(f"{priority}warning: {warning}", err=True)
    names = ", ".join(one.name for one in checked.instance)
    typer.echo(
        f"{config}: good. Node {checked.cluster.node} of cluster {checked.cluster.name},"
        f" {len(keys)} key(s), instances: {names}"
    )
