"""A server in use becomes a cluster by `ovpnha init`, and back: one reconnect each way.

The commands are those of docs/operations.md, "In five commands" and "And back again", with options
for what they would ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.hosts import network, page
from tests.hosts.host import HOME
from tests.hosts.rows import Row
from tests.hosts.site import STOCK_UNIT, Site
from tests.lab.clientlog import noticed
from tests.lab.measure import outage_ms
from tests.lab.traffic import INTERVAL_MS
from tests.lab.waiting import wait_until

SECONDS = 120.0
GAP_MS = 5_000.0  # the client's second attempt comes within 3 s
PASSPHRASE = f"{HOME}/passphrase"
GIVEN = (
    f"--vip {network.VIP} --own-address 192.0.2.11 --inside-vip {network.INSIDE_VIP}"
    f" --bcn-interface bcn0 --passphrase-file {PASSPHRASE}"
)


def timed(do: Callable[[], Row]) -> tuple[Row, float]:
    """What came of it, and how long it took."""
    begin = time.monotonic()
    return do(), time.monotonic() - begin


def go_there(site: Site) -> str:
    """The commands of the page."""
    _, on_first, on_second = page.blocks_under("In five commands")[:3]
    a, b = site.hosts["a"], site.hosts["b"]
    init, copy = on_first
    join, status = on_second
    a.run(f"cd {HOME} && {init} {GIVEN}")
    sealed = copy.split()[1]
    b.file(f"{HOME[1:]}/{sealed}").write_bytes(a.file(f"{HOME[1:]}/{sealed}").read_bytes())
    b.run(f"cd {HOME} && {join} --passphrase-file {PASSPHRASE}")
    b.run(status)
    return f"{init}; {join}"


def go_back(site: Site) -> Row:
    """On the second host, then on the first."""
    ((uninit,),) = page.blocks_under("And back again")
    wall, monotonic = time.time_ns(), time.monotonic_ns()
    for name in ("b", "a"):
        site.hosts[name].run(uninit)
    stopped = time.monotonic_ns()
    wait_until(lambda: site.probes.answered_since(stopped), "answers to the client", SECONDS)
    gap = outage_ms(site.probes.gap(monotonic), INTERVAL_MS)
    stock = site.hosts["a"].ask(f"systemctl is-active {STOCK_UNIT}").strip()
    restarts = noticed(site.client.log(), wall).restarts
    held = gap <= GAP_MS and restarts <= 1 and stock == "active"
    return Row("back", restarts, restarts, round(gap, 1), held, f"{uninit}; stock is {stock}")
