"""What `ovpnha init --alone` would write: a server without any other node, and its second process.

Decides from the server's file and the host alone. Two files: ovpnha.toml, and what the server's
own must say besides. No address moves, and nothing is sent on a network. docs/operations.md, "One
server".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from ovpnha.config.problems import toml_value
from ovpnha.machines import SparePolicy
from ovpnha.setup.agreement import find_stale, is_left, note_edited, tell_stale
from ovpnha.setup.edit import edit_server
from ovpnha.setup.files import TOML_PATH
from ovpnha.setup.host import Host
from ovpnha.setup.proposal import (
    USER,
    FileChange,
    Proposal,
    ServerSource,
    Supplies,
    check_toml,
    find_foreign,
    find_links,
    find_missing,
    find_server_problems,
    with_state,
)
from ovpnha.setup.server import BYTE_ORDER_MARK, Server

UNITS = ("openvpn-cluster@.service", "openvpn-cluster-spare@.service")


def propose_alone(source: ServerSource, host: Host, supplies: Supplies) -> Proposal:
    """Everything for the only node."""
    target = host.files.get(source.target)
    edited = source.target in supplies.edited
    after = _edit(source, target if edited else None)
    changes = [
        FileChange(TOML_PATH, host.files.get(TOML_PATH), render_alone(source.name)),
        FileChange(source.target, target, after, in_place=edited),
    ]
    stale = find_stale(changes, supplies)
    kept = (one for one in changes if one in stale or not is_left(one, supplies))
    stated = (with_state(one, host) for one in kept)
    wanted = tuple(one for one in stated if one.before != one.after or one.state)
    problems = [
        *find_server_problems(source, after, stock=False),
        *_find_address(source.path, source.read(after)),
        *find_foreign("leave", changes, source, supplies),
        *check_toml(changes, host),
        *find_missing(host),
        *tell_stale(stale),
        *find_links(wanted, host),
    ]
    notes = (*_note_host(host), *note_edited(changes, supplies))
    return Proposal(wanted, notes, tuple(dict.fromkeys(problems)))


def render_alone(instance: str) -> str:
    """Our own configuration."""
    return "\n".join(
        [
            "# Made by `ovpnha init`. Every key: docs/configuration.md. Check: ovpnha check-config",
            "[cluster]",
            "alone = true",
            "",
            "[[instance]]",
            f"name = {toml_value(instance)}",
            f"management = {toml_value(_socket(instance))}",
            f"spare = {toml_value(SparePolicy.ALWAYS.value)}",
            "",
        ]
    )


def _socket(instance: str) -> str:
    return f"/run/openvpn-cluster/{instance}.sock"


def _edit(source: ServerSource, edited: str | None) -> str:
    """The server's file as it would be; ``edited`` is what somebody has made of an earlier one."""
    text = source.text if edited is None else edited
    if source.path != source.target and edited is None:
        text = f"cd {PurePosixPath(source.path).parent}\n{text.removeprefix(BYTE_ORDER_MARK)}"
    wanted = [
        ("cluster",),
        ("cluster-spare",),
        ("management", _socket(source.name), "unix"),
        ("management-client-user", USER),
        ("management-client-group", USER),
        ("disable-dco",),
    ]
    return edit_server(text, wanted)


def _find_address(path: str, server: Server) -> Iterator[str]:
    if not server.word("local") and not server.has("cluster-address"):
        yield (
            f"{path}: local: is not there; add `local ADDRESS`, the address of this host by which"
            " clients come"
        )


def _note_host(host: Host) -> Iterator[str]:
    for unit in UNITS:
        if f"/usr/lib/systemd/system/{unit}" not in host.programs:
            yield f"{unit} is not installed: apt install ./openvpn-cluster_*.deb"
