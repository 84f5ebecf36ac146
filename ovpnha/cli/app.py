"""The commands of ``ovpnha``: what they take, and what they print.

Decides nothing about roles: commands that change one only ask the running daemon. Each loads what
only it needs: a VIP manager may wait for ``promote``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ovpnha import __version__
from ovpnha.cli.checkconfig import check_config
from ovpnha.cli.checks import checks, reset
from ovpnha.cli.common import (
    ConfigOption,
    InstanceOption,
    NodeOption,
    ask_daemon,
    parse_duration,
    print_json,
)
from ovpnha.cli.errors import OneLineErrors
from ovpnha.cli.guard import guard
from ovpnha.cli.keys import keygen
from ovpnha.cli.moves import add_moves
from ovpnha.cli.observe import events, history, nodes
from ovpnha.cli.pages import CompletionPage, ManualPage, Page, render
from ovpnha.cli.setup import init, uninit
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.runtime.answers import (
    ClientsAnswer,
    DemoteAnswer,
    HandOverAnswer,
    PromoteAnswer,
    RenegotiateAnswer,
    count_clients,
)
from ovpnha.runtime.control import (
    ClientsRequest,
    DemoteRequest,
    HandOverRequest,
    PromoteRequest,
    RenegotiateRequest,
    StatusRequest,
)

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


@app.command(short_help="Run the sidecar, in the foreground.")
def run(config: ConfigOption = DEFAULT_PATH, node: NodeOption = None) -> None:
    """Run the sidecar: follow the VIP, replicate clients, promote OpenVPN.

    It stays in the foreground and logs to the standard error output. SIGTERM stops it; OpenVPN
    keeps its role and its clients, and a sidecar started again finds its place. SIGHUP lets it
    read the cluster key file again.
    """
    from ovpnha.daemon import run_daemon

    run_daemon(load_config(config, node))


app.command("init", short_help="Put an existing OpenVPN server into a cluster.")(init)
app.command("uninit", short_help="Put back what init has changed.")(uninit)
app.command(short_help="Show all nodes of the cluster.")(nodes)
app.command(short_help="Show every change of a role.")(history)
app.command(short_help="Show what happens, as it happens.")(events)
app.command("checks", short_help="Show the checks of the service.")(checks)
app.command("reset", short_help="Say that what a check found is fixed.")(reset)
app.command("check-config", short_help="Check configuration, key file and host.")(check_config)
app.command("guard", short_help="Say whether this node may be given the VIP.")(guard)


@app.command(short_help="Look for what is wrong with this node and its cluster.")
def doctor(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    keepalived: Annotated[
        Path | None,
        typer.Option("--keepalived", help="keepalived's configuration, if it is elsewhere."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A kind of finding that does not count; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same, for programs.")] = False,
) -> None:
    """Look for what is wrong with this node and its cluster; each finding has its fix.

    It runs what `check-config` and `status` look at, and adds packages, units, certificates,
    keepalived, the packet filter, the BCN and the host. It changes nothing, works on a node that is
    not configured yet, and without root says what it could not look at. Every kind of finding:
    docs/doctor.md.

    Exit code 0 when all is well, 1 for warnings, 2 for problems, 3 when a check could not be made
    and nothing was found: as plugins of monitoring systems have it.
    """
    from ovpnha.cli.doctor import parse_kinds, run_doctor

    answer = run_doctor(config, node, keepalived, parse_kinds(ignore or []))
    if as_json:
        print_json(answer)
    else:
        from rich.console import Console

        from ovpnha.cli.doctor import show_report

        show_report(answer, Console())
    raise typer.Exit(answer.code)


@app.command("conntrackd-config", short_help="Make the configuration of conntrackd.")
def conntrackd_config(config: ConfigOption = DEFAULT_PATH, node: NodeOption = None) -> None:
    """Print the configuration of conntrackd for this node, made from ovpnha.toml.

    With it the other nodes' kernels know the connections of the tunnels, so that these live on
    behind a firewall or NAT: docs/operations.md, "Firewall and NAT".
    """
    from ovpnha.cli.conntrackd import print_config
    from ovpnha.runtime.netlink import read_network
    from ovpnha.runtime.site import find_broadcast

    loaded = load_config(config, node)
    typer.echo(print_config(loaded, read_network(), find_broadcast(loaded)), nl=False)


@app.command(short_help="Show, set or remove the nftables table of our own.")
def firewall(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print what would be set, for nft (the default).")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Set it now.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same, for programs.")] = False,
) -> None:
    """Show what `[firewall] manage = true` lets the sidecar set: an nftables table of its own.

    It translates the tunnels' traffic to the VIPs that `snat` names, leaves packets of connections
    that are not known here yet unanswered, and is replaced in one step. With it goes the tunable
    nf_conntrack_tcp_be_liberal. The table stays when the sidecar ends; `--remove` takes it away and
    restores the tunable. docs/operations.md, "Firewall and NAT".
    """
    from ovpnha.cli.firewall import run_firewall, run_removal
    from ovpnha.runtime.firewall import DEFAULT_DIRECTORY

    if show + apply + remove > 1:
        raise typer.BadParameter("choose one of --show, --apply and --remove")
    if remove and not as_json and config == DEFAULT_PATH and not config.exists():
        typer.echo(run_removal(DEFAULT_DIRECTORY), nl=False)
        return
    verb = "apply" if apply else "remove" if remove else "show"
    typer.echo(run_firewall(load_config(config, node), verb, as_json=as_json), nl=False)


app.command(short_help="Make a cluster key, or go on with a rotation.")(keygen)


@app.command(short_help="Show roles, clients, nodes and links.")
def status(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Show roles, clients, how many are protected, the other nodes and the links."""
    from ovpnha.runtime.status import StatusAnswer

    found = ask_daemon(config, node, StatusRequest(), StatusAnswer).status
    if as_json:
        from ovpnha.runtime.problems import to_plain_status

        print_json(to_plain_status(found))
        return
    from rich.console import Console

    from ovpnha.cli.show import show_status
    from ovpnha.runtime.rows import describe_status

    show_status(describe_status(found), Console())


@app.command(short_help="Make this node master before the VIP arrives.")
def promote(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    expect_vip: Annotated[
        str, typer.Option("--expect-vip", help="How soon the VIP must follow: 2s, 500ms.")
    ] = "2s",
    unfenced: Annotated[
        bool,
        typer.Option("--unfenced", help="Wait for no fence: the last master is off, or cut off."),
    ] = False,
) -> None:
    """Make this node master before the VIP arrives: the smoothest order, where it can be chosen.

    Returns when OpenVPN is promoted; move the VIP then. If the VIP does not come in time the node
    falls back to held: silent, nothing lost. Refused with an IPv6 VIP while another node serves:
    move the VIP, this node is promoted when it comes.

    --unfenced is for a node that waits for a required fence that cannot succeed, or does not know
    whom to fence. Only when you have made sure that no other node serves.
    """
    seconds = parse_duration(expect_vip, "--expect-vip")
    request = PromoteRequest(instance=instance, expect_vip=seconds, unfenced=unfenced)
    answer = ask_daemon(config, node, request, PromoteAnswer)
    typer.echo(f"{answer.instance}: {answer.role.value}, epoch {answer.epoch}")


@app.command(short_help="Give the role up, the planned way.")
def demote(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, instance: InstanceOption = None
) -> None:
    """Give the role up: the planned way to take this node out of service.

    A master lowers its grade, so that the VIP manager moves the VIP; when it has, and another node
    is master, this one drops its clients without a word to them and becomes standby. So does a node
    that is held, as soon as another one serves that has its clients.
    """
    answer = ask_daemon(config, node, DemoteRequest(instance=instance), DemoteAnswer)
    note = f" ({answer.note})" if answer.note else ""
    typer.echo(f"{answer.instance}: {answer.role.value}{note}")


add_moves(app)


@app.command("hand-over", short_help="Give the role away before OpenVPN is stopped.")
def hand_over(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: Annotated[
        str | None, typer.Option("--instance", "-i", help="Name of the instance; else all.")
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", help="Only the instance of this OpenVPN process.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", help="How long it may take: 10s, 500ms.")
    ] = "10s",
) -> None:
    """Give the role to another node, if one can take it, because OpenVPN is about to be stopped.

    What the unit of OpenVPN does when it is stopped or restarted. A standby has nothing to give
    away. When no other node is in sync nothing is waited for. Exit code 1 when clients will have to
    reconnect.
    """
    seconds = parse_duration(within, "--within")
    request = HandOverRequest(instance=instance, pid=pid, within=seconds)
    left = ask_daemon(config, node, request, HandOverAnswer).left
    for one in left:
        typer.echo(f"{one.instance}: {one.role.value}, {one.note}")
    if not left:
        typer.echo("no instance has such an OpenVPN: nothing to hand over")
    if not all(one.good for one in left):
        raise typer.Exit(1)


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
    request = RenegotiateRequest(instance=instance, uid=uid, rate=rate)
    answer = ask_daemon(config, node, request, RenegotiateAnswer)
    count = count_clients(answer.clients)
    typer.echo(f"{answer.instance}: OpenVPN is asked to renegotiate {count}")


@app.command(short_help="Show who is connected.")
def clients(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same, for programs.")] = False,
) -> None:
    """Show who is connected: names, addresses, since when, bytes, and whether another node has it.

    On any node; on a standby it is what that node has a copy of. The uid is what logs and
    `renegotiate --uid` use: it is the same on all nodes and stays until the client makes a new
    session. OpenVPN does nothing else while it answers, with 10,000 clients about 50 ms.
    """
    answer = ask_daemon(config, node, ClientsRequest(instance=instance), ClientsAnswer)
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    from ovpnha.cli.show import show_clients
    from ovpnha.runtime.rows import describe_clients

    show_clients(describe_clients(answer), Console())


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(wanted=True)


@app.command(hidden=True)
def reference(
    metrics: Annotated[bool, typer.Option("--metrics", help="Print docs/metrics.md.")] = False,
    wire: Annotated[bool, typer.Option("--wire", help="Print the tables of docs/wire.md.")] = False,
    kinds: Annotated[bool, typer.Option("--doctor", help="Print docs/doctor.md.")] = False,
    man: Annotated[
        ManualPage | None, typer.Option("--man", help="Print ovpnha(1) or ovpnha.toml(5), for man.")
    ] = None,
    completion: Annotated[
        CompletionPage | None,
        typer.Option("--completion", help="Print what completes a command line in this shell."),
    ] = None,
) -> None:
    """Print docs/configuration.md, or another page or file that is made from the program."""
    wanted = {Page.METRICS: metrics, Page.WIRE: wire, Page.DOCTOR: kinds}
    plain = next((page for page, asked in wanted.items() if asked), Page.CONFIGURATION)
    typer.echo(render(man or completion or plain, app), nl=False)
