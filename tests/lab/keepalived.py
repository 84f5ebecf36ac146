"""keepalived of one lab node: the file that users start from, byte for byte, with the lab's values.

Several keepaliveds run on this machine; each has its own files for configuration and process ids.
The control run has the configuration that people use today instead: the same addresses and timing,
and a script that looks whether the OpenVPN process is there.
"""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ovpnha import model
from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.vip_manager import ManagedNode, VipProgram

if TYPE_CHECKING:
    from tests.lab.node import Node

SOURCE = Path(__file__).parents[2] / "deploy" / "keepalived"
PROGRAM = Path("/usr/sbin/keepalived")
ROUTER_ID = 51

_CHECK_PROCESS = '#!/bin/sh\nkill -0 "$(cat "$1")"\n'
_CONTROL = """\
include node.conf

global_defs {
    router_id $NODE
    script_user root
    enable_script_security
    vrrp_version 3
    vrrp_no_swap
}

vrrp_script openvpn_runs {
    script $CHECK_PROCESS
    interval 1
    timeout 2
    fall 1
    rise 1
}

vrrp_instance control {
    state BACKUP
    interface $OUTSIDE_IF
    virtual_router_id $ROUTER_ID
    priority $PRIORITY
    advert_int $ADVERT_INTERVAL
    track_interface {
        $INSIDE_IF
    }
    track_script {
        openvpn_runs
    }
    virtual_ipaddress {
        $OUTSIDE_VIP dev $OUTSIDE_IF
        $INSIDE_VIP dev $INSIDE_IF
    }
    virtual_ipaddress_excluded {
        $OUTSIDE_VIP6
        $INSIDE_VIP6
    }
    garp_master_delay 1
    garp_master_repeat 3
}
"""


class Keepalived(VipProgram):
    """keepalived of one node; it reads the grade whenever the sidecar writes one."""

    known_as = model.VipManager.KEEPALIVED
    fast: ClassVar[float | None] = None
    """Seconds between adverts in real time, where that is less than without."""

    def __init__(self, node: ManagedNode) -> None:
        if not (SOURCE / "keepalived.conf").exists():
            raise LabError(f"{SOURCE}/keepalived.conf is missing; run it from a source checkout")
        self.home = node.directory / "keepalived"
        self.home.mkdir()
        write_node_conf(self.home, self._values(node))
        if node.seamless:
            copy_files(self.home)
        else:
            (self.home / "keepalived.conf").write_text(_CONTROL)
            _write_script(self.home / "check-process", _CHECK_PROCESS)
        self.process = Process(
            [
                # As in a container: a reload must not need it.
                *("setpriv", "--bounding-set", "-sys_resource"),
                *real_time(),
                *(PROGRAM, *(("--config-id", "realtime") if real_time() else ())),
                *("--dont-fork", "--vrrp", "--log-console", "--no-syslog"),
                *("--use-file", self.home / "keepalived.conf"),
                *("--pid", self.home / "keepalived.pid", "--vrrp_pid", self._vrrp_pid_file),
            ],
            namespace=node.namespace,
            directory=self.home,
            log=node.directory / f"keepalived-{node.name}.log",
        )

    def _values(self, node: ManagedNode) -> dict[str, object]:
        fast = node.advert_interval if self.fast is None else self.fast
        return {**_values(node, self.home), "FAST_ADVERT_INTERVAL": fast}

    @property
    def _vrrp_pid_file(self) -> Path:
        return self.home / "vrrp.pid"

    def reload(self) -> None:
        """Have it read its files again, as ``systemctl reload`` does."""
        self.process.signal(signal.SIGHUP)

    def vrrp_pid(self) -> int | None:
        """The process that holds the addresses; None before it has said so."""
        try:
            return int(self._vrrp_pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None


class KeepalivedFast(Keepalived):
    """The same with an advert every 10 ms; LabError where there is no real time for that."""

    fast = 0.01

    def __init__(self, node: ManagedNode) -> None:
        if not real_time():
            raise LabError("no real time here (`chrt --rr 50 true`), and 10 ms adverts need it")
        super().__init__(node)


def keepalived_of(node: Node) -> Keepalived:
    """The keepalived of a node, for what only keepalived can; LabError where there is another."""
    if not isinstance(node.vip_manager, Keepalived):
        raise LabError(f"node {node.name} has no keepalived")
    return node.vip_manager


@functools.cache
def real_time() -> tuple[str, ...]:
    """What gives keepalived real time, as its service does; nothing where that is not allowed."""
    prefix = ("chrt", "--rr", "50")
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else ()


def copy_files(home: Path, source: Path = SOURCE) -> None:
    """The files that are the same on every node, as users copy them."""
    for name in ("keepalived.conf", "check-grade"):
        shutil.copy(source / name, home / name)


def write_node_conf(home: Path, values: Mapping[str, object]) -> None:
    """``node.conf``, with a value for each ``$NAME`` of keepalived.conf."""
    (home / "node.conf").write_text("".join(f"${name}={value}\n" for name, value in values.items()))


def _values(node: ManagedNode, home: Path) -> dict[str, object]:
    return {
        "NODE": node.name,
        "PRIORITY": node.priority,
        "OUTSIDE_IF": plan.OUT.interface,
        "OUTSIDE_VIP": f"{plan.OUT.vip}/{plan.OUT.network.prefixlen}",
        "OUTSIDE_VIP6": f"{plan.OUT.vip6}/{plan.OUT.network6.prefixlen} dev $OUTSIDE_IF",
        "INSIDE_IF": plan.LAN.interface,
        "INSIDE_VIP": f"{plan.LAN.vip}/{plan.LAN.network.prefixlen}",
        "INSIDE_VIP6": f"{plan.LAN.vip6}/{plan.LAN.network6.prefixlen} dev $INSIDE_IF",
        "ROUTER_ID": ROUTER_ID,
        "ADVERT_INTERVAL": node.advert_interval,
        "GRADE_FILE": node.grade_file,
        "CHECK_GRADE": f'"{home}/check-grade {node.grade_file}"',
        "CHECK_PROCESS": f'"{home}/check-process {node.pid_file}"',
    }


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
