"""The fence's program runs once for a node, is ended at its limit, and its answer always comes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from ovpnha.config import FenceSection
from ovpnha.config.fence import FENCE_VARIABLES
from ovpnha.model import Epoch, InstanceName, NodeName
from ovpnha.node.outputs import RunFence
from ovpnha.runtime.fence import FenceRunner

HOOKS = Path(__file__).parents[3] / "deploy/hooks"
A = NodeName("a")
WANTED = RunFence(InstanceName("udp"), A, Epoch(3, A), required=True)


async def fence(command: tuple[str, ...], *asked: RunFence) -> list[tuple[NodeName, str]]:
    """What was told of these; an answer for each node is waited for."""
    told: list[tuple[NodeName, str]] = []
    answered = asyncio.Semaphore(0)

    def done(node: NodeName, text: str) -> None:
        told.append((node, text))
        answered.release()

    runner = FenceRunner(FenceSection(command=command, timeout=1.0), "b", done)
    task = asyncio.create_task(runner.run())
    for one in asked:
        runner.ask(one)
    async with asyncio.timeout(20.0):
        for _ in {one.node for one in asked}:
            await answered.acquire()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return told


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("true", ""),
        ("echo off; exit 0", ""),
        ("echo no power; exit 3", "exit code 3: no power"),
        ("sleep 600", "killed after 1 s"),
    ],
)
async def test_how_it_went_is_told(body: str, text: str) -> None:
    assert await fence(("sh", "-c", body), WANTED) == [(A, text)]


async def test_a_program_that_is_missing_is_a_failure() -> None:
    assert await fence(("/nowhere/fence",), WANTED) == [
        (A, "/nowhere/fence: No such file or directory")
    ]


async def test_one_node_is_not_fenced_twice_at_once(tmp_path: Path) -> None:
    again = RunFence(InstanceName("tcp"), A, Epoch(4, A), required=True)
    body = f"echo $OVPNHA_OTHER_NODE >>{tmp_path}/calls; sleep 0.2"
    assert await fence(("sh", "-c", body), WANTED, again) == [(A, "")]
    assert (tmp_path / "calls").read_text() == "a\n"


async def test_what_it_is_told_is_what_the_page_says(tmp_path: Path) -> None:
    await fence(("sh", "-c", f"env >{tmp_path}/env"), WANTED)
    lines = (tmp_path / "env").read_text().splitlines()
    told = dict(line.partition("=")[::2] for line in lines if line.startswith("OVPNHA_"))
    assert set(told) == set(FENCE_VARIABLES)
    assert told["OVPNHA_OTHER_NODE"] == "a"
    assert told["OVPNHA_EPOCH"] == "3/a"
    assert told["OVPNHA_REQUIRED"] == "True"


# The examples, with a program in the place of theirs.


def run_example(
    directory: Path, name: str, *arguments: str | Path, **programs: str
) -> subprocess.CompletedProcess[str]:
    for program, body in programs.items():
        (directory / program).write_text(f"#!/bin/sh\n{body}\n")
        (directory / program).chmod(0o755)
    environment: Mapping[str, str] = {
        "PATH": f"{directory}:{os.environ['PATH']}",
        "OVPNHA_OTHER_NODE": "a",
    }
    return subprocess.run(
        [HOOKS / name, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_example_for_ipmi_looks_whether_it_is_off(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("b 192.0.2.8 admin /pw.b\na 192.0.2.9 admin /pw.a\n")
    body = f'echo "$*" >>{tmp_path}/calls; echo "Chassis Power is off"'
    ran = run_example(tmp_path, "fence-ipmi", nodes, ipmitool=body)
    assert ran.returncode == 0, ran.stdout
    first = (tmp_path / "calls").read_text().splitlines()[0]
    assert first == "-I lanplus -H 192.0.2.9 -U admin -f /pw.a chassis power off"


def test_the_example_for_ipmi_says_what_it_could_not(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("a 192.0.2.9 admin /pw.a\n")
    body = "echo Unable to establish session; exit 1"
    ran = run_example(tmp_path, "fence-ipmi", nodes, ipmitool=body, sleep="exit 0")
    assert ran.returncode == 1
    assert ran.stdout == "a is not off: Unable to establish session\n"
    nodes.write_text("b 192.0.2.9 admin /pw.a\n")
    ran = run_example(tmp_path, "fence-ipmi", nodes)
    assert ran.returncode == 2
    assert "has no line for a" in ran.stdout


@pytest.mark.parametrize("code", [0, 1])
def test_the_example_for_agents_gives_them_their_options(tmp_path: Path, code: int) -> None:
    (tmp_path / "a").write_text("ip=192.0.2.30\nplug=vpn-a\n")
    body = f"cat >{tmp_path}/given; exit {code}"
    ran = run_example(tmp_path, "fence-agent", "fence_virsh", tmp_path, fence_virsh=body)
    assert ran.returncode == code
    assert (tmp_path / "given").read_text() == "ip=192.0.2.30\nplug=vpn-a\naction=off\n"
    (tmp_path / "a").unlink()
    assert run_example(tmp_path, "fence-agent", "fence_virsh", tmp_path).returncode == 2
