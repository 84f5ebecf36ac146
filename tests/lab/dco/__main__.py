"""``python -m tests.lab.dco``: a client whose data channel is in the kernel (DCO), in a machine.

    --runs N          of each case (1)
    --case NAME       only this one; may be repeated; also an instant of tests.lab.renegotiation
    --instants        the instants of a renegotiation instead of the cases
    --userspace       the same client with its data channel in the process, for comparison
    --output DIR      where dco.json goes (build/lab)
    --cache DIR       where the machine's image is kept (build/dco)

Exits with 1 when a client was lost, or was longer without answers than it may, or when the
machine itself broke twice in one case; when it did so once, the row says how.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ovpnha.errors import OvpnhaError
from tests.lab.dco.cases import CASES, Outcome, Stage, broken_promise, on_stage, try_case
from tests.lab.dco.image import ready_image
from tests.lab.dco.series import Series, lines_of
from tests.lab.renegotiation import INSTANTS


def say(text: str) -> None:
    """Progress, with the time that has passed."""
    print(f"dco: {time.monotonic() - _BEGUN:5.0f} s  {text}", file=sys.stderr, flush=True)


_BEGUN = time.monotonic()


def run(options: argparse.Namespace) -> list[Outcome]:
    """Every run of every case, in one machine unless it breaks."""
    say("preparing the machine (the first time it is downloaded)")
    image = ready_image(options.cache.resolve())
    names = options.case or (list(INSTANTS) if options.instants else list(CASES))
    boot = partial(on_stage, image, options.openvpn, userspace=options.userspace, say=say)
    return Series(names * options.runs, say).run(boot, _try)


def _try(name: str, stage: Stage) -> Outcome:
    outcome = try_case(name, stage)
    say(f"{name}: {broken_promise(outcome) or f'{outcome.longest_gap_ms:.0f} ms'}")
    return outcome


def summary(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """One row for each case: the worst of its runs."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.case, []).append(outcome)
    return [_row(name, group) for name, group in rows.items()]


def _row(name: str, group: list[Outcome]) -> dict[str, Any]:
    back = [outcome.back_after_s for outcome in group if outcome.back_after_s is not None]
    return {
        "case": name,
        "runs": len(group),
        "lost": max(outcome.lost for outcome in group),
        "longest_gap_ms": max(outcome.longest_gap_ms for outcome in group),
        "back_after_s": max(back, default=None),
        "lost_for_good": sum(outcome.lost_for_good for outcome in group),
        "reconnected": sum(outcome.reconnected for outcome in group),
        "crashes": [crash for outcome in group for crash in outcome.crashes],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, for people."""
    lines = [[str(name).replace("_", " ") for name in rows[0]]]
    lines += [[_shown(value) for value in row.values()] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def _shown(value: object) -> str:
    """A list as how many it has: what a kernel said needs a line of its own."""
    if isinstance(value, list):
        return str(len(value))
    return "-" if value is None else str(value)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.dco")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--case", action="append", choices=[*CASES, *INSTANTS])
    parser.add_argument("--instants", action="store_true")
    parser.add_argument("--userspace", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    parser.add_argument("--cache", type=Path, default=Path("build/dco"))
    parser.add_argument("--openvpn", type=Path, default=Path("build/openvpn/openvpn"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        outcomes = run(options)
    except OvpnhaError as error:
        print(f"dco: {error}", file=sys.stderr)
        return 2
    rows = summary(outcomes)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "dco.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(table(rows))
    for line in lines_of(outcomes):
        print(f"dco: the machine broke, in {line}", file=sys.stderr)
    broken = [f"{one.case}: {text}" for one in outcomes if (text := broken_promise(one))]
    for line in broken:
        print(f"dco: promise not kept: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
