"""Warns of what in a configuration is legal on this host, but seldom meant.

Decides what deserves a word from ``ovpnha check-config``. Looks at interfaces and directories, and
tries the HTTP port; changes nothing.
"""

from __future__ import annotations

import errno
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovpnha.config import BcnMode, Config, InstanceSection, split_listen
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.firewall.findings import find_findings
from ovpnha.machines import SparePolicy
from ovpnha.model import ConntrackManager
from ovpnha.runtime.clientprobe import describe_hidden, find_hidden
from ovpnha.runtime.control import ANSWER_LIMIT, StatusRequest, ask
from ovpnha.runtime.firewall import read_rules
from ovpnha.runtime.hostcheck import check_host, find_alone, has_own_address
from ovpnha.runtime.listening import listen_on
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.restartunits import OtherUnits
from ovpnha.runtime.serverfile import check_server_files, find_server_file, read_server
from ovpnha.runtime.site import make_plan, make_site
from ovpnha.runtime.status import StatusAnswer
from ovpnha.runtime.unixlisteners import is_listened_at

ASK_TIMEOUT = 2.0


def lint(config: Config, table: NetworkTable) -> Iterator[str]:
    """One line for each warning, naming the key and the fix."""
    yield from _lint_bcn(config, table)
    for one in config.instance:
        yield from _lint_vip(one, table)
        yield from _lint_path(one)
        if config.spare_of(one) is not SparePolicy.NEVER:
            yield from _lint_spare(one)
        elif is_listened_at(one.spare_socket):
            yield _left_spare(one)
        if program := OtherUnits(one).find_cut_off():
            yield (
                f"instance[{one.name}]: a restart that tried {program} was cut off, and its units"
                f" start that program still; ovpnha restart-openvpn {one.name}"
            )
    if config.conntrack.manager is ConntrackManager.CONNTRACKD:
        yield from _lint_conntrack(config.conntrack.socket)
    for check in config.check:
        path = check.client_config
        if path is not None and (option := find_hidden(path)):
            yield f"check[{check.name}].client_config: {describe_hidden(path, option)}"
    if not config.control.socket.parent.is_dir():
        yield f"control.socket: there is no directory {config.control.socket.parent}; make it"


def find_refusals(
    config: Config, table: NetworkTable, *, own_vips: bool = True, served: bool = False
) -> tuple[list[str], list[str]]:
    """What cannot work with this host and the servers' files, and what will not later, a line each.

    Where an OpenVPN runs already (``served``) its file, which it reads when it starts next, and the
    addresses of this moment refuse nothing now; of the latter nothing is said beside a refusal.

    Until a server says ``cluster`` the VIP may be its own address: it gives it up when its turn has
    come (docs/operations.md, "Put it beside an existing server"). Without ``own_vips`` no VIP is
    blamed for that.
    """
    sections = tuple(
        one.model_copy(update={"vip_alone": True}) if not own_vips or _serves_still(one) else one
        for one in config.instance
    )
    wrong, soon = check_server_files(config)
    refused: list[str] = []
    try:
        soon += check_host(config.model_copy(update={"instance": sections}), table, served=served)
    except ConfigError as error:
        refused = str(error).splitlines()
    (soon if served else refused).extend(wrong)
    return refused, soon


def lint_own_vip(config: Config, table: NetworkTable) -> Iterator[str]:
    """VIPs that are still the address of the server that serves."""
    for one in config.instance:
        if one.vip_alone or not _serves_still(one):
            continue
        for vip in find_alone(one, table):
            yield (
                f"instance[{one.name}].vip: {vip} is still this node's own address; give the"
                " interface another one when the server gets cluster"
            )


def _serves_still(one: InstanceSection) -> bool:
    """Whether its server's file is known, and does not say ``cluster`` yet."""
    path = find_server_file(one)
    try:
        return path is not None and not read_server(path).has("cluster")
    except OSError:
        return False


def _lint_bcn(config: Config, table: NetworkTable) -> Iterator[str]:
    for link in config.bcn.links:
        name = link.interface
        found = table.link(name)
        if found is None:
            yield f"bcn.links: interface {name} is missing on this host"
            continue
        if not found.up:
            yield f"bcn.links: interface {name} is down or has no carrier"
        if config.bcn.mode is BcnMode.BROADCAST and not any(
            address.broadcasts() for address in table.addresses(name)
        ):
            yield f"bcn.links: interface {name} has no IPv4 address to broadcast from; add one"
        if name == "lo":
            yield "bcn.links: the loopback interface reaches no other node"
        if not link.nodes and config.bcn.mode is BcnMode.UNICAST:
            yield f"bcn.links: {name} lists no nodes"


def _lint_vip(one: InstanceSection, table: NetworkTable) -> Iterator[str]:
    where, name = f"instance[{one.name}]", one.vip_interface
    if name is None:
        return
    if table.link(name) is None:
        yield f"{where}.vip_interface: interface {name} is missing on this host"
    elif not one.vip_alone and not all(has_own_address(vip, one, name, table) for vip in one.vip):
        yield (
            f"{where}.vip_interface: {name} has no address of its own; if that is meant, set"
            " vip_alone = true, else the VIP will be taken for this node's own address"
        )


def _lint_spare(one: InstanceSection) -> Iterator[str]:
    """Whether a second process could be started beside the first."""
    path = find_server_file(one)
    try:
        server = read_server(path) if path is not None else None
    except OSError:
        return
    if server is not None and server.has("cluster") and not server.has("cluster-spare"):
        yield (
            f"instance[{one.name}].spare: {path} does not say cluster-spare, so that no second"
            " OpenVPN can go on in the place of the first; add it, and restart OpenVPN once as"
            ' ever, or set spare = "never"'
        )


def _left_spare(one: InstanceSection) -> str:
    """It may be the one that serves: neither it nor spare is just to be taken away."""
    unit = one.server_config.stem if one.server_config is not None else one.name
    return (
        f"instance[{one.name}].spare: a second OpenVPN of it runs ({one.spare_socket}), which may"
        " be the one that serves, and spare says that there is none; add"
        f' spare = "restart", then systemctl restart ovpnha; ovpnha restart-openvpn {one.name};'
        f" systemctl disable --now openvpn-cluster-spare@{unit}; and take it out again"
    )


def _lint_conntrack(socket: Path) -> Iterator[str]:
    try:
        lacks = not socket.exists()
    except PermissionError:
        lacks = True
    if lacks:
        yield (
            f"conntrack.socket: there is no {socket}; conntrackd does not run, or has another"
            " configuration than `ovpnha conntrackd-config` prints"
        )


def _lint_path(one: InstanceSection) -> Iterator[str]:
    where, path = f"instance[{one.name}].management", one.management
    try:
        if not path.parent.is_dir():
            yield (
                f"{where}: there is no directory {path.parent}; OpenVPN's unit makes it when"
                " it starts first, or correct the path"
            )
        elif not path.exists():
            yield (
                f"{where}: there is no socket {path}; OpenVPN does not run yet, or its"
                f" configuration does not say: management {path} unix"
            )
    except PermissionError:
        yield (
            f"{where}: this user may not look into {path.parent}; install"
            " deploy/systemd/ovpnha.tmpfiles.conf, and run: systemd-tmpfiles --create"
        )


def lint_firewall(config: Config, table: NetworkTable) -> Iterator[str]:
    """What in the packet filter ends clients' connections at a move, and what was not read."""
    try:
        make_plan(config)
    except ConfigError as error:
        yield str(error)
    site = make_site(config, table)
    if not site.tunnels:
        yield (
            "firewall: not looked at: the tunnels' networks are not known; name them: networks ="
            ' ["10.8.0.0/24"] under [firewall], or server_config of the instance'
        )
        return
    reading = read_rules()
    for finding in find_findings(site, reading.rules):
        yield f"firewall: {finding}"
    for line in (*reading.unread, *site.services.unread):
        yield f"firewall: {line}"


def lint_http(config: Config) -> Iterator[str]:
    """Whether the HTTP endpoint could be opened, or is open already by this node's daemon."""
    listen = config.http.listen
    if not listen:
        return
    try:
        listen_on(listen).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_ours(config):
            fix = HTTP_FIXES.get(error.errno or 0, error.strerror or "")
            yield f"http.listen: {listen}: {fix}; until then there are no metrics"


HTTP_FIXES = {
    errno.EADDRINUSE: "another program has this port (ss -tlnp shows it); choose another one",
    errno.EADDRNOTAVAIL: "this host has no such address; correct it, or add it to an interface",
    errno.EACCES: "ports below 1024 are for root; choose another one",
}


def _is_ours(config: Config) -> bool:
    """Whether it is our own daemon, the one at our control socket, that answers there."""
    there = _read_status(*split_listen(config.http.listen))
    try:
        answer = ask(config.control.socket, StatusRequest(), StatusAnswer, ASK_TIMEOUT)
    except OvpnhaError:  # this user may not ask it
        return config.control.socket.exists() and there.get("node") == config.cluster.node
    return bool(there.get("boot") == answer.status.boot)


def _read_status(host: str, port: int) -> Mapping[str, Any]:
    """What a daemon says of itself over HTTP; empty when something else answers, or nothing."""
    connection = http.client.HTTPConnection(host, port, timeout=ASK_TIMEOUT)
    try:
        connection.request("GET", "/status")
        answer = json.loads(connection.getresponse().read(ANSWER_LIMIT))
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}
