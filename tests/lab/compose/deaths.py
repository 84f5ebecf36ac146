"""How masters die in containers: a deed for each victim of this lab, and when it happened.

A command to docker takes a while until it does something, so the moment is observed where it
happens: a process of the container ends, or an address leaves it.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.lab import plan
from tests.lab.compose.engine import COMMAND_SECONDS, docker, inspect
from tests.lab.compose.lab import ComposeLab
from tests.lab.errors import LabError
from tests.lab.node import Node
from tests.lab.processes import find_descendants, open_process
from tests.lab.scenarios import Victim
from tests.lab.session import Moment
from tests.lab.waiting import wait_until

SECONDS = 15.0


def kill_container(lab: ComposeLab, master: Node) -> Moment:
    """``docker kill``: everything in the container is gone at once."""
    container = lab.containers[master.name]
    with ExitStack() as stack:
        ends = select.poll()
        for pid in find_descendants(int(inspect(container)["State"]["Pid"])):
            if (descriptor := open_process(pid)) is not None:
                stack.callback(os.close, descriptor)
                ends.register(descriptor, select.POLLIN)
        command = stack.enter_context(_background("kill", container))
        if not ends.poll(SECONDS * 1000):
            raise LabError(f"docker kill {container}: nothing ended in {SECONDS:g} s")
        moment = _moment(master, time.monotonic_ns())
        _expect_done(command)
    return moment


def cut_container(lab: ComposeLab, master: Node) -> Moment:
    """``docker network disconnect`` from all networks; the container goes on, alone."""
    container = lab.containers[master.name]
    since = time.monotonic_ns()
    with ExitStack() as stack:
        commands = [
            stack.enter_context(_background("network", "disconnect", "--force", network, container))
            for network in inspect(container)["NetworkSettings"]["Networks"]
        ]
        for command in commands:
            _expect_done(command)
    return _addresses_left(lab, master, since)


def stop_container(lab: ComposeLab, master: Node) -> Moment:
    """``docker stop``: the planned way, a node that gives its role away before it goes."""
    since = time.monotonic_ns()
    docker("stop", lab.containers[master.name])
    return _addresses_left(lab, master, since)


DEATHS: dict[Victim, Callable[[ComposeLab, Node], Moment]] = {
    Victim.NODE: kill_container,
    Victim.CABLES: cut_container,
    Victim.SERVICE: stop_container,
}


def _moment(node: Node, monotonic: int) -> Moment:
    wall = time.time_ns() - (time.monotonic_ns() - monotonic)
    return Moment(node.name, monotonic, wall)


def _addresses_left(lab: ComposeLab, master: Node, since: int) -> Moment:
    """When the first of the virtual addresses left the master, once both have."""

    def left() -> list[int]:
        times = (
            lab.vips.when(vip, master.name, present=False, since=since)
            for vip in (plan.OUT.vip, plan.LAN.vip)
        )
        return [when for when in times if when is not None]

    wait_until(lambda: len(left()) == 2, "both addresses leave the container", SECONDS)
    return _moment(master, min(left()))


def _background(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["docker", *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )


def _expect_done(command: subprocess.Popen[bytes]) -> None:
    if command.wait(COMMAND_SECONDS):
        raise LabError(f"{command.args!r} failed")
