"""ucarp of one lab node: CARP between the nodes, and two scripts that move the addresses.

ucarp knows one IPv4 address and announces no other, so the scripts move the inside one along and
announce both. It reads no grade: who is there, and ``advskew``, decide who has the addresses. The
shortest it can do is an advert a second; a node that is silent for ``DEADRATIO`` of them is dead.
The scripts are the lab's own, since ``deploy/`` has nothing for ucarp.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab import plan, topology
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.vip_manager import PRIORITY, ManagedNode, VipProgram

PROGRAM = Path(__file__).parents[2] / "build/ucarp/usr/sbin/ucarp"
VHID = 51
DEADRATIO = 2
SEGMENTS = (plan.OUT, plan.LAN)


class Ucarp(VipProgram):
    """ucarp of one node; nobody is preferred, so who comes back stays backup."""

    def __init__(self, node: ManagedNode) -> None:
        if not PROGRAM.exists():
            raise LabError(f"{PROGRAM} is missing; `make ucarp` gets it")
        home = node.directory / "ucarp"
        home.mkdir()
        (home / "password").write_text("lab\n")
        _write_script(home / "up", [line for one in SEGMENTS for line in _taken(one)])
        _write_script(home / "down", [_left(one) for one in SEGMENTS])
        own = topology.addresses(node.namespace, plan.OUT.interface)
        self.process = Process(
            [
                *(PROGRAM, "--interface", plan.OUT.interface, "--srcip", own[0]),
                *("--vhid", str(VHID), "--passfile", home / "password", "--addr", plan.OUT.vip),
                *("--upscript", home / "up", "--downscript", home / "down", "--shutdown"),
                *("--advbase", "1", "--advskew", str(PRIORITY - node.priority)),
                *("--deadratio", str(DEADRATIO)),
            ],
            namespace=node.namespace,
            directory=home,
            log=node.directory / f"ucarp-{node.name}.log",
        )


def _taken(segment: plan.Segment) -> tuple[str, str]:
    """What a node does that gets a segment's address; ``arping`` may outlast the script."""
    prefix, interface = segment.network.prefixlen, segment.interface
    return (
        f"ip address replace {segment.vip}/{prefix} dev {interface}",
        f"arping -q -U -c 1 -I {interface} {segment.vip} &",
    )


def _left(segment: plan.Segment) -> str:
    """Said also to a node that never had it."""
    prefix = segment.network.prefixlen
    return f"ip address del {segment.vip}/{prefix} dev {segment.interface} 2>/dev/null"


def _write_script(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, "exit 0", ""]))
    path.chmod(0o755)
