"""``python -m tests.hosts``: whole hosts under systemd, and what their client notices.

    --only WORD …    those rows whose name contains one of the words, after the migration
    --output DIR     where hosts.json goes (build/lab)
    --keep           leave the logs of the hosts' units in build/lab/hosts

Needs root, the package of `make deb` and the tree of `tests/hosts/tree.sh`. Exits with 1 when a row
did not hold.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from tests.hosts.rows import DEEDS, Deed, Row, try_deed, write
from tests.hosts.site import Site
from tests.hosts.table import render

console = Console(stderr=True)


def main(arguments: list[str]) -> int:
    """Build the site, try the deeds, write and show what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    first, *others = DEEDS
    chosen = [deed for deed in others if not options.only or _has(deed, options.only)]
    with Site(lambda text: console.print(f"hosts: {text}", style="dim", markup=False)) as site:
        site.start_server_in_use()
        rows = []
        for deed in (first, *chosen):
            rows.append(try_deed(site, deed))
            _show(rows[-1])
            if options.keep:
                _keep(site, options.output / "hosts")
            if not rows[-1].held and deed is first:
                break
    write(rows, options.output / "hosts.json")
    console.print(render(rows))
    return 0 if all(row.held for row in rows) else 1


def _has(deed: Deed, words: list[str]) -> bool:
    return any(word in deed.row for word in words)


def _show(row: Row) -> None:
    text = f"{row.row}: {row.restarts} restarts, {row.outage_ms:.0f} ms; {row.detail}"
    console.print(text, style="green" if row.held else "red", markup=False)


def _keep(site: Site, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, host in site.hosts.items():
        journal = host.ask("journalctl --no-pager --output=short-precise -n 4000")
        (directory / f"{name}.journal").write_text(journal)
    (directory / "client.log").write_text(site.client.process.log.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
