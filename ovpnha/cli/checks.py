"""``ovpnha checks`` and ``ovpnha reset``: what they take, and what they print."""

from __future__ import annotations

from typing import Annotated

import typer

from ovpnha.cli.common import ConfigOption, NodeOption, ask_daemon, print_json
from ovpnha.config import DEFAULT_PATH
from ovpnha.model import Verdict
from ovpnha.runtime.answers import ChecksAnswer, ResetAnswer
from ovpnha.runtime.control import ChecksRequest, ResetRequest


def checks(
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same, for programs.")] = False,
) -> None:
    """Show the checks of the service on every node: what is held of each, its age, what it said.

    Another node tells of six for each instance, those that failed first, and of the first 48 bytes
    of what each said. Exit code 1 when a check has failed, on any node.
    """
    answer = ask_daemon(config, node, ChecksRequest(), ChecksAnswer)
    if as_json:
        print_json(answer)
    else:
        from rich.console import Console

        from ovpnha.cli.show import show_part
        from ovpnha.runtime.checklist import describe_checks

        show_part(describe_checks(answer), Console())
    if any(one.verdict is Verdict.FAILED for one in answer.checks):
        raise typer.Exit(1)


def reset(
    check: Annotated[
        str | None, typer.Argument(help="Name of the check; else all that have failed.")
    ] = None,
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
) -> None:
    """Say that what a check of this node found is mended: it begins anew, with no verdict.

    For a failure that is sticky, and for one of a check that rests because this node is not master.
    """
    found = ask_daemon(config, node, ResetRequest(check=check), ResetAnswer).checks
    typer.echo(f"reset: {', '.join(found)}" if found else "nothing to reset: it has not failed")
