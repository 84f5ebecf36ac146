"""Every error of the user is one clear line on the standard error output, never a traceback.

Exit codes: 2 for bad input (command line, configuration, key file), 1 for a failure; all of
them: docs/operations.md, "Exit codes". In the journal a line has its priority, as log lines have.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.runtime.journal import is_journal

BAD_INPUT = 2
FAILURE = 1
ARGUMENTS = frozenset({"check"})
"""What is asked for without the name of an option."""


class OneLineErrors(TyperGroup):
    """Turns our own exceptions into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command chosen."""
        try:
            return super().invoke(ctx)
        except OvpnhaError as error:
            priority = "<3>" if is_journal(sys.stderr) else ""
            for line in str(error).splitlines():
                typer.echo(f"{priority}ovpnha: {line}", err=True)
            code = BAD_INPUT if isinstance(error, ConfigError) else FAILURE
            raise typer.Exit(code) from None
        except ValueError as error:
            if not (wrong := _describe_request(error)):
                raise
            typer.echo(f"ovpnha: {wrong}", err=True)
            raise typer.Exit(BAD_INPUT) from None


def _describe_request(error: ValueError) -> str:
    """What cannot be asked of a sidecar, by the name of the option; "" for any other error."""
    pydantic = sys.modules.get("pydantic")  # loaded by whoever asks, and by nobody else
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return ""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "request"
    option = name if name in ARGUMENTS else f"--{name.replace('_', '-')}"
    return f"{option}: {first['msg']}"
