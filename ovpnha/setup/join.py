"""What a further node gets: everything from the first one's sealed file, with its own names.

Decides what differs between the nodes: name, priority, interfaces, where the script is. The rest is
the same, byte for byte, so that the nodes' digests are.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ovpnha.config.problems import toml_value
from ovpnha.setup.answers import BROADCAST, NONE, Answers, find_interface
from ovpnha.setup.bundle import Bundle
from ovpnha.setup.cluster import ClusterPlan
from ovpnha.setup.files import (
    CHECK_PATH,
    KEEPALIVED_PATH,
    KEY_PATH,
    NODE_PATH,
    PACKAGED_CHECK,
    TOML_PATH,
    make_variables,
    set_variables,
)
from ovpnha.setup.host import Host, NamedState
from ovpnha.setup.proposal import (
    SERVER_DIRECTORY,
    USER,
    DirectoryChange,
    FileChange,
    Proposal,
    ServerSource,
    Supplies,
    judge,
)

PRIORITY = 99
OWN = ("NODE", "PRIORITY", "OUTSIDE_IF", "INSIDE_IF", "CHECK_GRADE")
"""Variables of ``node.conf`` that a node has for itself."""


def adapt_answers(bundle: Bundle, given: Answers, host: Host) -> Answers:
    """The first node's answers as they are for this one; what was said here goes first."""
    said = Answers.from_plain(bundle.answers)
    others = [one for one in bundle.bcn_nodes if not host.has(ipaddress.ip_address(one))]
    vip, inside = said.vip or "", said.inside_vip
    adapted = replace(
        said,
        outside_interface=_interface(said.outside_interface, vip, host),
        inside_interface=_interface(said.inside_interface, inside, host),
        bcn_interface=_find_bcn(bundle, host),
        bcn_nodes=" ".join(others) or BROADCAST,
        own_address=None,
        own_inside_address=None,
        priority=PRIORITY,
    )
    return given.over(adapted)


def _interface(name: str | None, vip: str | None, host: Host) -> str | None:
    """Found by the address; else one of the same name, if there is one."""
    if vip in {None, NONE} or find_interface(vip, host):
        return None
    return name if name in host.interfaces() else None


def _find_bcn(bundle: Bundle, host: Host) -> str | None:
    network = ipaddress.ip_network(bundle.bcn_network)
    found = (one.interface for one in host.addresses if one.address.ip in network)
    same = bundle.bcn_interface if bundle.bcn_interface in host.interfaces() else None
    return next(found, same)


def propose_join(plan: ClusterPlan, bundle: Bundle, host: Host, supplies: Supplies) -> Proposal:
    """Everything for one further node."""
    path = server_path(bundle)
    source = ServerSource(path, bundle.text(path) or "")
    changes = [*_propose_files(bundle, host), *_propose_keepalived(plan, bundle, host)]
    toml = _make_toml(plan, bundle)
    changes.append(FileChange(TOML_PATH, host.files.get(TOML_PATH), toml))
    found = judge(plan, source, changes, host, supplies)
    notes = (*found.notes, *_note_programs(bundle, host), *_note_owners(bundle, host))
    return replace(
        found,
        notes=(*notes, *_note_key(bundle, host, supplies)),
        problems=(*_find_problems(plan, bundle, host), *found.problems),
        directories=tuple(DirectoryChange(one.path, one.state) for one in bundle.directories),
    )


def server_path(bundle: Bundle) -> str:
    """Where the server's file is, on every node."""
    return f"{SERVER_DIRECTORY}/{bundle.instance}.conf"


def _propose_files(bundle: Bundle, host: Host) -> Iterator[FileChange]:
    special = {TOML_PATH, NODE_PATH, KEEPALIVED_PATH, CHECK_PATH}
    target = server_path(bundle)
    for one in bundle.files:
        if one.path not in special:
            key = one.path == KEY_PATH
            state = NamedState(0o600, USER, USER) if key else one.state
            text = bundle.text(one.path) or ""
            before = host.files.get(one.path)
            yield FileChange(
                one.path,
                before,
                text,
                state.mode,
                state.user,
                state.group,
                secret=one.secret,
                exact=key or one.path == target,
            )


def _propose_keepalived(plan: ClusterPlan, bundle: Bundle, host: Host) -> Iterator[FileChange]:
    node, keepalived = bundle.text(NODE_PATH), bundle.text(KEEPALIVED_PATH)
    if plan.keepalived == "leave" or node is None or keepalived is None:
        return
    packaged = PACKAGED_CHECK in host.programs
    variables = make_variables(plan, PACKAGED_CHECK if packaged else CHECK_PATH)
    text = set_variables(node, {name: variables[name] for name in OWN})
    yield FileChange(NODE_PATH, host.files.get(NODE_PATH), text)
    if not packaged:
        check = bundle.text(CHECK_PATH) or ""
        yield FileChange(CHECK_PATH, host.files.get(CHECK_PATH), check, 0o755)
    yield FileChange(KEEPALIVED_PATH, host.files.get(KEEPALIVED_PATH), keepalived)


def _make_toml(plan: ClusterPlan, bundle: Bundle) -> str:
    """The first node's, and what is different here as a table of this node's."""
    text = bundle.text(TOML_PATH) or ""
    raw = tomllib.loads(text)
    if plan.node in raw.get("node", {}):
        return text
    tables = "".join(
        f"\n[node.{plan.node}.{name}]\n{key} = {toml_value(value)}\n"
        for name, key, value in _differences(plan, bundle, raw)
    )
    return f"{text}{tables}"


def _differences(
    plan: ClusterPlan, bundle: Bundle, raw: Mapping[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    for one in raw.get("instance", []):
        if one.get("name") == plan.instance and one.get("vip_interface") != plan.outside.interface:
            yield f"instance.{plan.instance}", "vip_interface", plan.outside.interface
    if plan.bcn_interface != bundle.bcn_interface:
        yield (
            "bcn",
            "links",
            _renamed(raw.get("bcn", {}).get("links", []), bundle.bcn_interface, plan.bcn_interface),
        )
    snat = raw.get("firewall", {}).get("snat", [])
    inside = plan.inside
    if inside is not None:
        for one in snat:
            if one.get("vip") == str(inside.ip) and one.get("interface") != inside.interface:
                yield "firewall", "snat", _renamed(snat, one["interface"], inside.interface)


def _renamed(tables: list[dict[str, Any]], old: str, new: str) -> list[dict[str, Any]]:
    return [{**one, "interface": new} if one.get("interface") == old else one for one in tables]


def _find_problems(plan: ClusterPlan, bundle: Bundle, host: Host) -> Iterator[str]:
    if plan.node == bundle.node:
        yield (
            f"this host is called {plan.node}, as the node that made the file is; every node needs"
            " a name of its own: hostnamectl set-hostname NAME"
        )
    addresses = [ipaddress.ip_address(one) for one in bundle.bcn_nodes]
    if addresses and not any(map(host.has, addresses)):
        yield (
            f"--bcn-node: this node has none of {', '.join(bundle.bcn_nodes)}, of which the first"
            " one knows; there: ovpnha init --bcn-node ADDRESS --write --export FILE"
        )


def _note_owners(bundle: Bundle, host: Host) -> Iterator[str]:
    """Names that say nothing here: what is theirs there is root's here."""
    lacking: dict[tuple[str, str], list[str]] = {}
    states = [(one.path, one.state) for one in bundle.files]
    states += [(one.path, one.state) for one in bundle.directories]
    for path, state in states:
        names = (("user", state.user, host.users), ("group", state.group, host.groups))
        for kind, name, there in names:
            if name and name not in there:
                lacking.setdefault((kind, name), []).append(path)
    for (kind, name), paths in lacking.items():
        yield (
            f"{', '.join(paths)}: belongs to the {kind} {name} on the first node, which is not on"
            f" this one, so it becomes root's: make that {kind}, and say this again"
        )


def _note_key(bundle: Bundle, host: Host, supplies: Supplies) -> Iterator[str]:
    there = host.files.get(KEY_PATH)
    if there not in {None, bundle.text(KEY_PATH)} and KEY_PATH not in supplies.last:
        yield f"{KEY_PATH}: another key is there, and is replaced (a copy is kept)"


def _note_programs(bundle: Bundle, host: Host) -> Iterator[str]:
    for path in bundle.programs:
        if path not in host.programs:
            yield (
                f"{path}: the server starts it, or hands it to what it starts, and it is not on"
                " this node; put it there"
            )
