"""What `ovpnha reference` prints: pages and files that are made from the program.

Decides only which generator makes what; each stands where its material is.
"""

from __future__ import annotations

from enum import StrEnum

import typer

PROGRAM = "ovpnha"
COMPLETE_VARIABLE = "_OVPNHA_COMPLETE"


class Page(StrEnum):
    """All that can be printed."""

    CONFIGURATION = "configuration"
    METRICS = "metrics"
    WIRE = "wire"
    DOCTOR = "doctor"


class ManualPage(StrEnum):
    """The sections of the manual that have a page of ours."""

    COMMANDS = "1"
    CONFIGURATION = "5"


class CompletionPage(StrEnum):
    """The shells that are told how to complete a command line."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def render(page: Page | ManualPage | CompletionPage, app: typer.Typer) -> str:
    """The text of one."""
    if isinstance(page, ManualPage):
        return _manual(page, app)
    if isinstance(page, CompletionPage):
        return _completion(page)
    return _page(page)


def _page(page: Page) -> str:
    from ovpnha.cli.doctor import render_doctor
    from ovpnha.cli.reference import render_reference
    from ovpnha.cli.wirereference import render_wire
    from ovpnha.runtime.metricpage import render_metrics

    return {
        Page.CONFIGURATION: render_reference,
        Page.METRICS: render_metrics,
        Page.WIRE: render_wire,
        Page.DOCTOR: render_doctor,
    }[page]()


def _manual(page: ManualPage, app: typer.Typer) -> str:
    from ovpnha.cli.manual import render_commands, render_configuration

    if page is ManualPage.CONFIGURATION:
        return render_configuration()
    return render_commands(typer.main.get_command(app))


def _completion(page: CompletionPage) -> str:
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(
        prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=page.value
    )
    return f"{script.strip()}\n"


def take_completion() -> None:
    """Let the program answer what such a script asks: without this, typer knows no shell."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
