"""``make test-compose``: the container lab as a user runs it, and what it must leave behind.

The demo runs whole and its result file is checked; then it is interrupted, and then it fails. A
demo that ended, however it ended, has left no container, network, volume or namespace.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ovpnha.lab.cleanup import stale_runs
from ovpnha.lab.compose.engine import Compose, check_engine, docker, leftovers
from ovpnha.lab.errors import LabError
from ovpnha.lab.waiting import wait_until

OUTPUT = Path("build/lab")
DEMO = (sys.executable, "-m", "ovpnha.lab.compose")
SCENARIOS = {"docker-kill", "docker-disconnect", "docker-stop"}
NODES = ["node-a", "node-b"]
# Generous: the machine may be busy. What the demo promises in milliseconds is in its table.
OUTAGE_BOUND_MS = 3000.0
END_SECONDS = 120.0


def expect(condition: object, what: str) -> None:
    """The one kind of failure."""
    if not condition:
        raise LabError(what)


def leaves_nothing(check: Callable[[], None]) -> None:
    """Run a check and look for what it left."""
    check()
    left = leftovers() + stale_runs()
    expect(not left, f"{check.__name__} left {', '.join(left)}")


def whole_demo() -> None:
    """Every scenario, and a result file that says so."""
    code = subprocess.run(DEMO, check=False).returncode
    expect(code == 0, f"the demo ended with exit code {code}")
    runs = json.loads((OUTPUT / "compose.json").read_text())
    expect({run["scenario"] for run in runs} == SCENARIOS, "a scenario is missing in the result")
    for run in runs:
        check_run(run)


def check_run(run: dict[str, object]) -> None:
    """One entry of the result file."""
    name, detail = run["scenario"], run["detail"]
    assert isinstance(detail, dict)
    for key in ("client_hard_resets", "client_restarts"):
        expect(run[key] == 0, f"{name}: {key} is {run[key]}")
    expect(run["tcp_alive"] is True, f"{name}: the TCP session broke")
    expect(run["control"] is False, f"{name}: is no control run")
    for key in ("outage_ms", "vip_move_ms"):
        value = float(str(run[key]))
        expect(math.isfinite(value) and value <= OUTAGE_BOUND_MS, f"{name}: {key} is {value}")
    expect(int(str(run["probes_sent"])) > 500, f"{name}: {run['probes_sent']} probes")
    expect(detail["prometheus_nodes"] == NODES, f"{name}: scraped {detail['prometheus_nodes']}")
    expect(not detail["dashboard_empty"], f"{name}: empty panels: {detail['dashboard_empty']}")
    picture = OUTPUT / f"compose-{name}.png"
    expect(picture.read_bytes().startswith(b"\x89PNG"), f"{picture} is no picture")


def interrupted_demo() -> None:
    """Ctrl-C in the middle."""
    with subprocess.Popen([*DEMO, "--scenario", "docker-kill"]) as demo:
        wait_until(lambda: len(leftovers()) > 10, "the demo's containers", END_SECONDS)
        demo.send_signal(signal.SIGINT)
        code = demo.wait(END_SECONDS)
    expect(code == 130, f"an interrupted demo ended with exit code {code}")


def failing_demo() -> None:
    """The client's container ends before anything is measured."""
    compose = Compose()
    with subprocess.Popen([*DEMO, "--scenario", "docker-kill"]) as demo:
        wait_until(lambda: _kill_client(compose), "the client's container", END_SECONDS)
        code = demo.wait(END_SECONDS)
    expect(code == 2, f"a failing demo ended with exit code {code}")


def _kill_client(compose: Compose) -> bool:
    try:
        docker("kill", compose.container("client"))
    except LabError:
        return False
    return True


def main() -> int:
    """All checks; the exit code."""
    try:
        check_engine()
        for check in (whole_demo, interrupted_demo, failing_demo):
            print(f"test-compose: {check.__name__.replace('_', ' ')}", flush=True)
            leaves_nothing(check)
    except LabError as error:
        print(f"test-compose: {error}", file=sys.stderr)
        return 1
    print("make test-compose: all passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
