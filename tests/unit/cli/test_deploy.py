"""The files under deploy/ are used: units verify, their commands exist."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovpnha.cli.app import app

DEPLOY = Path(__file__).parents[3] / "deploy"
SYSTEMD = DEPLOY / "systemd"
KEEPALIVED = DEPLOY / "keepalived"


def test_the_unit_is_one_that_systemd_takes() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", SYSTEMD / "ovpnha.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "ovpnha.service" in line]
    assert not complaints


def test_the_commands_of_the_unit_exist() -> None:
    text = (SYSTEMD / "ovpnha.service").read_text()
    commands = re.findall(r"^Exec\w+=.* ovpnha ([a-z-]+)", text, flags=re.MULTILINE)
    assert commands == ["check-config", "run"]
    assert re.findall(r"^ExecReload=(.*)", text, flags=re.MULTILINE) == ["/bin/kill -HUP $MAINPID"]
    for command in commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_the_drop_in_fits_the_distribution_s_unit(tmp_path: Path) -> None:
    unit = Path("/usr/lib/systemd/system/openvpn-server@.service")
    dropin = tmp_path / "openvpn-server@oha.service.d"
    dropin.mkdir()
    (tmp_path / "openvpn-server@oha.service").write_text(unit.read_text())
    source = SYSTEMD / "openvpn-server@.service.d" / "ovpnha.conf"
    (dropin / "ovpnha.conf").write_text(source.read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "openvpn-server@oha.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if "ovpnha.conf" in line]


def test_the_user_of_the_unit_is_made() -> None:
    user = re.findall(r"^User=(\w+)", (SYSTEMD / "ovpnha.service").read_text(), re.MULTILINE)
    made = re.findall(r"^u (\w+) ", (SYSTEMD / "ovpnha.sysusers.conf").read_text(), re.MULTILINE)
    assert user == made == ["ovpnha"]


def test_the_user_gets_through_to_the_management_socket(tmp_path: Path) -> None:
    text = (SYSTEMD / "ovpnha.tmpfiles.conf").read_text()
    (tmp_path / "etc" / "tmpfiles.d").mkdir(parents=True)
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).write_text(Path("/etc", name).read_text())
    # The user exists on real nodes; here it is one that every system has.
    ours = tmp_path / "etc" / "tmpfiles.d" / "ovpnha.conf"
    ours.write_text(text.replace("u:ovpnha:", "u:nobody:").replace("ovpnha ovpnha", "nobody root"))
    debian = Path("/usr/lib/tmpfiles.d/openvpn.conf").read_text()
    (ours.parent / "openvpn.conf").write_text(debian)
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}"], check=True)
    assert (tmp_path / "run" / "ovpnha").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    directory = tmp_path / "run" / "openvpn-server"
    assert directory.stat().st_mode & 0o777 == 0o710
    nobody = struct.pack("<HHI", 0x02, 0x01, pwd.getpwnam("nobody").pw_uid)
    assert nobody in os.getxattr(directory, "system.posix_acl_access")


def with_ipv6(text: str) -> str:
    """node.conf as its comment says for a site with IPv6."""
    empty = re.compile(r"^[$]\w+_VIP6=\n", re.MULTILINE)
    commented = re.compile(r"^#([$]\w+_VIP6=.+)", re.MULTILINE)
    assert len(empty.findall(text)) == len(commented.findall(text)) == 2
    return commented.sub(r"\1", empty.sub("", text))


@pytest.mark.parametrize("change", [str, with_ipv6], ids=["IPv4 only", "IPv6 too"])
def test_keepalived_takes_its_files(tmp_path: Path, change: Callable[[str], str]) -> None:
    """In a network of its own that has the interfaces of the example."""
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    for name in ("keepalived.conf", "check-grade"):
        shutil.copy(KEEPALIVED / name, tmp_path / name)
    text = change((KEEPALIVED / "node.conf").read_text())
    text = text.replace("/etc/keepalived/check-grade", f"{tmp_path}/check-grade")
    (tmp_path / "node.conf").write_text(text)
    (tmp_path / "test").write_text(
        "ip link add eth0 type veth peer name eth1\n"
        "exec keepalived --vrrp --config-test --use-file keepalived.conf\n"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-e", "test"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
