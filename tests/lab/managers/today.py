"""Today's practice, which the control runs measure with the same clock: stock OpenVPN.

| control | what people have |
|---|---|
| ``keepalived`` | two servers behind a VIP; a script looks whether the process is there |
| ``ucarp`` | the same with ucarp, which looks at nothing |
| ``two-remotes`` | two servers, and two ``remote`` lines in each client |
| ``one-server`` | a single one, which is restarted, and says goodbye to its clients |

The client of each has to notice by itself, after the silence that ``keepalive`` allows, or is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import plan, topology
from tests.lab.errors import LabError
from tests.lab.keepalived import Keepalived
from tests.lab.lab import Lab
from tests.lab.node import Node, Setup
from tests.lab.openvpn import STOCK, Transport
from tests.lab.process import Process
from tests.lab.rules import Rules
from tests.lab.session import Moment, Session
from tests.lab.ucarp import PROGRAM
from tests.lab.vip_manager import PRIORITY, ManagedNode, VipProgram

MARGIN = 30.0
"""Seconds beside the longest silence of ``keepalive``, until nobody is answered any more."""
DEATHS = ("node-loss", "openvpn-crash")

_UP = """\
#!/bin/sh
for pair in {pairs}; do
    ip address add "${{pair#*,}}" dev "${{pair%%,*}}"
    address=${{pair#*,}}
    arping -q -U -c 3 -w 3 -I "${{pair%%,*}}" "${{address%/*}}" &
done
"""
_DOWN = """\
#!/bin/sh
for pair in {pairs}; do ip address del "${{pair#*,}}" dev "${{pair%%,*}}"; done
"""


class StockUcarp(VipProgram):
    """ucarp as its manual has it, of one node: two scripts for the addresses, its own defaults."""

    def __init__(self, node: ManagedNode) -> None:
        if not PROGRAM.exists():
            raise LabError(f"{PROGRAM} is missing; `make ucarp` gets it")
        home = node.directory / "ucarp"
        home.mkdir()
        scripts = [
            _write_script(home / name, text) for name, text in (("up", _UP), ("down", _DOWN))
        ]
        own = topology.addresses(node.namespace, plan.OUT.interface)[0]
        self.process = Process(
            [
                *(PROGRAM, "-i", plan.OUT.interface, "-s", own, "-v", "51", "-p", "lab"),
                *("-a", plan.OUT.vip, "-u", scripts[0], "-d", scripts[1], "-z"),
                *("-k", str(min(50, PRIORITY - node.priority))),
            ],
            namespace=node.namespace,
            directory=home,
            log=node.directory / f"ucarp-{node.name}.log",
        )


def _write_script(path: Path, text: str) -> Path:
    pairs = (f"{one.interface},{one.vip}/{one.network.prefixlen}" for one in (plan.LAN, plan.OUT))
    path.write_text(text.format(pairs=" ".join(pairs)))
    path.chmod(0o755)
    return path


def restart(session: Session) -> Moment:
    """As ``systemctl restart`` does it."""

    def again(_lab: Lab, master: Node) -> None:
        master.openvpn.stop()
        master.openvpn.start()

    return session.strike(again)


@dataclass(frozen=True)
class Control:
    """One way to run stock OpenVPN; its name is the ``manager`` of its rows.

    ``story`` is what happens in it where that is not what the scenario says.
    """

    manager: str
    keepalive: str
    scenarios: tuple[str, ...]
    vip_manager: type[VipProgram] | None = None
    remotes: bool = False
    server_options: tuple[str, ...] = ()
    story: Callable[[Session], Moment] | None = None

    @property
    def name(self) -> str:
        """What is in its servers, for people."""
        return f"stock, keepalive {self.keepalive}"

    @property
    def patience(self) -> float:
        """Seconds until its client is given up."""
        silence = float(self.keepalive.split()[1])
        return MARGIN + silence * (3 if self.remotes else 1)

    def setup(self) -> Setup:
        """Its cluster. Without a VIP each server translates to an address of its own."""
        own = tuple(plan.OUT.address(plan.node_number(name)) for name in plan.node_names(2))
        return Setup(
            openvpn=STOCK,
            seamless=False,
            vip_manager=self.vip_manager,
            keepalive=self.keepalive,
            transport=Transport(remotes=own if self.remotes else ()),
            server_options=self.server_options,
            rules=Rules.MASQUERADE if self.remotes else Rules.NONE,
        )


CONTROLS = (
    Control("keepalived", "10 60", DEATHS, Keepalived),
    Control("keepalived", "1 5", DEATHS, Keepalived),
    Control("ucarp", "1 5", DEATHS, StockUcarp),
    Control("two-remotes", "10 60", DEATHS, remotes=True),
    Control(
        manager="one-server",
        keepalive="10 60",
        scenarios=("switchover",),
        server_options=("explicit-exit-notify 1",),
        story=restart,
    ),
)
