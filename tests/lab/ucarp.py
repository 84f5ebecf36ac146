"""ucarp of one lab node: the files that users start from, byte for byte, with the lab's values.

ucarp knows one IPv4 address and reads no grade; what it lacks is in ``deploy/ucarp``. The shortest
it can do is an advert a second; a node that is silent for ``DEAD_RATIO`` of them is dead.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab import plan, topology
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.sidecar import ENVIRONMENT, INSTANCE, OVPNHA
from tests.lab.vip_manager import PRIORITY, ManagedNode, VipProgram

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy" / "ucarp"
SCRIPTS = ("run-ucarp", "vip-up", "vip-down", "neighbours", "guard")
CHECK_GRADE = ROOT / "deploy" / "keepalived" / "check-grade"
PROGRAM = ROOT / "build/ucarp/usr/sbin/ucarp"


class Ucarp(VipProgram):
    """ucarp of one node, and what watches the grade for it."""

    def __init__(self, node: ManagedNode) -> None:
        if not PROGRAM.exists():
            raise LabError(f"{PROGRAM} is missing; `make ucarp` gets it")
        if not node.seamless:
            raise LabError("a control run knows keepalived only")
        self.home = node.directory / "ucarp"
        self.home.mkdir()
        for name in SCRIPTS:
            shutil.copy(SOURCE / name, self.home / name)
        self.password = self.home / "password"
        self.set_password("lab")
        values = _values(node, self.home)
        text = "".join(f'{name}="{value}"\n' for name, value in values.items())
        (self.home / "node.conf").write_text(text)
        self.process = Process(
            [self.home / "run-ucarp", self.home / "node.conf"],
            namespace=node.namespace,
            directory=self.home,
            log=node.directory / f"ucarp-{node.name}.log",
            environment=ENVIRONMENT,
        )

    def set_password(self, password: str) -> None:
        """What it signs with from the next start on."""
        self.password.write_text(f"{password}\n")
        self.password.chmod(0o600)

    def ucarp_pid(self) -> int | None:
        """The process of ucarp itself, None while there was none."""
        try:
            return int((self.home / "state" / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None


def _values(node: ManagedNode, home: Path) -> dict[str, object]:
    """What node.conf says, but for the names and addresses of a site."""
    own = topology.addresses(node.namespace, plan.OUT.interface)
    asked = f"--config {home.parents[1] / 'ovpnha.toml'} --node {node.name} --instance {INSTANCE}"
    ovpnha = " ".join(OVPNHA)
    return {
        "SOURCE": own[0],
        "SKEW": min(50, PRIORITY - node.priority),
        "PREFERRED": node.preferred,
        "NODE": node.name,
        "OUTSIDE_IF": plan.OUT.interface,
        "OUTSIDE_VIP": f"{plan.OUT.vip}/{plan.OUT.network.prefixlen}",
        "OUTSIDE_VIP6": f"{plan.OUT.vip6}/{plan.OUT.network6.prefixlen}",
        "INSIDE_IF": plan.LAN.interface,
        "INSIDE_VIP": f"{plan.LAN.vip}/{plan.LAN.network.prefixlen}",
        "INSIDE_VIP6": f"{plan.LAN.vip6}/{plan.LAN.network6.prefixlen}",
        "VHID": 51,
        "PASSWORD_FILE": home / "password",
        "DEAD_RATIO": 2,
        "GRADE_FILE": node.grade_file,
        "CHECK_GRADE": f"{CHECK_GRADE} {node.grade_file}",
        "GUARD": f"{home}/guard {node.directory}/control.sock {INSTANCE}",
        "DEMOTE": f"{ovpnha} demote {asked}",
        "UCARP": PROGRAM,
        "STATE": home / "state",
    }
