"""``ovpnha doctor``: gathers what ``check-config`` finds, reads the host, shows what is wrong.

Decides the layout only. What is found, and how bad it is, is ``ovpnha.doctor``'s; a line that
``check-config`` has is that line here, too.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ovpnha.cli.conntrackd import print_config
from ovpnha.cli.lint import find_refusals, lint, lint_http, lint_own_vip
from ovpnha.config import Config, InstanceSection, load_config
from ovpnha.config.problems import known_keys
from ovpnha.doctor.examine import DoctorAnswer, examine
from ovpnha.doctor.facts import ConfigurationFacts, InstanceFacts, Unread
from ovpnha.doctor.kinds import CATALOGUE, DoctorKind, Severity
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.model import ConntrackManager, VipManager
from ovpnha.runtime.hostcheck import find_own_vip
from ovpnha.runtime.hostfacts import Known, read_facts
from ovpnha.runtime.hostprograms import find_bad_programs
from ovpnha.runtime.hostsidecar import find_user
from ovpnha.runtime.netlink import read_network
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.serverfile import (
    Server,
    find_served,
    find_server_file,
    read_server,
)
from ovpnha.runtime.site import bcn_version, find_broadcast, make_plan

TITLES = {
    Severity.PROBLEM: ("Problems", "bold red"),
    Severity.WARNING: ("Warnings", "bold yellow"),
    Severity.NOTE: ("Notes", "bold"),
}


def run_doctor(
    path: Path, node: str | None, keepalived: Path | None, ignored: frozenset[DoctorKind]
) -> DoctorAnswer:
    """Look at this node, whatever state it is in."""
    return examine(read_facts(_find_out(path, node, keepalived)), ignored)


def _find_out(path: Path, node: str | None, keepalived: Path | None) -> Known:
    name = node or socket.gethostname().partition(".")[0]
    missing = _why_missing(path)
    if missing is not None:
        return Known(missing, name, keepalived=keepalived)
    try:
        config = load_config(path, node)
    except ConfigError as error:
        problems = tuple(str(error).splitlines())
        return Known(ConfigurationFacts(str(path), problems=problems), name, keepalived=keepalived)
    try:
        network = read_network()
    except OvpnhaError as error:
        unread = ConfigurationFacts(str(path), unread=str(error), instances=_instances(config))
        return Known(unread, config.cluster.node, config, keepalived=keepalived)
    return Known(
        read_configuration(path, config, network),
        config.cluster.node,
        config,
        network,
        _conntrackd(config, network),
        keepalived,
    )


def _why_missing(path: Path) -> ConfigurationFacts | None:
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return ConfigurationFacts(str(path), present=False)
    except OSError as error:
        return ConfigurationFacts(str(path), unread=f"{path}: {error.strerror}; run as root")
    return None


def read_configuration(path: Path, config: Config, network: NetworkTable) -> ConfigurationFacts:
    """What ``check-config`` says, but for the key and the packet filter, which have checks."""
    problems, soon = find_refusals(config, network, own_vips=False)
    problems += find_bad_programs(config, find_user(config).number)
    warnings = [*lint(config, network), *lint_http(config), *_plan_problems(config)]
    return ConfigurationFacts(
        path=str(path),
        problems=tuple(problems),
        own_vips={one.name: line for one in config.instance for line in find_own_vip(one, network)},
        warnings=tuple(warnings),
        pending=(*soon, *lint_own_vip(config, network)),
        instances=_instances(config),
        inside_vips=tuple(str(one.vip) for one in config.firewall.snat),
        bcn_version=bcn_version(config),
    )


def _server(one: InstanceSection) -> Server | None:
    path = find_server_file(one)
    try:
        return read_server(path) if path is not None else None
    except OSError:
        return None


def _plan_problems(config: Config) -> Iterator[str]:
    try:
        make_plan(config)
    except ConfigError as error:
        yield str(error)


def _instances(config: Config) -> tuple[InstanceFacts, ...]:
    found = []
    for one in config.instance:
        server = _server(one)
        served = find_served(server) if server is not None else ()
        found.append(
            InstanceFacts(
                name=one.name,
                vips=tuple(map(str, one.vip or served)),
                interface=one.vip_interface or "",
                track_file=str(one.track_file) if one.track_file is not None else "",
                keepalived=one.vip_manager is VipManager.KEEPALIVED,
            )
        )
    return tuple(found)


def _conntrackd(config: Config, network: NetworkTable) -> str | Unread:
    if config.conntrack.manager is not ConntrackManager.CONNTRACKD:
        return ""
    try:
        return print_config(config, network, find_broadcast(config))
    except ConfigError as error:
        return Unread(str(error))


def parse_kinds(names: list[str]) -> frozenset[DoctorKind]:
    """The kinds that somebody does not want to hear of."""
    for name in names:
        if name not in set(DoctorKind):
            raise ConfigError(f"--ignore: {known_keys(name, DoctorKind)}")
    return frozenset(map(DoctorKind, names))


# What is shown.


def show_report(report: DoctorAnswer, console: Console) -> None:
    """Print it: the worst first, each with its fix; then what could not be looked at."""
    for severity, (title, style) in TITLES.items():
        found = [one for one in report.findings if one.severity is severity]
        if not found:
            continue
        console.print(Text(title, style))
        for one in found:
            console.print(Text(f"- {one.what} [{one.kind.value}]"), soft_wrap=True)
            console.print(Text(f"  fix: {one.fix}", "green"), soft_wrap=True)
    if report.unmade:
        console.print(Text("Not looked at", "bold"))
        for lack in report.unmade:
            console.print(Text(f"- {lack.what}: {lack.why}"), soft_wrap=True)
    console.print(Text(_verdict(report)), soft_wrap=True)


def _verdict(report: DoctorAnswer) -> str:
    found = Counter(one.severity for one in report.findings)
    counts = [
        f"{found[severity]} {severity.value}{'s' * (found[severity] != 1)}" for severity in TITLES
    ]
    unmade = f", {len(report.unmade)} not looked at" if report.unmade else ""
    whole = len(report.fine)
    return f"node {report.node}: {', '.join(counts)}{unmade}; {whole} checks found nothing"


# docs/doctor.md


HEAD = """# What `ovpnha doctor` finds

Every kind of finding, as `--json` and `--ignore` name it; how bad it is, and what it means. What \
to do stands beside each finding. How to use it: [operations.md](operations.md), *Doctor*. This \
page is made from the program by `ovpnha reference --doctor`.

| kind | severity | what it means |
|---|---|---|
"""


def render_doctor() -> str:
    """The whole page, as Markdown."""
    rows = (f"| `{kind}` | {bad} | {text} |\n" for kind, (bad, text) in CATALOGUE.items())
    return HEAD + "".join(rows)
