"""``python -m tests.lab.managers``: every scenario for every VIP manager, each several times.

    --manager NAME …    only these: keepalived, keepalived-fast, ucarp, pacemaker, frr
    --only WORD …       only scenarios whose name contains one of the words
    --runs N            of each (5)
    --no-control        no control runs with stock OpenVPN
    --quick             one run of three that take seconds, drawn by the commit
    --list              what there is, and nothing else
    --output DIR        where scenarios.json and scenarios.png go (build/lab)

Needs root and the patched OpenVPN. Exits with 1 when a promise was not kept, 2 when the lab could
not do its work. The file is written after every run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.lab.ending import run_to_end
from tests.lab.errors import LabError
from tests.lab.keepalived import real_time
from tests.lab.managers import report
from tests.lab.managers.run import MANAGERS, Planned, broken_promises, run_row
from tests.lab.scenarios import Place, Scenario, all_at, describe, find
from tests.sampling import draw, seed_of_commit

console = Console(stderr=True)
CONTROLLED = ("node-loss", "openvpn-crash")
CONTROL_KEEPALIVES = ("10 60", "1 5")
QUICK = ("switchover", "node-loss", "openvpn-crash", "vip-network-cut", "bcn-cut", "both-cut")
QUICK_COUNT = 3


def main(arguments: Sequence[str]) -> int:
    """Make the chosen runs, write and show what came of them; the exit status."""
    options = _parse(arguments)
    if options.list:
        print(f"{describe(Place.MANAGERS)}\n\nVIP managers: {', '.join(MANAGERS)}")
        return 0

    def work() -> int:
        return _run_all(plan_runs(options), options.openvpn.absolute(), options.output)

    return run_to_end("scenarios", work, console)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.managers")
    parser.add_argument("--manager", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-control", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    openvpn = os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")
    parser.add_argument("--openvpn", type=Path, default=Path(openvpn))
    return parser.parse_args(arguments)


def plan_runs(options: argparse.Namespace) -> list[Planned]:
    """Every run to make, run by run, so that one that is ended early has something of each.

    Raises:
        LabError: A VIP manager that there is not, or nothing to do.
    """
    if options.quick:
        names = draw({"quick": list(QUICK)}, {"quick": QUICK_COUNT}, seed_of_commit())
        return [Planned(find(name), "keepalived", 1) for name in names]
    managers = _choose_managers(options.manager)
    scenarios = [one for one in all_at(Place.MANAGERS) if _is_chosen(one, options.only)]
    if not scenarios:
        raise LabError("no scenario has such a name; --list shows them all")
    found = [
        Planned(scenario, manager, index + 1)
        for index in range(options.runs)
        for scenario in scenarios
        for manager in managers
    ]
    controlled = [one for one in scenarios if one.name in CONTROLLED]
    if not options.no_control and "keepalived" in managers:
        found += [
            Planned(one, "keepalived", 1, keepalive)
            for one in controlled
            for keepalive in CONTROL_KEEPALIVES
        ]
    return found


def _choose_managers(names: Sequence[str]) -> list[str]:
    """Those of these names; all that this machine can run where there is none."""
    for name in names:
        if name not in MANAGERS:
            raise LabError(f"there is no VIP manager {name}; there are: {', '.join(MANAGERS)}")
    if names:
        return list(names)
    if not real_time():
        console.print("scenarios: no real time here, so no keepalived-fast", style="yellow")
    return [name for name in MANAGERS if name != "keepalived-fast" or real_time()]


def _is_chosen(scenario: Scenario, words: Sequence[str]) -> bool:
    return not words or any(word in scenario.name for word in words)


def _run_all(planned: Sequence[Planned], openvpn: Path, output: Path) -> int:
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    for number, one in enumerate(planned, start=1):
        begun = time.monotonic()
        try:
            rows.append(run_row(one, openvpn, lambda _step: None))
        except LabError as error:
            broken.append(f"{one.title}: {error}")
            console.print(f"{number}/{len(planned)} {broken[-1]}", markup=False)
            continue
        broken += broken_promises(rows[-1], one.scenario)
        (output / "scenarios.json").write_text(json.dumps(rows, indent=2) + "\n")
        _tell(f"{number}/{len(planned)} {one.title}", rows[-1], time.monotonic() - begun)
    if rows:
        report.draw(rows, output / "scenarios.png")
        terminal = Console()
        (terminal if terminal.is_terminal else Console(width=report.WIDTH)).print(
            report.make_table(rows)
        )
    for text in broken:
        console.print(f"scenarios: promise not kept: {text}", style="red", markup=False)
    return 1 if broken or not rows else 0


def _tell(title: str, row: dict[str, Any], seconds: float) -> None:
    console.print(
        f"{title}: {row['outage_ms']:.0f} ms, VIP {row['vip_move_ms']} ms, {row['probes_lost']}"
        f" probes lost, {row['client_restarts']} restarts ({seconds:.0f} s)",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
