"""The files under deploy/ are used: units verify, their commands exist."""

from __future__ import annotations

import os
import pwd
import re
import struct
import subprocess
from pathlib import Path

from typer.testing import CliRunner

from ovpnha.cli.app import app

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"


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
