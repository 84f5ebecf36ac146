"""``python -m tests.hosts.packages RELEASE``: from a stock server to a cluster and back, packaged.

Two hosts of that release, a stock server in use on the first. The packages of `make packages` are
installed by the first commands of docs/operations.md, "In five commands" makes a cluster of them;
then everything happens that does in a year; `ovpnha uninit` and a purge bring the stock server
back, and nothing may be left. Writes build/hosts/result.json, and exits with 1 when a bound is
broken: build/hosts/logs has the journals then. Needs root and the tree of `tests/hosts/tree.sh
RELEASE`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.hosts import page, traces, upkeep
from tests.hosts.byinit import GAP_MS, PASSPHRASE, go_back, go_there, timed
from tests.hosts.host import BUILD, ROOT, bare
from tests.hosts.rows import SECONDS, Deed, Row, try_deed
from tests.hosts.site import STOCK_UNIT, Site
from tests.hosts.table import render
from tests.lab.errors import LabError
from tests.lab.traffic import TcpSession
from tests.lab.waiting import wait_until

COMMANDS = 5  # at most, of each node
PURGED = "openvpn-cluster ovpnha"
console = Console(stderr=True)


def main(arguments: list[str]) -> int:
    """Both ways, and all that lies between."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.packages")
    parser.add_argument("release", choices=("bookworm", "trixie"))
    parser.add_argument("--packages", type=Path, help="where they are (build/packages/RELEASE)")
    parser.add_argument("--keep", action="store_true", help="build/hosts/logs of a run that holds")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = options.packages or ROOT / "build" / "packages" / options.release
    packages = upkeep.find_packages(directory)
    with Site(_say, bare(options.release)) as site:
        journey = Journey(site, packages)
        try:
            journey.go()
        finally:
            if journey.rows and (options.keep or journey.find_broken()):
                _keep(site)
    result = {"release": options.release, **journey.result()}
    (BUILD / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    console.print(render(journey.rows, f"Debian packages on whole hosts, {options.release}"))
    console.print(_figures(result))
    broken = journey.find_broken()
    for one in broken:
        console.print(f"broken: {one}", style="red", markup=False)
    return 1 if broken else 0


class Journey:
    """There, through everything, and back."""

    def __init__(self, site: Site, packages: Sequence[Path]) -> None:
        self.rows: list[Row] = []
        self._site = site
        self._packages = list(packages)
        self._before: dict[str, frozenset[str]] = {}
        self._seconds = self._seconds_back = 0.0
        self._left: dict[str, list[str]] = {}
        self._documented: dict[str, list[str]] = {}

    def go(self) -> None:
        """Until something does not hold from which nothing can go on."""
        site = self._site
        site.start_server_in_use()
        self._prepare()
        session = site.start_tcp()
        there = Deed("migration: In five commands", self._install_and_init, GAP_MS, 1)
        row, self._seconds = timed(lambda: self._add(try_deed(site, there)))
        if not row.held:
            return
        for deed in upkeep.BEFORE_THE_CUT:
            self._add(try_deed(site, deed))
        self._add(try_deed(site, _ending(session)))
        self._add(try_deed(site, upkeep.THE_CUT))
        session = site.start_tcp("tcp-after-the-cut")
        for deed in upkeep.AFTER_THE_CUT:
            self._add(try_deed(site, deed))
        self._add(try_deed(site, _ending(session)))
        _, self._seconds_back = timed(lambda: self._add(go_back(site)))
        self._purge()

    def _add(self, row: Row) -> Row:
        self.rows.append(row)
        text = f"{row.row}: {row.restarts} restarts, {row.outage_ms:.0f} ms; {row.detail}"
        console.print(text, style="green" if row.held else "red", markup=False)
        return row

    def _prepare(self) -> None:
        """The second host has no server yet; what both have now is what they must have at last."""
        hosts = self._site.hosts
        hosts["b"].run("rm -rf /etc/openvpn/server/*")
        for name, host in hosts.items():
            upkeep.give_packages(host, self._packages)
            host.write(PASSPHRASE, "correct horse battery\n", 0o600)
            self._before[name] = traces.take(host)

    def _install_and_init(self, site: Site) -> str:
        on_both = page.blocks_under("In five commands")[0]
        for host in (site.hosts["a"], site.hosts["b"]):
            for line in on_both:
                host.run(upkeep.unattended(line))
        return go_there(site)

    def _purge(self) -> None:
        (command,) = (one for one in page.quoted_under("And back again") if one.endswith(PURGED))
        for name in ("b", "a"):
            host = self._site.hosts[name]
            host.run(upkeep.unattended(command))
            found = traces.compare(self._before[name], traces.take(host))
            new = found.left if name == "b" else _without_certificate(found.left)
            self._left[name], self._documented[name] = new, found.documented
        _expect_stock(self._site)

    # What came of it.

    def result(self) -> dict[str, Any]:
        """The figures, and behind them what explains them."""
        gap = self.rows[0].outage_ms
        back = next((one for one in self.rows if one.row == "back"), None)
        return {
            "seconds_to_protected": round(self._seconds, 1),
            "commands_per_node": commands_per_node(),
            "migration_gap_s": round(gap / 1000, 2),
            "reconnects_after": self._reconnects(),
            "seconds_back": round(self._seconds_back, 1),
            "left_behind": [f"{name}: {one}" for name in self._left for one in self._left[name]],
            "back_gap_s": None if back is None else round(back.outage_ms / 1000, 2),
            "power_cut": next((r.detail for r in self.rows if r.row == upkeep.POWER_CUT), None),
            "left_as_documented": self._documented,
            "rows": [vars(one) for one in self.rows],
        }

    def _reconnects(self) -> int:
        """Since the migration, but for the one of the power cut and the one of the way back."""
        counted = (one for one in self.rows[1:] if one.row not in {upkeep.POWER_CUT, "back"})
        return sum(max(one.restarts, one.hard_resets) for one in counted)

    def find_broken(self) -> list[str]:
        """Every bound that does not hold, in words."""
        result = self.result()
        broken = [f"{one.row}: {one.detail}" for one in self.rows if not one.held]
        if result["reconnects_after"]:
            broken.append(f"the client reconnected {result['reconnects_after']} times afterwards")
        if result["commands_per_node"] > COMMANDS:
            broken.append(f"more than {COMMANDS} commands on a node")
        if not self._left:
            broken.append("nothing was removed")
        return broken + [f"left behind: {one}" for one in result["left_behind"]]


def commands_per_node() -> int:
    """Of the page, on the node that has the most of them."""
    both, first, second = page.blocks_under("In five commands")[:3]
    return len(both) + max(len(first), len(second))


def _ending(session: TcpSession) -> Deed:
    def end(_site: Site) -> str:
        if wrong := session.finish():
            raise LabError(wrong)
        return "every byte came, both ways"

    return Deed("one TCP session over all that", end)


def _without_certificate(left: list[str]) -> list[str]:
    """The server that was there before has the new certificate, as it should."""
    return [one for one in left if f"{upkeep.CERTIFICATES}/server." not in one]


def _expect_stock(site: Site) -> None:
    for question, answer in (("is-active", "active"), ("is-enabled", "enabled")):
        if (said := site.hosts["a"].ask(f"systemctl {question} {STOCK_UNIT}")) != answer:
            raise LabError(f"{STOCK_UNIT} is {said} after the removal")
    now = time.monotonic_ns()
    wait_until(lambda: site.probes.answered_since(now), "answers after the removal", SECONDS)


def _figures(result: dict[str, Any]) -> Table:
    table = Table(title="build/hosts/result.json", title_justify="left", show_header=False)
    for key in list(result)[:8]:
        table.add_row(key, str(result[key]))
    return table


def _say(text: str) -> None:
    console.print(f"hosts: {text}", style="dim", markup=False)


def _keep(site: Site) -> None:
    directory = BUILD / "logs"
    directory.mkdir(parents=True, exist_ok=True)
    for name, host in site.hosts.items():
        journal = host.ask("journalctl --no-pager --output=short-precise -n 4000")
        (directory / f"{name}.journal").write_text(journal)
    (directory / "client.log").write_text(site.client.process.log.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
