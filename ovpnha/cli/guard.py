"""``ovpnha guard``: the command. The daemon decides (``ovpnha.runtime.guard``).

A VIP manager that waits for the answer asks the control socket itself, as ``deploy/ucarp/guard``
does: this takes a third of a second of processor to load.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, InstanceOption, NodeOption
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.runtime.answers import GuardAnswer
from ovpnha.runtime.control import GuardRequest, ask

ANSWER_SECONDS = 3.0
"""A VIP manager waits meanwhile, and clients with it."""


def guard(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    instance: InstanceOption = None,
    leave: Annotated[
        bool, typer.Option("--leave", help="Ask instead whether another node would be better.")
    ] = False,
    to: Annotated[
        str | None, typer.Option("--to", help="With --leave: whether this node is in sync.")
    ] = None,
) -> None:
    """Say whether this node may be given the VIP, for VIP managers that read no grade.

    Exit code 0: yes, no other node serves. 3: no, another node is heard that is master, has the
    VIP, is as good, and does not ask to be relieved. 4: no, this node would not serve (its grade is
    below 0). 1: not known, the sidecar does not answer. With `--leave`, 0: another node has a
    better grade, or the one that `--to` names is in sync; 3: there is none. deploy/ucarp shows how
    to use it.
    """
    if to is not None and not leave:
        raise typer.BadParameter("goes with --leave", param_hint="--to")
    socket = load_config(config, node).control.socket
    request = GuardRequest(instance=instance, leave=leave, to=to)
    answer = ask(socket, request, GuardAnswer, ANSWER_SECONDS)
    typer.echo(f"{answer.instance}: {answer.text}")
    raise typer.Exit(answer.code)
