"""``python -m tests.lab.soak``: failovers of mixed kinds in a row, while clients come and go.

    --count N           failovers (200)
    --clients N         at any time (50)
    --seed N            repeat one: kinds, clients and pauses are drawn from it (printed)
    --only WORD …       only kinds whose name contains one of the words
    --manager NAME      the VIP manager (keepalived)
    --output DIR        where soak.json goes (build/lab)

Needs root and the patched OpenVPN. Exits with 1 when a client that was there restarted or lost its
session, the TCP session broke, or memory or descriptors grew; 2 when the lab could not do its work.
The file is written after every failover. The logs of a soak that failed lie in build/lab/logs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.lab.cleanup import keep_files
from tests.lab.ending import run_to_end
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.managers.run import MANAGERS
from tests.lab.node import Setup
from tests.lab.soak.kinds import KINDS, Kind
from tests.lab.soak.report import WIDTH, kinds_table, usage_table
from tests.lab.soak.run import Soak, draw_kinds
from tests.lab.soak.usage import growing

console = Console(stderr=True)


def main(arguments: Sequence[str]) -> int:
    """Soak, write and show what came of it; the exit status."""
    options = _parse(arguments)
    return run_to_end("soak", lambda: _soak(options), console)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.soak")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--manager", default="keepalived", choices=sorted(MANAGERS))
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    openvpn = os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")
    parser.add_argument("--openvpn", type=Path, default=Path(openvpn))
    return parser.parse_args(arguments)


def choose_kinds(words: Sequence[str]) -> tuple[Kind, ...]:
    """Those whose name has one of the words, all without words.

    Raises:
        LabError: There is none.
    """
    found = tuple(one for one in KINDS if not words or any(word in one.name for word in words))
    if not found:
        raise LabError(f"no kind has such a name; there are: {', '.join(k.name for k in KINDS)}")
    return found


def _soak(options: argparse.Namespace) -> int:
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    dice = random.Random(seed)  # noqa: S311 - repeatable, no secret
    drawn = draw_kinds(choose_kinds(options.only), options.count, dice)
    console.print(f"soak: {len(drawn)} failovers, {options.clients} clients, --seed {seed}")
    options.output.mkdir(parents=True, exist_ok=True)
    setup = Setup(openvpn=options.openvpn.absolute(), vip_manager=MANAGERS[options.manager])
    with Lab(setup) as lab:
        soak = Soak(lab, options.clients, dice)
        wrong = _run(soak, drawn, options.output / "soak.json")
        if wrong:
            keep_files(lab.directory)
            console.print(f"soak: the logs are build/lab/logs/{lab.directory.name}")
    _show(soak, wrong)
    return 1 if wrong else 0


def _run(soak: Soak, drawn: Sequence[Kind], path: Path) -> list[str]:
    """All failovers; what was wrong. One that does not end is the last."""
    wrong: list[str] = []
    doing = "the beginning"
    try:
        soak.begin()
        for kind in drawn:
            doing = kind.name
            soak.fail_over(kind)
            path.write_text(json.dumps(soak.rows, indent=1) + "\n")
            _tell(soak, len(drawn))
        if broken := soak.finish():
            wrong.append(f"the TCP session broke: {broken}")
    except LabError as error:
        wrong.append(f"after {len(soak.rows) - 1} failovers, {doing}: {error}")
    if names := soak.flock.restarts():
        caught = soak.caught.names()
        told = [f"{name} (in a handshake)" if caught[name] else name for name in names]
        wrong.append(f"clients restarted: {', '.join(told)}")
    if soak.flock.lost:
        wrong.append(f"sessions were lost: {', '.join(sorted(soak.flock.lost))}")
    return wrong + growing(soak.rows)


def _tell(soak: Soak, count: int) -> None:
    row = soak.rows[-1]
    console.print(
        f"{row['failovers']}/{count} {row['kind']}: {row['clients']} clients, outage"
        f" {row['outage_ms']} ms, {row['restarts']} restarts ({row['caught']} in a handshake),"
        f" {row['lost_sessions']} lost, {row['rss_mb']:.0f} MB, {row['descriptors']} descriptors"
        f" ({row['seconds']:.0f} s)",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _show(soak: Soak, wrong: Sequence[str]) -> None:
    terminal = Console()
    shown = terminal if terminal.is_terminal else Console(width=WIDTH)
    if len(soak.rows) > 1:
        shown.print(kinds_table(soak.rows))
        shown.print(usage_table(soak.rows))
    for text in wrong:
        console.print(f"soak: {text}", style="red", markup=False)
    if not wrong:
        console.print(
            f"soak: {len(soak.rows) - 1} failovers, {soak.flock.seen} clients: nothing was lost"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
