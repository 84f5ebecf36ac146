"""``ovpnha restart-openvpn``: a new OpenVPN process goes on where the old one is, unnoticed.

::

    look ─► renew the other ─► start it ─► move ─► watch ─► renew the old one
                                                              │ (spare = "restart", to the spare)
                                                              └─► move back ─► stop the spare

Decides what is printed where, and the exit code; the steps are ``ovpnha.cli.restartsteps``. Once it
was begun, a person is told last who serves, however it ends. Rules:
docs/adr/0070-either-process-may-serve.md.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, NodeOption, parse_duration, print_json
from ovpnha.cli.restartlook import is_lent, is_reload, say_serving
from ovpnha.cli.restartsteps import (
    FAILED_PHASE,
    WATCH,
    Restart,
)
from ovpnha.cli.signals import ended_by_signals
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.restartrequest import RestartAnswer, is_done, is_master
from ovpnha.runtime.restartunits import OtherProgramError, UnitError

FAILED, REFUSED = 1, 3

STEPS = (
    "the {other} process is started anew, with what is installed and configured now",
    "it gets link socket and tun from the {serving} process, and a copy of every client",
    "in a moment without a handshake the {serving} process holds, and the {other} one is promoted",
    f"after {WATCH:g} s without a fault the {{serving}} process is started anew",
)
APART = (
    "No client is served on this node: each process is started anew where it is. Nothing stands"
    " against it."
)
BACK = "when that has every client the role goes back to it, and the {other} process is stopped"


def restart_openvpn(  # noqa: PLR0913 - each is an option of the command line
    instance: Annotated[
        str | None, typer.Argument(help="The instance; not needed when there is one.")
    ] = None,
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    binary: Annotated[
        Path | None, typer.Option("--binary", help="Another program than the installed one.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", help="How long to wait for every client: 60s, 500ms.")
    ] = "90s",
    start: Annotated[
        bool,
        typer.Option("--start/--no-start", help="Start and stop units; else the caller does."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and what is against it.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="If clients must notice, tell them so: they reconnect."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome, for programs.")] = False,
) -> None:
    """Start OpenVPN anew, with a new program, certificate or configuration; no client notices.

    A second process of the server on this host gets a copy of every client, then the socket and the
    role. Needs spare in ovpnha.toml, unless the server is alone, and cluster-spare in OpenVPN's
    configuration. If something is wrong with the new process, the old one serves on, and one line
    says why; with --force clients are then told to reconnect, one after the other, within 12 s, and
    OpenVPN is stopped and started; not when a new one serves already, which may fail to give the
    role back to the usual process. INSTANCE may be the name of the unit, too. Progress is told on
    the standard error output. By a reload of its unit the role stays where it goes, and both
    processes are left running. On a node that serves no client nothing is moved: each process is
    started anew where it is.

    Exit code 0 when the new process serves, or with --dry-run nothing stands against it; 1 when it
    was called off, and the last line says who serves; 2 when the command line is wrong; 3 when
    something stands against it and nothing was begun.
    """
    seconds = parse_duration(within, "--within")
    if not 0.1 <= seconds <= 3600.0:
        raise typer.BadParameter("must be 100ms to 1h", param_hint="--within")
    if binary is not None and not os.access(binary, os.X_OK):
        raise typer.BadParameter("is no program that can be run", param_hint="--binary")
    _check_starts(start=start, binary=binary, force=force)
    restart = Restart(load_config(config, node), instance, seconds, start=start, binary=binary)
    told = restart.first
    if dry_run and not told.obstacles:
        _print_steps(told, back=_goes_back(told, start=start))
        return
    forced = False
    if not dry_run:
        told, forced = _carry_out(restart, start=start, force=force)
    _report(told, as_json=as_json, forced=forced)
    if told.obstacles:
        raise typer.Exit(REFUSED)
    if not is_done(told):
        raise typer.Exit(FAILED)


def _goes_back(told: RestartAnswer, *, start: bool) -> bool:
    """Whether the role is to come back to the process that has it."""
    return start and not is_reload() and is_lent(told)


def _carry_out(restart: Restart, *, start: bool, force: bool) -> tuple[RestartAnswer, bool]:
    """The outcome of all steps, and whether OpenVPN was stopped and started in the end."""
    told = restart.first
    try:
        with ended_by_signals(), restart.alone():
            told = restart.first
            if not told.obstacles:
                told = _try(restart, back=_goes_back(told, start=start), force=force)
            done = is_done(told) and not told.obstacles
            if not force or restart.strangers or restart.served or done:
                return told, False
            _report(told, as_json=False)
            return restart.force(), True
    except (UnitError, ControlError) as error:
        reason = _say_once(told, error)
        raise ControlError(f"{told.instance}: {reason}; {restart.tell()}") from None
    except KeyboardInterrupt:
        typer.echo(f"ovpnha: {told.instance}: was ended; {restart.tell()}", err=True)
        raise typer.Exit(FAILED) from None


def _try(restart: Restart, *, back: bool, force: bool) -> RestartAnswer:
    """The outcome without force; where there is some, an error is one that may be forced.

    Not while the units may start what was tried: they would, by force.
    """
    try:
        return restart.run(back=back)
    except OtherProgramError:
        raise
    except (UnitError, ControlError) as error:
        if not force or restart.served or not restart.is_as_before():
            raise
        reason = _say_once(restart.first, error)
        return replace(restart.first, phase=FAILED_PHASE, reason=reason)


def _say_once(told: RestartAnswer, error: Exception) -> str:
    """Without the name that the sidecar has put before it, which comes before all of it."""
    return str(error).removeprefix(f"{told.instance}: ")


def _check_starts(*, start: bool, binary: Path | None, force: bool) -> None:
    """What only who starts units can do."""
    for given, option in ((binary is not None, "--binary"), (force, "--force")):
        if given and not start:
            raise typer.BadParameter("does not go with --no-start", param_hint=option)
    if force and is_reload():
        raise typer.BadParameter("does not go with a reload of the unit", param_hint="--force")


def _print_steps(told: RestartAnswer, *, back: bool) -> None:
    names = {"serving": told.serving.value, "other": told.serving.other.value}
    if not is_master(told):
        typer.echo(APART)
        return
    for number, step in enumerate((*STEPS, *([BACK] if back else [])), 1):
        typer.echo(f"{number}. {step.format(**names)}")
    typer.echo("Nothing stands against it.")


def _report(told: RestartAnswer, *, as_json: bool, forced: bool = False) -> None:
    if as_json:
        print_json(told)
        return
    for line in told.obstacles:
        typer.echo(f"ovpnha: {told.instance}: {line}", err=True)
    if told.obstacles:
        return
    if not is_done(told):
        typer.echo(f"ovpnha: {told.instance}: {told.reason}; {say_serving(told, 'on')}", err=True)
    elif forced:
        typer.echo(f"{told.instance}: OpenVPN was stopped and started; {say_serving(told)}")
    elif not is_master(told):
        typer.echo(f"{told.instance}: OpenVPN was started anew; no client is served on this node")
    else:
        typer.echo(f"{told.instance}: the {told.serving} process serves, no client was told")
        if told.reason:
            keeps = f"it keeps the role: {told.reason}; the same command gives it back later"
            typer.echo(f"{told.instance}: {keeps}", err=True)
