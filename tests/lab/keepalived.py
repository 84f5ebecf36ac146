"""keepalived of one lab node: the file that users start from, byte for byte, with the lab's values.

Several keepaliveds run on this machine; each has its own files for configuration and process ids.
The control run has the configuration that people use today instead: the same addresses and timing,
and a script that looks whether the OpenVPN process is there.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.process import Process

SOURCE = Path(__file__).parents[2] / "deploy" / "keepalived"
PROGRAM = Path("/usr/sbin/keepalived")

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


@dataclass(frozen=True)
class KeepalivedSetup:
    """What one node's keepalived is told."""

    node: str
    priority: int
    grade_file: Path
    pid_file: Path
    advert_interval: float = 0.05
    seamless: bool = True


def make_keepalived(setup: KeepalivedSetup, directory: Path, namespace: str) -> Process:
    """Write a node's keepalived files and give the process, not started yet."""
    if not (SOURCE / "keepalived.conf").exists():
        raise LabError(f"{SOURCE}/keepalived.conf is missing; run the lab from a source checkout")
    home = directory / "keepalived"
    home.mkdir()
    (home / "node.conf").write_text(_node_conf(setup, home))
    _write_script(home / "check-process", _CHECK_PROCESS)
    shutil.copy(SOURCE / "check-grade", home / "check-grade")
    if setup.seamless:
        shutil.copy(SOURCE / "keepalived.conf", home / "keepalived.conf")
    else:
        (home / "keepalived.conf").write_text(_CONTROL)
    return Process(
        [
            # As in a container: a reload must not need it.
            *("setpriv", "--bounding-set", "-sys_resource"),
            *_real_time(),
            *(PROGRAM, "--dont-fork", "--vrrp", "--log-console", "--no-syslog"),
            *("--use-file", home / "keepalived.conf"),
            *("--pid", home / "keepalived.pid", "--vrrp_pid", home / "vrrp.pid"),
        ],
        namespace=namespace,
        directory=home,
        log=directory / f"keepalived-{setup.node}.log",
    )


@functools.cache
def _real_time() -> tuple[str, ...]:
    """What gives keepalived real time, as its service does; nothing where that is not allowed."""
    prefix = ("chrt", "--rr", "50")
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else ()


def _node_conf(setup: KeepalivedSetup, home: Path) -> str:
    values = {
        "NODE": setup.node,
        "PRIORITY": setup.priority,
        "OUTSIDE_IF": plan.OUT.interface,
        "OUTSIDE_VIP": f"{plan.OUT.vip}/{plan.OUT.network.prefixlen}",
        "OUTSIDE_VIP6": f"{plan.OUT.vip6}/{plan.OUT.network6.prefixlen} dev $OUTSIDE_IF",
        "INSIDE_IF": plan.LAN.interface,
        "INSIDE_VIP": f"{plan.LAN.vip}/{plan.LAN.network.prefixlen}",
        "INSIDE_VIP6": f"{plan.LAN.vip6}/{plan.LAN.network6.prefixlen} dev $INSIDE_IF",
        "ROUTER_ID": 51,
        "ADVERT_INTERVAL": setup.advert_interval,
        "GRADE_FILE": setup.grade_file,
        "CHECK_GRADE": f'"{home}/check-grade {setup.grade_file}"',
        "CHECK_PROCESS": f'"{home}/check-process {setup.pid_file}"',
    }
    return "".join(f"${name}={value}\n" for name, value in values.items())


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
