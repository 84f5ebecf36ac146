"""``python -m tests.lab.managers``: every scenario for every VIP manager, each several times.

    --manager NAME …    only these: keepalived, keepalived-fast, ucarp, pacemaker, frr; two-remotes
                        and one-server have control runs only
    --scenario NAME …   only these; a word stands for all that have it in their name
    --runs N            of each (5)
    --no-control        no control runs with stock OpenVPN
    --again             measure anew what the file has
    --quick             runs that take seconds, drawn by the commit, for a minute and a half
    --list              what there is, and nothing else
    --show              the table and the picture of what the file has, and nothing else
    --output DIR        where scenarios.json and scenarios.png go (build/lab)

| asked for | where it is |
|---|---|
| each scenario for each VIP manager | ``tests/lab/scenarios.py``, ``managers/run.py`` |
| switchover, also under load; node loss; crash; cuts | ``tests/lab/stories.py`` |
| frozen; sidecar; failback; boots; flapping | the same |
| a check that fails; a fence that succeeds, fails, hangs | ``tests/lab/served.py`` |
| today's practice: keepalived, ucarp, two ``remote`` lines, a restart | ``managers/today.py`` |
| one clock; phases; probes lost; restarts; TCP sessions | ``managers/run.py`` |
| minimum, median, maximum; a picture; the figures of others | ``managers/report.py`` |
| over several sittings, with the time that is left | ``managers/rows.py`` |

What the file has is not measured again: a matrix of hours can be had in parts. Needs root and the
patched OpenVPN. Exits with 1 when a promise was not kept in a run that was asked for, then or
earlier, 2 when the lab could not do its work. The file is written after every run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.lab.ending import run_to_end
from tests.lab.errors import LabError
from tests.lab.keepalived import real_time
from tests.lab.managers import report
from tests.lab.managers.rows import Rows, commit, failed_row, in_words
from tests.lab.managers.run import MANAGERS, Planned, broken_promises, run_row
from tests.lab.managers.today import CONTROLS
from tests.lab.scenarios import Place, Scenario, all_at, describe, find
from tests.sampling import draw, seed_of_commit

console = Console(stderr=True)
CONTROL_NAMES = tuple(dict.fromkeys(control.manager for control in CONTROLS))
SLOW = ("switchover-under-load", "all-off-and-on", "link-flapping")
QUICK_SECONDS = 90.0


def main(arguments: Sequence[str]) -> int:
    """Make the chosen runs, write and show what came of them; the exit status."""
    options = _parse(arguments)
    if options.list:
        names = dict.fromkeys((*MANAGERS, *CONTROL_NAMES))
        print(
            f"{describe(Place.MANAGERS)}\n\nVIP managers, and today's practice: {', '.join(names)}"
        )
        return 0
    return run_to_end("scenarios", lambda: _work(options), console)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.managers")
    parser.add_argument("--manager", nargs="*", default=[])
    parser.add_argument("--scenario", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-control", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    openvpn = os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")
    parser.add_argument("--openvpn", type=Path, default=Path(openvpn))
    return parser.parse_args(arguments)


def plan_runs(options: argparse.Namespace) -> list[Planned]:
    """Every run to make, run by run, so that one that is ended early has something of each.

    Raises:
        LabError: A VIP manager or a scenario that there is not.
    """
    if options.quick:
        names = [one.name for one in all_at(Place.MANAGERS) if one.name not in SLOW]
        drawn = draw({"quick": names}, {"quick": len(names)}, seed_of_commit())
        return [Planned(find(name), "keepalived", 1) for name in drawn]
    managers = _choose_managers(options.manager)
    scenarios = _choose_scenarios(options.scenario)
    found = []
    for index in range(1, options.runs + 1):
        for one in scenarios:
            found += [Planned(one, name, index) for name in managers if name in MANAGERS]
            if not options.no_control:
                found += [
                    Planned(one, control.manager, index, control)
                    for control in CONTROLS
                    if one.name in control.scenarios and control.manager in managers
                ]
    if not found:
        raise LabError("today's practice has no such scenario; --list shows what there is")
    return found


def _choose_managers(names: Sequence[str]) -> list[str]:
    """Those of these names; all that this machine can run where there is none."""
    known = list(dict.fromkeys((*MANAGERS, *CONTROL_NAMES)))
    for name in names:
        if name not in known:
            raise LabError(f"there is no VIP manager {name}; there are: {', '.join(known)}")
    if names:
        return list(names)
    if not real_time():
        console.print("scenarios: no real time here, so no keepalived-fast", style="yellow")
    return [name for name in known if name != "keepalived-fast" or real_time()]


def _choose_scenarios(words: Sequence[str]) -> list[Scenario]:
    """Those of these names or with these words in them, in the order of the registry."""
    known = all_at(Place.MANAGERS)
    chosen: set[str] = set()
    for word in words:
        named = {one.name for one in known if one.name == word}
        found = named or {one.name for one in known if word in one.name}
        if not found:
            raise LabError(f"no scenario has the name or word {word}; --list shows them all")
        chosen |= found
    return [one for one in known if one.name in chosen or not words]


def _work(options: argparse.Namespace) -> int:
    """Measure what is missing, and show all of what was asked for."""
    planned = plan_runs(options)
    path = options.output / f"scenarios{'-quick' if options.quick else ''}.json"
    if options.quick:
        path.unlink(missing_ok=True)
    rows = Rows(path)
    todo = planned if options.again else rows.missing(planned)
    deadline = time.monotonic() + QUICK_SECONDS if options.quick else float("inf")
    if not options.show:
        _measure(todo, rows, options.openvpn.absolute(), deadline)
    return _show(rows.of(planned), path.with_suffix(".png"))


def _measure(todo: Sequence[Planned], rows: Rows, openvpn: Path, deadline: float) -> None:
    """Run by run, each of them in the file as soon as it is over."""
    if len(todo) > 1 and deadline == float("inf"):
        console.print(f"scenarios: {len(todo)} runs, about {in_words(rows.seconds_left(todo))}")
    for number, one in enumerate(todo, start=1):
        if time.monotonic() >= deadline:
            return
        row = _run_one(one, openvpn)
        rows.add(row)
        left = rows.seconds_left(todo[number:])
        _tell(f"{number}/{len(todo)} {one.title}", row, in_words(left))


def _run_one(one: Planned, openvpn: Path) -> dict[str, Any]:
    """A run with all that is kept of it, whatever comes of it."""
    begun = time.monotonic()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        row = run_row(one, openvpn, lambda _step: None)
    except LabError as error:
        row = failed_row(one, str(error))
    else:
        row["broken"] = broken_promises(row, one.scenario)
    seconds = round(time.monotonic() - begun, 1)
    return row | {"servers": one.servers, "seconds": seconds, "at": at, "commit": commit()}


def _tell(title: str, row: dict[str, Any], left: str) -> None:
    if "failed" in row:
        said = f"failed: {row['failed']}"
    else:
        said = (
            f"{row['outage_ms']:.0f} ms, VIP {row['vip_move_ms']} ms, {row['probes_lost']} probes"
            f" lost, {row['client_restarts']} restarts"
        )
    console.print(
        f"{title}: {said} ({row['seconds']:.0f} s, load {row['load']}); about {left} left",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _show(rows: Sequence[dict[str, Any]], picture: Path) -> int:
    """The table, the picture and what went wrong; the exit status."""
    wrong = [
        f"{row['scenario']}, {row['manager']}, {row['servers']}, run {row['run']}: {row['failed']}"
        for row in rows
        if "failed" in row
    ]
    measured = [row for row in rows if "failed" not in row]
    if measured:
        report.draw(measured, picture)
        terminal = Console()
        (terminal if terminal.is_terminal else Console(width=report.WIDTH)).print(
            report.make_table(rows)
        )
    for text in [text for row in measured for text in row["broken"]]:
        console.print(f"scenarios: promise not kept: {text}", style="red", markup=False)
    for text in wrong:
        console.print(f"scenarios: no figures: {text}", style="red", markup=False)
    kept = measured and not wrong and not any(row["broken"] for row in measured)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
