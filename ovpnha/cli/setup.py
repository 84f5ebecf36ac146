"""``ovpnha init`` and ``ovpnha uninit``: what they take, ask and print.

Decides nothing about what is proposed (``ovpnha.setup``) nor how it is written
(``ovpnha.runtime.installation``). Nothing is written without ``--write``, and nothing is started
without ``--now``.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovpnha.cli.options import takes
from ovpnha.config import DEFAULT_PATH
from ovpnha.errors import ConfigError, OvpnhaError

if TYPE_CHECKING:
    from ovpnha.cli.setupprepared import PreparedServer
    from ovpnha.cli.setupsession import Prepared, Session
    from ovpnha.setup.answers import Answers
    from ovpnha.setup.commands import Command

WriteOption = Annotated[bool, typer.Option("--write", help="Write it; else it is only shown.")]
RootOption = Annotated[
    Path,
    typer.Option("--root", help="Look and write below this directory: an image, say."),
]


class StartError(OvpnhaError):
    """A command that was left to do has failed."""


@dataclass(frozen=True)
class InitOptions:
    """What `ovpnha init` takes."""

    server: Annotated[
        Path | None,
        typer.Argument(
            metavar="SERVER.conf",
            help="The OpenVPN server's configuration; not needed when there is one in"
            " /etc/openvpn/server or /etc/openvpn.",
        ),
    ] = None
    vip: Annotated[
        list[str],
        typer.Option(
            "--vip",
            help="The address that clients have as `remote`, which moves from now on, with or"
            " without /PREFIX; once for each of several that move together. Not needed where the"
            " server has it as `local`.",
        ),
    ] = field(default_factory=list)
    inside_vip: Annotated[
        str | None,
        typer.Option(
            "--inside-vip",
            help="The address to which hosts on the LAN route the VPN's network, which moves as"
            " well; or `none`.",
        ),
    ] = None
    bcn_interface: Annotated[
        str | None,
        typer.Option("--bcn-interface", help="The interface of the back channel network (BCN)."),
    ] = None
    bcn_node: Annotated[
        list[str],
        typer.Option(
            "--bcn-node",
            help="Address of another node on the BCN; once for each. Without it the nodes find"
            " each other by broadcast.",
        ),
    ] = field(default_factory=list)
    own_address: Annotated[
        str | None,
        typer.Option(
            "--own-address",
            help="What this host gets instead of the VIP, where that is its own address now.",
        ),
    ] = None
    own_inside_address: Annotated[
        str | None,
        typer.Option("--own-inside-address", help="The same for the inside VIP."),
    ] = None
    outside_interface: Annotated[
        str | None,
        typer.Option("--outside-interface", help="Where the VIP will be, if no address shows it."),
    ] = None
    inside_interface: Annotated[
        str | None,
        typer.Option("--inside-interface", help="Where the inside VIP will be, likewise."),
    ] = None
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Name of the cluster; else that of the server.")
    ] = None
    router_id: Annotated[
        int | None,
        typer.Option(
            "--router-id",
            min=1,
            max=255,
            help="VRRP's number of this cluster, unlike any other on that network; else the last"
            " part of the VIP.",
        ),
    ] = None
    priority: Annotated[
        int | None,
        typer.Option(
            "--priority", min=1, max=134, help="keepalived's; else 100, and 99 with --join."
        ),
    ] = None
    keepalived: Annotated[
        str | None,
        typer.Option(
            "--keepalived",
            help="What to do where keepalived has a configuration already: `new` refuses, `replace`"
            " replaces it, `leave` writes none.",
        ),
    ] = None
    stock: Annotated[
        bool | None,
        typer.Option(
            "--stock/--no-stock",
            help="OpenVPN stays the distribution's, of UDP or TCP: clients reconnect at a takeover,"
            " to the addresses that they had. Asked for where the patched one is not installed.",
        ),
    ] = None
    join: Annotated[
        Path | None,
        typer.Option(
            "--join",
            metavar="FILE",
            help="Make this host a further node, of the sealed file that the first one wrote.",
        ),
    ] = None
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write a sealed file for the other nodes: key, configurations, certificates.",
        ),
    ] = None
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            metavar="FILE",
            help="The sealed file's passphrase is in its first line, mode 0600; else it is asked"
            " for.",
        ),
    ] = None
    alone: Annotated[
        bool,
        typer.Option("--alone", help="A server without any other node: no VIP, no keepalived."),
    ] = False
    write: WriteOption = False
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Then carry out the commands that are left. Clients reconnect once."
        ),
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="What is proposed, for programs.")] = False
    root: RootOption = Path("/")


@takes(InitOptions)
def init(options: InitOptions) -> None:
    """Put this OpenVPN server into a cluster: propose every file, and with --write write it.

    Reads the server's configuration and this host, asks what it cannot know, and shows a diff of
    every file: four lines or so in the server's own, ovpnha.toml, the cluster key, keepalived's
    files, and where it is simple the network's. Nothing is written without `--write`, and nothing
    is stopped or started without `--now`. Every file that is changed is kept, and `ovpnha uninit`
    puts it back. It can be said again at any time: what is so already is left alone.

    `--export FILE` writes one sealed file under a passphrase; `--join FILE` on a further node
    proposes everything from it, with that node's own name, addresses and interfaces. With `--now`
    its keepalived starts when another node is master, and not before.

    `--alone` is for a server that has no other node: two files, after which a second process of it
    goes on when one is restarted, upgraded or dies, and no client notices.

    Exit code 2, and one line for each thing, when something in the server's configuration cannot
    be had in a cluster, or something is not known; nothing is written then. Exit code 1 when a file
    could not be written or a command has failed: what is done is noted, and can be said again.
    """
    from ovpnha.cli.setupsession import Prepared, Session

    if options.now and not options.write:
        raise typer.BadParameter("goes with --write only", param_hint="--now")
    session = Session(options.root)
    prepared = _prepare_alone(session, options) if options.alone else _prepare(session, options)
    if options.as_json:
        typer.echo(json.dumps(session.to_plain(prepared), indent=2))
    else:
        typer.echo(session.show(prepared), nl=False)
    for note in prepared.proposal.notes:
        typer.echo(f"note: {note}", err=True)
    if prepared.proposal.problems:
        raise ConfigError("\n".join(prepared.proposal.problems))
    sealing = _prepare_export(prepared, options) if isinstance(prepared, Prepared) else None
    if options.write:
        session.write(prepared)
    if not options.as_json:
        typer.echo(session.conclude(prepared, written=options.write, run=options.now), nl=False)
    if sealing is not None and isinstance(prepared, Prepared):
        _export(session, prepared, *sealing)
    if options.now and isinstance(prepared, Prepared):
        _start(prepared, joins=options.join is not None)
    elif options.now:
        run_commands(prepared.commands)


def _start(prepared: Prepared, *, joins: bool) -> None:
    """The commands that are left; on a node that joins keepalived waits for the others."""
    from ovpnha.cli.setupjoin import wait_for_master
    from ovpnha.setup.commands import touches_keepalived

    for command in prepared.commands:
        if joins and touches_keepalived(command):
            wait_for_master(DEFAULT_PATH, prepared.plan.instance)
        run_commands([command])


@dataclass(frozen=True)
class UninitOptions:
    """What `ovpnha uninit` takes."""

    write: WriteOption = False
    now: Annotated[
        bool,
        typer.Option("--now", help="Then carry out the commands that start the stock server."),
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="The same, for programs.")] = False
    root: RootOption = Path("/")


@takes(UninitOptions)
def uninit(options: UninitOptions) -> None:
    """Put back what `ovpnha init` has changed, and say how the stock server starts again.

    Content, mode and owner are those of before; files that init has made are removed. What somebody
    has changed since is put back as well, and kept in /var/lib/ovpnha/kept. Nothing happens without
    `--write`. The packages stay; remove them afterwards. On the other nodes first: as long as one
    is left, it takes the VIP, and with `--now` a host that gets it back as its own refuses. One
    that was interrupted can be said again.
    """
    from ovpnha.cli.setupjoin import wait_until_alone
    from ovpnha.cli.setupsession import Session

    if options.now and not options.write:
        raise typer.BadParameter("goes with --write only", param_hint="--now")
    session = Session(options.root)
    back = session.prepare_return()
    if options.now and back.before is not None and back.before.addresses:
        wait_until_alone(DEFAULT_PATH, back.before.instance)
    if options.as_json:
        typer.echo(json.dumps(back.to_plain(), indent=2))
    else:
        typer.echo(back.show(written=options.write, run=options.now), nl=False)
    if options.write:
        for path in session.put_back(forget=not options.now):
            typer.echo(f"note: what was changed since is kept in {path}", err=True)
    if options.now:
        run_commands(back.commands)
        session.installation.forget()


def _prepare_alone(session: Session, options: InitOptions) -> PreparedServer:
    from ovpnha.cli.setupalone import prepare_alone

    given = {**_answers(options).to_plain(), "join": options.join, "export": options.export}
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(
                "is for a cluster, and this server has no other node",
                param_hint=f"--{name.replace('_', '-').removesuffix('s')}",
            )
    return prepare_alone(session, options.server)


def _prepare(session: Session, options: InitOptions) -> Prepared:
    from ovpnha.cli.setupjoin import prepare_join
    from ovpnha.runtime.sealedfile import read_passphrase, read_sealed

    if options.join is None:
        return session.prepare(options.server, _answers(options), _ask)
    if options.server is not None:
        raise typer.BadParameter(
            "takes the server from its file; name no other", param_hint="--join"
        )
    given = {
        "--vip": options.vip or None,
        "--inside-vip": options.inside_vip,
        "--cluster": options.cluster,
        "--router-id": options.router_id,
        "--bcn-node": options.bcn_node or None,
    }
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(
                "is the same on all nodes and comes from the sealed file; leave it out, or change"
                " it on the first node and export anew",
                param_hint=name,
            )
    passphrase = read_passphrase(options.passphrase_file, twice=False)
    payload = read_sealed(options.join, passphrase)
    return prepare_join(session, payload, str(options.join), _answers(options), _ask)


def _prepare_export(prepared: Prepared, options: InitOptions) -> tuple[Path, str] | None:
    """The sealed file that is wanted, and its passphrase: known before anything is written.

    At a terminal a file is offered.
    """
    from ovpnha.runtime.sealedfile import check_place, read_passphrase

    file = options.export
    if file is None:
        if not options.write or options.join is not None or options.as_json:
            return None
        said = _ask("A sealed file for the other nodes, to be written to (none: no file)", "none")
        file = None if said in {None, "none"} else Path(str(said))
    if file is None:
        return None
    if prepared.proposal.changes and not options.write:
        raise ConfigError("--export: what is proposed is not written yet; say --write as well")
    check_place(file)
    return file, read_passphrase(options.passphrase_file, twice=True)


def _export(session: Session, prepared: Prepared, file: Path, passphrase: str) -> None:
    from ovpnha.cli.setupjoin import make_bundle
    from ovpnha.runtime.sealedfile import write_sealed

    write_sealed(file, make_bundle(session, prepared), passphrase)
    typer.echo(
        f"{file}: sealed. On each further node: ovpnha init --join FILE --write; then remove it",
        err=True,
    )


def _answers(options: InitOptions) -> Answers:
    from ovpnha.setup.answers import Answers
    from ovpnha.setup.cluster import PATCHED, STOCK

    return Answers(
        vip=" ".join(options.vip) or None,
        inside_vip=options.inside_vip,
        outside_interface=options.outside_interface,
        inside_interface=options.inside_interface,
        bcn_interface=options.bcn_interface,
        bcn_nodes=" ".join(options.bcn_node) or None,
        own_address=options.own_address,
        own_inside_address=options.own_inside_address,
        cluster=options.cluster,
        router_id=options.router_id,
        priority=options.priority,
        keepalived=options.keepalived,
        openvpn=None if options.stock is None else STOCK if options.stock else PATCHED,
    )


def _ask(text: str, default: str) -> str | None:
    """An answer from the terminal; None when there is none to ask."""
    if not sys.stdin.isatty():
        return None
    return str(typer.prompt(text, default=default or None, err=True)).strip()


def run_commands(commands: Sequence[Command]) -> None:
    """One after the other; the first that fails ends it."""
    for command in commands:
        typer.echo(f"+ {shlex.join(command)}", err=True)
        try:
            done = subprocess.run(command, check=False)
        except OSError as error:
            raise StartError(f"{command[0]}: cannot be started: {error.strerror}") from None
        if done.returncode != 0:
            raise StartError(
                f"{shlex.join(command)}: failed; see what it said, and run this command again: what"
                " is done is left out then"
            )
