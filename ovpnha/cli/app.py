"""The commands of ``ovpnha``: what they take, and what they print.

Decides nothing about roles: commands that change one only ask the running daemon. Each loads what
only it needs: a VIP manager may wait for ``promote``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ovpnha import __version__
from ovpnha.cli.errors import OneLineErrors
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.runtime.control import (
    ClientsRequest,
    DemoteRequest,
    PromoteRequest,
    RenegotiateRequest,
    Request,
    StatusRequest,
    ask,
)
from ovpnha.runtime.keyfile import add_key, create_key_file, read_keys

ANSWER_TIMEOUT = 15.0

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ovpnha {__version__}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """High availability for OpenVPN: when a server dies, its clients do not notice.

    The steps to put it beside an existing server, and what to do when: docs/operations.md.
    """


ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file, the same on all nodes.")
]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", envvar="OVPNHA_NODE", help="Name of this node, else the host name."),
]
InstanceOption = Annotated[
    str | None,
    typer.Option("--instance", "-i", help="Name of the instance; not needed when there is one."),
]


@app.command(short_help="Run the sidecar, in the foreground.")
def run(config: ConfigOption = DEFAULT_PATH, node: NodeOption = None) -> None:
    """Run the sidecar: follow the VIP, replicate clients, promote OpenVPN.

    It stays in the foreground and logs to the standard error output. SIGTERM stops it; OpenVPN
    keeps its role and its clients, and a sidecar started again finds its place. SIGHUP lets it
    read the cluster key file again.
    """
    from ovpnha.daemon import run_daemon

    run_daemon(load_config(config, node))


@app.command("check-config", short_help="Check configuration, key file and host.")
def check_config(config: ConfigOption = DEFAULT_PATH, node: NodeOption = None) -> None:
    """Check configuration and key file as `run` would, and say what is odd on this host.

    Exit code 2 and one line for each mistake; oddities are told but are no mistakes.
    """
    from ovpnha.cli.odd import find_http_oddity, find_oddities
    from ovpnha.runtime.hostcheck import check_host
    from ovpnha.runtime.netlink import read_network

    checked = load_config(config, node)
    keys = read_keys(checked.cluster.key_file)
    network = read_network()
    check_host(checked, network)
    for oddity in (*find_oddities(checked, network), *find_http_oddity(checked)):
        typer.echo(f"odd: {oddity}", err=True)
    names = ", ".join(one.name for one in checked.instance)
    typer.echo(
        f"{config}: good. Node {checked.cluster.node} of cluster {checked.cluster.name},"
        f" {len(keys)} key(s), instances: {names}"
    )


@app.command(short_help="Make a cluster key.")
def keygen(
    file: Annotated[Path, typer.Argument(help="The key file, e.g. /etc/ovpnha/cluster.key.")],
    add: Annotated[
        bool, typer.Option("--add", help="Append a fresh key to an existing file, to rotate.")
    ] = False,
) -> None:
    """Make a cluster key, mode 0600; an existing file is not overwritten.

    Copy the file to all nodes over a secure channel: whoever has it can pose as any node.

    To rotate without an outage: `--add` on one node, copy the file to all nodes and reload their
    sidecars (every node now opens with the new key), move the new line to the top everywhere and
    reload (every node now seals with it), then remove the old line everywhere and reload. To
    reload: `systemctl reload ovpnha`, or SIGHUP.
    """
    if add:
        count = add_key(file)
        typer.echo(f"{file}: has {count} keys now; the first one still seals")
    else:
        create_key_file(file)
        typer.echo(f"{file}: made; copy it to the other nodes over a secure channel")


@app.command(short_help="Show roles, clients, nodes and links.")
def status(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Show roles, clients, how many are protected, the other nodes and the links."""
    answer = _ask(config, node, StatusRequest())["status"]
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from ovpnha.cli.show import show_status

    show_status(answer, Console())


@app.command(short_help="Make this node master before the VIP arrives.")
def promote(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    expect_vip: Annotated[
        str, typer.Option("--expect-vip", help="How soon the VIP must follow: 2s, 500ms.")
    ] = "2s",
) -> None:
    """Make this node master before the VIP arrives: the smoothest order, where it can be chosen.

    Returns when OpenVPN is promoted; move the VIP then. If the VIP does not come in time the node
    falls back to held: silent, nothing lost.
    """
    seconds = parse_duration(expect_vip)
    answer = _ask(config, node, PromoteRequest(instance=instance, expect_vip=seconds))
    typer.echo(f"{answer['instance']}: {answer['role']}, epoch {answer['epoch']}")


@app.command(short_help="Give the role up, the planned way.")
def demote(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, instance: InstanceOption = None
) -> None:
    """Give the role up: the planned way to take this node out of service.

    A master lowers its grade, so that the VIP manager moves the VIP; when it has, and another node
    is master, this one drops its clients without a word to them and becomes standby. A node that
    is held becomes standby at once.
    """
    answer = _ask(config, node, DemoteRequest(instance=instance))
    note = f" ({answer['note']})" if answer["note"] else ""
    typer.echo(f"{answer['instance']}: {answer['role']}{note}")


@app.command(short_help="Give clients fresh keys now.")
def renegotiate(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    uid: Annotated[
        str | None, typer.Option("--uid", help="One client of `ovpnha clients`; else all.")
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, max=1000.0, help="Clients a second.")
    ] = 50.0,
) -> None:
    """Give clients fresh keys now, without interrupting them. The node must be master."""
    if uid is not None and not re.fullmatch(r"[0-9a-f]{16}", uid):
        raise typer.BadParameter("must be 16 hexadecimal digits", param_hint="--uid")
    answer = _ask(config, node, RenegotiateRequest(instance=instance, uid=uid, rate=rate))
    typer.echo(f"{answer['instance']}: OpenVPN is asked to renegotiate {_count(answer['clients'])}")


@app.command(short_help="List the clients by uid.")
def clients(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, instance: InstanceOption = None
) -> None:
    """List the clients of the master, by the uid that logs and `renegotiate --uid` use.

    A uid is the same on all nodes and stays until the client makes a new session. Behind it:
    protected, or for how long no other node has had this client as it is.
    """
    for one in _ask(config, node, ClientsRequest(instance=instance))["clients"]:
        wait = one["unprotected"]
        typer.echo(f"{one['uid']}  {'protected' if wait is None else f'unprotected, {wait:.1f} s'}")


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(wanted=True)


@app.command(hidden=True)
def reference(
    metrics: Annotated[bool, typer.Option("--metrics", help="Print docs/metrics.md.")] = False,
) -> None:
    """Print docs/configuration.md."""
    from ovpnha.cli.reference import render_reference
    from ovpnha.runtime.definitions import render_metrics

    typer.echo(render_metrics() if metrics else render_reference(), nl=False)


@app.command(
    "lab",
    short_help="Show it in network namespaces (root).",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lab(context: typer.Context) -> None:
    """Show it: two nodes, a stock client and a death, in network namespaces (root)."""
    from ovpnha.lab.cli import app as lab_app

    lab_app(args=context.args, prog_name="ovpnha lab")


def _count(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def parse_duration(text: str) -> float:
    """Seconds of a text like ``2s``, ``500ms`` or ``1.5``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|)", text)
    if match is None:
        raise typer.BadParameter(
            "must be a duration such as 2s or 500ms", param_hint="--expect-vip"
        )
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _ask(config: Path, node: str | None, request: Request) -> dict[str, Any]:
    return ask(load_config(config, node).control.socket, request, ANSWER_TIMEOUT)
