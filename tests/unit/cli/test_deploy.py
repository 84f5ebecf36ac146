"""The files under deploy/ are used: units verify, their commands exist."""

from __future__ import annotations

import re
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
