"""ovpnha(1) and ovpnha.toml(5), generated from the commands and from the configuration's fields.

What a command takes and does is written once, where it is declared; this module only decides in
which order it is told. Must never say anything of a command or a key that `--help` or
docs/configuration.md does not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ovpnha import __version__
from ovpnha.cli import roff
from ovpnha.cli.reference import NODE_EXAMPLE, NODE_TEXT, Key, keys, sections

SOURCE = f"ovpnha {__version__}"
SUMMARY = "high availability for OpenVPN"
PAGES = "/usr/share/doc/ovpnha"
EXAMPLE = "/etc/ovpnha/ovpnha.toml.example"
EXITS = {
    "0": "Done, or all is well. For `check-config`: the configuration is good, whatever it warns "
    "of. For `events --follow`: ended by Ctrl-C, or with the sidecar. For `guard`: yes.",
    "1": "It failed: no sidecar answers, or what was asked for cannot be had. One line says what. "
    "For `doctor`: there are warnings. For `checks`: one has failed. For `hand-over`: clients will "
    "have to reconnect. For `switchover` and `restart-openvpn`: it was begun, and did not come to "
    "its end. For `keygen --use-newest` and `--drop-old`: a node is not ready.",
    "2": "Bad input: the command line, the configuration, or the key file. One line for each. For "
    "`doctor`: there are problems.",
    "3": "No, and nothing was done. For `doctor`: it found nothing, and could not make some check. "
    "For `guard`: another node serves. For `switchover` and `restart-openvpn`: something "
    "stands against it.",
    "4": "For `guard`: no, this node would not serve.",
}
FILES = {
    "`/etc/ovpnha/ovpnha.toml`": "The configuration, see ovpnha.toml(5).",
    "`/etc/ovpnha/cluster.key`": "The cluster key, made by `ovpnha keygen`. Who has it can pose as "
    "any node.",
    "`/var/lib/ovpnha/init/`": "What `ovpnha init` found on this host, for `ovpnha uninit`.",
    "`/var/lib/ovpnha/history/`": "The changes of roles, for `ovpnha history`.",
    "`/run/ovpnha/`": "The control socket, and the grades that the VIP manager reads.",
    f"`{PAGES}/operations.md`": "How to put it beside an existing server, and what to do when.",
    f"`{PAGES}/examples/`": "For keepalived, conntrackd, Prometheus and Grafana.",
}
RELATED = "ovpnha.toml(5), openvpn\\-cluster(8), openvpn(8), keepalived(8), conntrackd(8)"


def render_commands(command: Any) -> str:
    """ovpnha(1), of the command as typer has it."""
    return _page(_commands(command))


def render_configuration() -> str:
    """ovpnha.toml(5)."""
    return _page(_configuration())


def _page(parts: Iterator[str]) -> str:
    """As one, with the documents where the package has them."""
    text = "\n".join([*parts, ""])
    return re.sub(r"\bdocs/(?=[a-z]+\.md)", f"{PAGES}/", text)


def _commands(command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name="ovpnha")
    yield roff.title("OVPNHA", 1, SOURCE)
    yield f"{roff.heading('Name')}\novpnha \\- {SUMMARY}"
    yield roff.heading("Synopsis")
    yield roff.inline(f"`ovpnha` {' '.join(command.collect_usage_pieces(context))}")
    yield f"{roff.heading('Description')}\n{roff.paragraphs(command.help)}"
    yield roff.heading("Options")
    yield from _items(command, context)
    yield roff.heading("Commands")
    yield from _below(command, context)
    yield from _table("Exit status", EXITS)
    yield from _table("Files", FILES)
    yield f"{roff.heading('See also')}\n{RELATED}"


def _below(group: Any, context: Any) -> Iterator[str]:
    """Every command that somebody is told of, also those of groups within."""
    for name, command in group.commands.items():
        inner = command.context_class(command, info_name=name, parent=context)
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _below(command, inner)
        else:
            yield from _command(command, inner)


def _command(command: Any, context: Any) -> Iterator[str]:
    yield roff.subheading(context.command_path)
    yield roff.inline(f"`{context.command_path}` {' '.join(command.collect_usage_pieces(context))}")
    yield roff.paragraphs(command.help or "")
    yield from _items(command, context)


def _items(command: Any, context: Any) -> Iterator[str]:
    """What it takes, but `--help`, which all have."""
    for parameter in command.get_params(context):
        if parameter.name != "help" or context.parent is None:
            tag, text = parameter.get_help_record(context)
            yield roff.item(f"`{tag}`", text)


def _table(title: str, rows: dict[str, str]) -> Iterator[str]:
    yield roff.heading(title)
    yield from (roff.item(tag, text) for tag, text in rows.items())


INTRODUCTION = f"""
`/etc/ovpnha/ovpnha.toml` is read by `ovpnha`, in TOML. The same file may serve all nodes. Unknown
keys are refused; `ovpnha check-config` says what is wrong, and what is only a warning. `{EXAMPLE}`
is an example to start from.
"""


def _configuration() -> Iterator[str]:
    yield roff.title("OVPNHA.TOML", 5, SOURCE)
    yield f"{roff.heading('Name')}\novpnha.toml \\- configuration of ovpnha"
    yield f"{roff.heading('Description')}\n{roff.paragraphs(INTRODUCTION)}"
    yield roff.heading("Sections")
    for title, model in sections():
        yield f"{roff.subheading(title)}\n{roff.paragraphs(model.__doc__ or '')}"
        yield from (_key(one) for one in keys(model))
    yield f"{roff.subheading('[node.NAME]')}\n{roff.paragraphs(NODE_TEXT)}"
    yield roff.example(NODE_EXAMPLE)
    yield f"{roff.heading('See also')}\novpnha(1), {PAGES}/configuration.md"


def _key(one: Key) -> str:
    default = one.default if one.default == "required" else f"default {one.default}"
    return roff.item(f"`{one.name}`", f"({default}) {one.text}")
