"""However a lab ends, no namespace, process or file of its run is left."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import plan
from tests.lab.cleanup import NAMESPACES, Claim, clean, stale_runs
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.topology import Topology
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

CHILD = """
import signal
from tests.lab.lab import Lab
from tests.lab.node import Setup
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's background job
with Lab(Setup(seamless=False)) as lab:
    lab.start_cluster()
    print(lab.run_id, flush=True)
    signal.pause()
"""


def remains(run_id: str) -> list[Path]:
    return [*NAMESPACES.glob(f"{plan.PREFIX}{run_id}-*"), *plan.RUN_ROOT.glob(f"*{run_id}*")]


@pytest.fixture
def running_lab() -> Iterator[tuple[subprocess.Popen[str], str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    yield child, child.stdout.readline().strip()
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_lab_that_is_ended(
    running_lab: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    child, run_id = running_lab
    assert run_id
    assert remains(run_id)
    child.send_signal(number)
    child.wait(30)
    wait_until(lambda: not remains(run_id), f"everything of run {run_id} is gone", 20)


def fail_inside(lab: Lab) -> None:
    with lab:
        lab.start_cluster()
        raise ZeroDivisionError


def test_an_exception_inside_a_lab() -> None:
    lab = Lab(Setup(seamless=False))
    with pytest.raises(ZeroDivisionError):
        fail_inside(lab)
    assert not remains(lab.run_id)


def test_a_living_run_is_not_stale() -> None:
    run_id = plan.new_run_id()
    with Claim(run_id), Topology(run_id, plan.node_names(2)):
        assert run_id not in stale_runs()
    assert not remains(run_id)


def test_two_labs_stand_side_by_side() -> None:
    setup = Setup(seamless=False)
    with Lab(setup) as one, Lab(setup) as two:
        for lab in (one, two):
            lab.start_cluster()
            lab.start_client()
        assert one.run_id != two.run_id
    assert not remains(one.run_id)
    assert not remains(two.run_id)


def test_the_command_removes_what_a_killed_lab_and_its_guard_left() -> None:
    run_id = plan.new_run_id()
    name, directory = plan.namespace(run_id, "a"), plan.run_directory(run_id)
    # Labs beside this one take away what nobody holds: it is held until all of it is there.
    made = directory.with_name(f"made-{run_id}")
    made.mkdir()
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(directory)
        subprocess.run(["ip", "netns", "add", name], check=True)
        orphan = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"])
        wait_until(lambda: inhabitants(name), "a process in the namespace", 20)
        assert run_id not in stale_runs()
    assert run_id in clean() or orphan.wait(20)  # one of those labs was faster
    assert orphan.wait(20) == -signal.SIGKILL
    wait_until(lambda: not remains(run_id), f"everything of run {run_id} is gone", 20)


def inhabitants(name: str) -> list[str]:
    command = ["ip", "netns", "pids", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
