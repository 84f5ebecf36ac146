"""``python -m tests.bench``: the replication's figures with many clients, beside their goals.

    --clients N      how many (10,000)
    --output DIR     where replication.json goes (build/bench)
    --only WORD …    fresh, steady, junk, scrape, repair; a standby joins in any case
    --instances N    instead: N instances that share the clients, beside one that has all

Needs root and the patched OpenVPN (make binary). Exits with an error only when it could not
measure: whether the goals are reached is for the reader.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import junk
from tests.bench.capture import capture
from tests.bench.cluster import Cluster
from tests.bench.instances import compare
from tests.bench.measure import Benchmark
from tests.lab.errors import LabError

MOST_INSTANCES = 64
PARTS = ("fresh", "steady", "junk", "scrape", "repair")
GOALS = {
    "full_resync_s": 5.0,
    "cpu_core_share_master": 0.10,
    "cpu_core_share_standby": 0.10,
    "rss_mb_master": 200.0,
    "rss_mb_standby": 200.0,
    "bytes_per_client": 1000.0,
    "protect_ms_p50": 20.0,
    "scrape_ms_p50": 50.0,
}
console = Console(stderr=True)


def main(arguments: list[str]) -> int:
    """Measure, write and show; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--instances", type=int, choices=range(2, MOST_INSTANCES + 1), metavar="N")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    name = "instances" if options.instances else "replication"
    try:
        if options.instances:
            figures = _compare(options.clients, options.instances)
        else:
            figures = _measure(options.clients, options.only)
    except (LabError, subprocess.CalledProcessError) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    (_show_ratios if options.instances else _show)(figures)
    return 0


def _compare(clients: int, count: int) -> dict[str, Any]:
    with console.status("") as status:

        def say(text: str) -> None:
            status.update(text)
            console.log(text)

        say("records of a stock client from the real OpenVPN")
        figures = compare(capture(), clients, count, say)
    return figures | _machine()


def _machine() -> dict[str, Any]:
    return {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}


def _measure(clients: int, parts: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="oha-bn") as name, console.status("") as status:

        def say(text: str) -> None:
            status.update(text)
            console.log(text)

        say("records of a stock client from the real OpenVPN")
        samples = capture()
        with Cluster(Path(name)) as cluster:
            bench = Benchmark(cluster, samples, clients, say)
            bench.start_master()
            bench.measure_resync()
            if "fresh" in parts:
                bench.measure_fresh()
            if "steady" in parts:
                bench.measure_steady()
            found = bench.measure_junk(junk.kinds("bench")) if "junk" in parts else {}
            if "scrape" in parts:
                bench.measure_scrapes()
            if "repair" in parts:
                bench.measure_repair()
            return {**bench.figures, "junk": found, **_machine()}


def _show(figures: dict[str, Any]) -> None:
    table = Table("figure", "measured", "goal", title="replication")
    flat = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    for kind, found in figures.get("junk", {}).items():
        flat |= {f"junk {kind}: {key}": value for key, value in found.items()}
    for key, value in flat.items():
        goal = GOALS.get(key)
        colour = "" if goal is None else "[green]" if value <= goal else "[red]"
        table.add_row(key, f"{colour}{value:,.4g}", "" if goal is None else f"<= {goal:g}")
    Console().print(table)


def _show_ratios(figures: dict[str, Any]) -> None:
    count, clients = figures["instances"], figures["clients"]
    title = f"{count} instances with {clients // count} clients each, beside one with all"
    table = Table("figure", f"1 x {clients}", f"{count} x {clients // count}", "ratio", title=title)
    for key, ratio in figures["ratio"].items():
        one, many = (f"{figures[shape][key]:,.4g}" for shape in ("one", "many"))
        table.add_row(key, one, many, f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
