"""The lab's command line: what it takes, what it shows while it works, how it ends."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ovpnha.errors import OvpnhaError
from tests.lab.cleanup import clean, ended_by_sigterm
from tests.lab.errors import LabError
from tests.lab.plan import LETTERS
from tests.lab.scenarios import Place, Scenario, choose, describe

if TYPE_CHECKING:
    from tests.lab.measure import Curve, Run
    from tests.lab.node import Setup

Show = Callable[[int, str], None]

SEAMLESS_KEEPALIVE = "10 60"
TOOLS = ("ip", "setpriv", "keepalived", "openvpn")
FIREWALL_TOOLS = ("nft", "conntrackd")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Control(StrEnum):
    """Which control run to make: its ``keepalive`` decides how long its client is away."""

    TUNED = "tuned"
    DEFAULT = "default"
    NONE = "none"


CONTROL_KEEPALIVE = {Control.TUNED: "2 10", Control.DEFAULT: "10 60"}


@app.command()
def lab(  # noqa: PLR0913 - each is an option of the command line
    runs: Annotated[
        int, typer.Option(min=1, help="Seamless runs of each scenario; their median counts.")
    ] = 5,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=2, max=len(LETTERS), help="How many nodes.")] = 2,
    control: Annotated[
        Control,
        typer.Option(help="Control run with stock OpenVPN: keepalive 2 10, 10 60, or none."),
    ] = Control.TUNED,
    openvpn: Annotated[
        Path, typer.Option(envvar="OVPNHA_OPENVPN", help="The patched OpenVPN.")
    ] = Path("build/openvpn/openvpn"),
    output: Annotated[Path, typer.Option(help="Where result.json and result.png go.")] = Path(
        "build/lab"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result file instead of the table.")
    ] = False,
    control_only: Annotated[
        bool, typer.Option(help="Only the control runs; needs no patched OpenVPN.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Nodes that only route: no firewall, NAT, conntrackd.")
    ] = False,
    keep_logs: Annotated[
        bool, typer.Option(help="Keep the logs of every run in build/lab/logs.")
    ] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what a killed lab left.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say what scenarios there are.")] = False,
) -> None:
    """Kill the master under a stock client's traffic, in network namespaces, and measure.

    Exit code 1 when a promise was not kept, 2 when the lab itself could not do its work.
    """
    if list_:
        typer.echo(describe(Place.NAMESPACES))
        return
    try:
        with ended_by_sigterm():
            if clean:
                _clean()
                return
            scenarios = choose(Place.NAMESPACES, scenario or [])
            kind = Kind(nodes, plain=plain)
            plan = _plan(scenarios, 0 if control_only else runs, control, kind)
            _check_machine(None if control_only else openvpn, plain=plain)
            kept = _run_all(plan, openvpn.absolute(), output, as_json=as_json, keep_logs=keep_logs)
    except OvpnhaError as error:
        typer.echo(f"lab: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("lab: stopped; nothing is left behind", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if kept else 1)


@dataclass(frozen=True)
class Kind:
    """What kind of cluster all runs have: how many nodes, ``plain`` without firewall."""

    nodes: int = 2
    plain: bool = False


@dataclass(frozen=True)
class Planned:
    """One run to make; ``control_keepalive`` is None for ovpnha."""

    scenario: Scenario
    control_keepalive: str | None
    index: int
    kind: Kind


def _plan(scenarios: list[Scenario], runs: int, control: Control, kind: Kind) -> list[Planned]:
    planned: list[Planned] = []
    for scenario in scenarios:
        planned += [Planned(scenario, None, index + 1, kind) for index in range(runs)]
        if control is not Control.NONE:
            planned.append(Planned(scenario, CONTROL_KEEPALIVE[control], 1, kind))
    return planned


def _run_all(
    planned: list[Planned], openvpn: Path, output: Path, *, as_json: bool, keep_logs: bool
) -> bool:
    """Make every run, write and show the result; whether every promise was kept."""
    from tests.lab import report

    pairs: list[tuple[Run, Curve]] = []
    with _progress(len(planned)) as (show, tell):
        for number, one in enumerate(planned):
            pairs.append(_run_one(one, number, openvpn, show, keep_logs=keep_logs))
            tell(report.describe(pairs[-1][0]))
    runs = [run for run, _ in pairs]
    report.write_result(runs, output / "result.json")
    report.draw(report.typical_curves(pairs), output / "result.png")
    if as_json:
        typer.echo(json.dumps([run.as_json() for run in runs], indent=2))
    else:
        terminal = Console()
        console = terminal if terminal.is_terminal else Console(width=report.WIDTH)
        console.print(report.make_table(runs))
        console.print(f"{output}/result.json and {output}/result.png have the details")
    broken = report.broken_promises(runs)
    for line in broken:
        typer.echo(f"lab: promise not kept: {line}", err=True)
    return not broken


def _run_one(
    one: Planned, number: int, openvpn: Path, show: Show, *, keep_logs: bool
) -> tuple[Run, Curve]:
    from tests.lab.run import run_scenario

    setup = make_setup(one, openvpn)
    title = (
        f"{one.scenario.name}, {'ovpnha' if setup.seamless else 'stock OpenVPN'}, run {one.index}"
    )

    def say(step: str) -> None:
        show(number, f"{title}: {step}")

    return run_scenario(one.scenario, setup, say, index=one.index, keep_logs=keep_logs)


def make_setup(one: Planned, openvpn: Path) -> Setup:
    """The cluster of a run: what newcomers have, so behind a firewall and NAT unless ``plain``."""
    from tests.lab.node import Setup
    from tests.lab.openvpn import STOCK
    from tests.lab.rules import Rules

    seamless, plain = one.control_keepalive is None, one.kind.plain
    return Setup(
        nodes=one.kind.nodes,
        openvpn=openvpn if seamless else STOCK,
        seamless=seamless,
        keepalive=one.control_keepalive or SEAMLESS_KEEPALIVE,
        rules=Rules.NONE if plain else Rules.SNAT_STATEFUL,
        conntrack=seamless and not plain,
    )


def _clean() -> None:
    removed = clean()
    typer.echo(f"removed: {', '.join(removed)}" if removed else "nothing was left behind")


def _check_machine(openvpn: Path | None, *, plain: bool) -> None:
    if os.geteuid() != 0:
        raise LabError("network namespaces need root; run it as root")
    tools = TOOLS if plain else TOOLS + FIREWALL_TOOLS
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise LabError(f"not found: {', '.join(missing)}; `make lab` installs what is missing")
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is missing; load the module with `modprobe tun`")
    if openvpn is not None and not os.access(openvpn, os.X_OK):
        raise LabError(f"{openvpn} is missing; `make binary` builds the patched OpenVPN")


@contextmanager
def _progress(total: int) -> Iterator[tuple[Show, Callable[[str], None]]]:
    """A bar with the step in work, and a way to say a line above it."""
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def show(done: int, text: str) -> None:
            progress.update(task, completed=done, description=text)

        def tell(line: str) -> None:
            progress.console.print(line, highlight=False, soft_wrap=True)

        yield show, tell
