"""``python -m tests.lab.nat``: connections through firewalls and NAT, over moves of the VIP.

    --runs N          lives of each kind (1)
    --only WORD …     only lives whose name has all of these words; ``control`` is one of them
    --idle SECONDS    how long nothing is said before each move (60)
    --sessions N      how many there are at once, in each family (200)
    --sample N        only N lives with conntrackd, drawn by --seed
    --seed N          which; a new one is drawn and told when it is left out
    --family F        ipv4 or ipv6; both by default
    --list            the names of the lives, and nothing else
    --output DIR      where nat.json goes (build/lab)

A life is one cluster with one firewall, in which every kind of connection is open over three moves
of the VIP: there, back, and there again. Exits with 1 when a connection that must live does not.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ovpnha.errors import OvpnhaError
from tests.lab.nat.life import Life, live
from tests.lab.nat.rows import FAMILIES, Death, Row, broken_promises, table
from tests.lab.rules import Rules


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests.lab.nat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    parser.add_argument("--openvpn", type=Path, default=Path("build/openvpn/openvpn"))
    return parser.parse_args(arguments)


def choose(options: argparse.Namespace) -> list[Life]:
    """The lives that are wanted, in order."""
    families = tuple(options.family or FAMILIES)
    lives = [
        Life(rules, death, control, families, options.idle, options.sessions)
        for rules in Rules
        for death in Death
        for control in (False, True)
    ]
    lives = [life for life in lives if set(options.only) <= set(str(life).split(", "))]
    if options.sample is None:
        return lives
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"tests.lab.nat: --sample {options.sample} --seed {seed}", flush=True)
    promised = [life for life in lives if not life.control and life.rules is not Rules.MASQUERADE]
    dice = random.Random(seed)  # noqa: S311 - repeatable, no secret
    return dice.sample(promised, min(options.sample, len(promised)))


def run(lives: Sequence[Life], runs: int, openvpn: Path) -> list[Row]:
    """Live them all, and say how each went."""
    rows: list[Row] = []
    for number in range(1, runs + 1):
        for life in lives:
            began = time.monotonic()
            new = list(live(life, openvpn, lambda _text: None))
            rows += new
            alive = sum(row.alive for row in new)
            seconds = time.monotonic() - began
            print(f"{life}, run {number}: {alive}/{len(new)} alive ({seconds:.0f} s)", flush=True)
    return rows


def main(arguments: Sequence[str]) -> int:
    """The command; returns the exit status."""
    options = parse(arguments)
    lives = choose(options)
    if options.list:
        print("\n".join(map(str, lives)))
        return 0
    if not lives:
        print("tests.lab.nat: there is no such life; --list shows all", file=sys.stderr)
        return 2
    try:
        rows = run(lives, options.runs, options.openvpn.resolve())
    except OvpnhaError as error:
        print(f"tests.lab.nat: {error}", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps([row.as_json() for row in rows], indent=2)
    (options.output / "nat.json").write_text(text + "\n")
    print(table(rows))
    broken = broken_promises(rows)
    for line in broken:
        print(f"tests.lab.nat: promise not kept: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
