"""``make test-compose``: the container lab as a user runs it, and what it must leave behind.

The demo runs whole and its result file is checked; then it is interrupted, and then it fails. A
demo that ended, however it ended, has left no container, network, volume or namespace. At last the
containers of a cluster are killed and started again, in turn, as a power cut would.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.lab.cleanup import stale_runs
from tests.lab.clientlog import noticed
from tests.lab.compose.engine import Compose, check_engine, docker, leftovers
from tests.lab.compose.lab import ComposeLab
from tests.lab.errors import LabError
from tests.lab.node import Node
from tests.lab.scenarios import Place, all_at, find
from tests.lab.waiting import wait_patiently, wait_until

OUTPUT = Path("build/lab")
DEMO = (sys.executable, "-m", "tests.lab.compose")
NODES = ["node-a", "node-b"]
END_SECONDS = 120.0
TAKEN_AWAY_SECONDS = 20.0
LIVES, LIVES_SECONDS = 10, 45.0
"""How often the master's container is killed and started again, or for how long."""
LOG_LINES = 40
MISSED = "no_vip_manager"


def expect(condition: object, what: str) -> None:
    """The one kind of failure."""
    if not condition:
        raise LabError(what)


def leaves_nothing(check: Callable[[], None]) -> None:
    """Run a check and look for what it left."""
    check()
    # A lab beside this one that has just ended may still be taken away.
    wait_patiently(lambda: not leftovers() + stale_runs(), TAKEN_AWAY_SECONDS)
    left = leftovers() + stale_runs()
    expect(not left, f"{check.__name__} left {', '.join(left)}")


def whole_demo() -> None:
    """Every scenario, and a result file that says so."""
    code = subprocess.run(DEMO, check=False).returncode
    expect(code == 0, f"the demo ended with exit code {code}")
    runs = json.loads((OUTPUT / "compose.json").read_text())
    expect(
        {run["scenario"] for run in runs} == {one.name for one in all_at(Place.CONTAINERS)},
        "a scenario is missing",
    )
    for run in runs:
        check_run(run)


def check_run(run: dict[str, object]) -> None:
    """One entry of the result file."""
    name, detail = str(run["scenario"]), run["detail"]
    bound = find(name).expected.outage_ms
    assert isinstance(detail, dict)
    for key in ("client_hard_resets", "client_restarts"):
        expect(run[key] == 0, f"{name}: {key} is {run[key]}")
    expect(run["tcp_alive"] is True, f"{name}: the TCP session broke")
    expect(run["control"] is False, f"{name}: is no control run")
    for key in ("outage_ms", "vip_move_ms"):
        value = float(str(run[key]))
        expect(math.isfinite(value) and value <= bound, f"{name}: {key} is {value}")
    expect(int(str(run["probes_sent"])) > 500, f"{name}: {run['probes_sent']} probes")
    expect(detail["prometheus_nodes"] == NODES, f"{name}: scraped {detail['prometheus_nodes']}")
    expect(not detail["dashboard_empty"], f"{name}: empty panels: {detail['dashboard_empty']}")
    expect(detail["conntrack_told"] > 0, f"{name}: no connection was told by conntrackd")
    picture = OUTPUT / f"compose-{name}.png"
    expect(picture.read_bytes().startswith(b"\x89PNG"), f"{picture} is no picture")


def interrupted_demo() -> None:
    """Ctrl-C in the middle."""
    with subprocess.Popen([*DEMO, "--scenario", "kill-node"]) as demo:
        wait_until(lambda: len(leftovers()) > 10, "the demo's containers", END_SECONDS)
        demo.send_signal(signal.SIGINT)
        code = demo.wait(END_SECONDS)
    expect(code == 130, f"an interrupted demo ended with exit code {code}")


def failing_demo() -> None:
    """The client's container ends before anything is measured."""
    compose = Compose()
    with subprocess.Popen([*DEMO, "--scenario", "kill-node"]) as demo:
        wait_until(lambda: _kill_client(compose), "the client's container", END_SECONDS)
        code = demo.wait(END_SECONDS)
    expect(code == 2, f"a failing demo ended with exit code {code}")


def _kill_client(compose: Compose) -> bool:
    try:
        docker("kill", compose.container("client"))
    except LabError:
        return False
    return True


def killed_again_and_again() -> None:
    """One that was killed and started is in sync again, and takes the VIP from the next victim."""
    with ComposeLab(Compose()) as lab:
        lab.start_cluster()
        lab.wait_standbys()
        client, begun, lives = lab.start_client(), time.time_ns(), 0
        master, end = lab.master.name, time.monotonic() + LIVES_SECONDS
        while lives < LIVES and time.monotonic() < end:
            docker("kill", lab.containers[master])
            heir = lab.nodes[lab.other(master)]
            wait_takeover(lab, heir)
            docker("start", lab.containers[master])
            lab.wait_standbys(END_SECONDS)
            master, lives = heir.name, lives + 1
        expect(lives > 1, f"the container was killed {lives} times only")
        seen = noticed(client.log(), begun, None)
        expect(not seen.restarts, f"the client has noticed: {seen}")
        print(f"test-compose: {lives} containers killed and started", flush=True)
        miss_keepalived(lab.nodes[lab.other(master)], lab.nodes[master])


def wait_takeover(lab: ComposeLab, heir: Node) -> None:
    """Wait until this node serves; else raise LabError with the end of what its container said."""
    try:
        wait_until(partial(serves, heir), f"node {heir.name} takes over", END_SECONDS)
    except LabError as error:
        said = docker("logs", "--tail", str(LOG_LINES), lab.containers[heir.name])
        raise LabError(f"{error}; it said:\n{said}") from None


def serves(node: Node) -> bool:
    """Whether this node has the VIP and is master."""
    instance = node.sidecar.instance()
    return instance is not None and instance["vip"] and instance["role"] == "master"


def miss_keepalived(node: Node, neighbour: Node) -> None:
    """keepalived is away in one container: both nodes say so."""
    node.vip_manager.stop()

    def told() -> bool:
        here, there = node.sidecar.instance(), neighbour.sidecar.instance()
        if here is None or there is None:
            return False
        missed = any(problem["kind"] == MISSED for problem in here["problems"])
        return missed and [one["managed"] for one in there["nodes"]] == [False]

    wait_until(told, "both nodes miss keepalived", END_SECONDS)


def main() -> int:
    """All checks; the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a background job
    try:
        check_engine()
        checks = (whole_demo, interrupted_demo, failing_demo, killed_again_and_again)
        for check in checks:
            print(f"test-compose: {check.__name__.replace('_', ' ')}", flush=True)
            leaves_nothing(check)
    except LabError as error:
        print(f"test-compose: {error}", file=sys.stderr)
        return 1
    print("make test-compose: all passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
