"""``ovpnha pause``, ``resume`` and ``resync``: what they take, and what they print."""

from __future__ import annotations

from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, InstanceOption, NodeOption, ask_daemon, read_duration
from ovpnha.config import DEFAULT_PATH
from ovpnha.runtime.answers import PauseAnswer, ResumeAnswer, ResyncAnswer, count_clients
from ovpnha.runtime.control import PauseRequest, ResumeRequest, ResyncRequest

UNITS = {"": 1000, "s": 1000, "m": 60_000, "min": 60_000, "h": 3600_000}
LONGEST = 24 * 3600


def pause(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    duration: Annotated[str, typer.Option("--for", help="How long: 90s, 20min, 2h.")] = "1h",
) -> None:
    """Let this node watch and replicate, but not act: for work on keepalived or on the network.

    A standby does not take over, even when it is given the VIP, and its grade falls while another
    node serves or could. The grade of a master stands; one that loses the VIP is silent, as ever,
    goes on when it comes back, and keeps its clients. Without --instance all instances. It ends by
    itself, with `ovpnha resume`, and with the sidecar.
    """
    seconds = parse_long(duration, "--for")
    answer = ask_daemon(config, node, PauseRequest(instance=instance, seconds=seconds), PauseAnswer)
    names = ", ".join(answer.instances)
    typer.echo(f"{names}: paused for {answer.seconds / 60:g} min; ovpnha resume ends it")


def resume(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, instance: InstanceOption = None
) -> None:
    """Let this node act again. Without --instance all instances."""
    answer = ask_daemon(config, node, ResumeRequest(instance=instance), ResumeAnswer)
    for name in answer.instances:
        typer.echo(f"{name}: acts again" if name in answer.paused else f"{name}: was not paused")


def resync(
    config: ConfigOption = DEFAULT_PATH, node: NodeOption = None, instance: InstanceOption = None
) -> None:
    """Throw the copy of a standby away and fetch it anew from the master.

    Returns when it is in sync again; meanwhile it is no good heir, and its grade says so. Refused
    on any other node, and while no master is heard, or it lacks clients: the copy may be the last
    one then. If the master dies meanwhile, only another standby has its clients.
    """
    answer = ask_daemon(config, node, ResyncRequest(instance=instance), ResyncAnswer)
    count = count_clients(answer.clients)
    typer.echo(f"{answer.instance}: in sync with {answer.master} again, {count}")


def parse_long(text: str, option: str) -> float:
    """Seconds of a text like ``90s``, ``20min`` or ``2h``, a day at most, given for an option."""
    seconds = read_duration(text, UNITS)
    if seconds is None or not 0.0 < seconds <= LONGEST:
        raise typer.BadParameter("must be a duration such as 90s, 20min or 2h", param_hint=option)
    return seconds
