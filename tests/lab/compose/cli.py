"""The command of the container lab: what it takes, what it shows, how it ends."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ovpnha.errors import OvpnhaError
from tests.lab import plan, report
from tests.lab.cleanup import ended_by_sigterm
from tests.lab.compose.demo import Planned, broken_promises, run_demo
from tests.lab.compose.engine import FILES, Compose, check_engine, leftovers, run
from tests.lab.errors import LabError
from tests.lab.scenarios import Place, Scenario, choose, describe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def demo(
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where compose.json and pictures go.")] = Path(
        "build/lab"
    ),
    clean: Annotated[bool, typer.Option("--clean", help="Remove what a killed demo left.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say what scenarios there are.")] = False,
) -> None:
    """Kill the master's container under a stock client's traffic, and measure."""
    if list_:
        typer.echo(describe(Place.CONTAINERS))
        return
    try:
        scenarios = choose(Place.CONTAINERS, scenario or [])
        with ended_by_sigterm(), _alone():
            _check_machine()
            compose = Compose()
            compose.down()
            if clean:
                return
            _check_networks()
            kept = _run_all(compose, scenarios, output)
    except OvpnhaError as error:
        typer.echo(f"compose-demo: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("compose-demo: stopped; nothing is left behind", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if kept else 1)


def _run_all(compose: Compose, scenarios: list[Scenario], output: Path) -> bool:
    """Make every run, write and show the result; whether every promise was kept."""
    say("building the images (minutes the first time, seconds later)")
    compose.build()
    pairs = []
    for scenario in scenarios:
        pairs.append(run_demo(compose, Planned(scenario, 1, output), say))
        say(report.describe(pairs[-1][0]))
    runs = [run for run, _ in pairs]
    report.write_result(runs, output / "compose.json")
    console = Console() if sys.stdout.isatty() else Console(width=report.WIDTH)
    console.print(report.make_table(runs))
    console.print(f"{output}/compose.json and the pictures beside it have the details")
    broken = broken_promises(runs)
    for line in broken:
        typer.echo(f"compose-demo: promise not kept: {line}", err=True)
    return not broken


def say(text: str) -> None:
    """One step, for the one who watches."""
    typer.echo(f"compose-demo: {text}", err=True)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("watching the containers' networks needs root; run it as root")
    check_engine()
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is missing; load the module with `modprobe tun`")
    if others := leftovers("ovpnha"):
        raise LabError(
            f"the lab is up already ({', '.join(others[:3])}, …) and has the same networks; "
            "take it down first: docker compose down --volumes"
        )


def _check_networks() -> None:
    """The engine takes a network whether or not the host has another use for its addresses."""
    for segment in plan.SEGMENTS:
        for kind in ("root", "match"):
            for line in run(
                "ip", "-4", "route", "show", "to", kind, str(segment.network)
            ).splitlines():
                if not line.startswith("default"):
                    raise LabError(f"this host has a route into {segment.network}: {line}")


@contextmanager
def _alone() -> Iterator[None]:
    """One demo at a time: its networks have fixed addresses."""
    with FILES[0].open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another demo is running; wait for its end") from None
        yield
