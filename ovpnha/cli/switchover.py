"""``ovpnha switchover``: asks for it, tells how it goes, and says what it cost.

Decides what is printed where: progress and what went wrong on the standard error output, the report
on the standard output, and the exit code.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from ovpnha.cli.common import (
    ANSWER_TIMEOUT,
    ConfigOption,
    InstanceOption,
    NodeOption,
    parse_duration,
    print_json,
)
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.runtime.answers import SwitchoverAnswer
from ovpnha.runtime.control import SwitchoverRequest, SwitchoverWaitRequest, ask

FAILED, REFUSED = 1, 3
ENDED = frozenset({"done", "failed"})

PROGRESS = {
    "wished": "asking {master} to give the role to {target}",
    "preparing": "{master} waits until {target} has every client as it is",
    "ready": "{target} has all and promotes itself",
    "moving": "{target} is promoted; {master} has let go of the VIP",
    "done": "{target} is master and has the VIP",
}
PHASES = {
    "frozen": "last handshakes and changes handed over",
    "promoted": "{target} promoted itself",
    "moved": "the VIP left {master}",
    "served": "{target} heard with the VIP",
}


def switchover(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="The node that shall be master; else the best standby in sync."),
    ] = None,
    within: Annotated[
        str, typer.Option("--within", help="How long the VIP may take: 10s, 500ms.")
    ] = "10s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and what is against it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report, for programs.")] = False,
) -> None:
    """Move the role to another node so that no client notices. Give it on any node.

    The target promotes itself first, then the VIP manager moves the VIP there. If it does not, all
    is as before. Progress is told on the standard error output. Ctrl-C ends the command only, not
    the switchover.

    Exit code 0 when the target serves, or with --dry-run nothing stands against it; 1 when it was
    called off, and the old master serves on; 2 when the command line is wrong; 3 when something
    stands against it and nothing was begun.
    """
    path = load_config(config, node).control.socket
    seconds = parse_duration(within, "--within")
    if not 0.1 <= seconds <= 60.0:
        raise typer.BadParameter("must be 100ms to 60s", param_hint="--within")
    request = SwitchoverRequest(instance=instance, to=to, within=seconds, dry_run=dry_run)
    answer = ask(path, request, SwitchoverAnswer, ANSWER_TIMEOUT)
    if answer.id:
        answer = _watch(path, answer)
    _report(answer, as_json=as_json, dry_run=dry_run)
    if answer.obstacles:
        raise typer.Exit(REFUSED)
    if answer.phase == "failed":
        raise typer.Exit(FAILED)


def _watch(path: Path, answer: SwitchoverAnswer) -> SwitchoverAnswer:
    """Tell each phase until it is over."""
    told = ""
    while True:
        if answer.phase != told and answer.phase in PROGRESS:
            line = PROGRESS[answer.phase].format(master=answer.master, target=answer.target)
            typer.echo(f"{answer.instance}: {line}", err=True)
        told = answer.phase
        if answer.phase in ENDED:
            return answer
        request = SwitchoverWaitRequest(
            instance=answer.instance, id=answer.id.hex(), phase=answer.phase
        )
        answer = ask(path, request, SwitchoverAnswer, ANSWER_TIMEOUT)


def _report(answer: SwitchoverAnswer, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        print_json(answer)
        return
    if dry_run:
        for number, step in enumerate(answer.steps, 1):
            typer.echo(f"{number}. {step}")
    for line in answer.obstacles:
        typer.echo(f"{answer.instance}: {line}", err=not dry_run)
    if dry_run and not answer.obstacles:
        typer.echo("Nothing stands against it.")
    if answer.phase == "done":
        for line in describe_times(answer):
            typer.echo(line)
    elif answer.phase == "failed":
        typer.echo(f"ovpnha: {answer.instance}: {answer.text}", err=True)


def describe_times(answer: SwitchoverAnswer) -> Iterator[str]:
    """What it cost, phase by phase."""
    yield f"{answer.instance}: {answer.target} is master, {answer.master} is standby"
    ends = [("", 0.0), *answer.times.items()]
    for (_, before), (name, end) in pairwise(ends):
        what = PHASES.get(name, name).format(master=answer.master, target=answer.target)
        yield f"  {(end - before) * 1000:8.1f} ms  {what}"
    if answer.times:
        yield f"  {max(answer.times.values()) * 1000:8.1f} ms  in all"
