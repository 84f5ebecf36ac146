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
from ovpnha.firewall.findings import LIBERAL

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


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("openvpn-server@.service", "openvpn-server@oha"),
        ("keepalived.service", "keepalived"),
        ("conntrackd.service", "conntrackd"),
    ],
)
def test_the_drop_in_fits_the_distribution_s_unit(tmp_path: Path, unit: str, name: str) -> None:
    dropin = tmp_path / f"{name}.service.d"
    dropin.mkdir()
    ours = tmp_path / f"{name}.service"
    ours.write_text(Path("/usr/lib/systemd/system", unit).read_text())
    (dropin / "ovpnha.conf").write_text((SYSTEMD / f"{unit}.d" / "ovpnha.conf").read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", ours],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if "ovpnha.conf" in line]


def test_the_firewall_s_drop_in_opens_one_tunable_and_nothing_else(tmp_path: Path) -> None:
    dropin = tmp_path / "ovpnha.service.d"
    dropin.mkdir()
    text = (SYSTEMD / "ovpnha.service.d" / "firewall.conf").read_text()
    (dropin / "firewall.conf").write_text(text)
    ours = tmp_path / "ovpnha.service"
    ours.write_text((SYSTEMD / "ovpnha.service").read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", ours],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if "firewall.conf" in line]
    service = directives(text.partition("[Service]")[2])
    assert service == {"ReadWritePaths": f"-/proc/sys/{LIBERAL.replace('.', '/')}"}


def test_keepalived_sets_no_limit_of_its_own_and_its_service_starts_it_as_before() -> None:
    """One that it sets itself is 0 after a reload without CAP_SYS_RESOURCE."""
    text = re.sub(r"#.*", "", (KEEPALIVED / "keepalived.conf").read_text())
    assert not re.findall(r"rt_priority|rlimit_rttime", text)
    unit = Path("/usr/lib/systemd/system/keepalived.service").read_text()
    dropin = (SYSTEMD / "keepalived.service.d" / "ovpnha.conf").read_text()
    theirs = re.findall(r"^ExecStart=(.*)", unit, re.MULTILINE)[-1]
    assert theirs.replace("$", "$$") in re.findall(r"^ExecStart=(.*)", dropin, re.MULTILINE)[-1]


def directives(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)", text, re.MULTILINE))


@pytest.mark.parametrize(
    "unit",
    sorted(SYSTEMD.rglob("*.service")) + sorted(SYSTEMD.rglob("*.conf")),
    ids=lambda p: p.parent.name,
)
def test_whoever_restarts_something_never_gives_up(unit: Path) -> None:
    found = directives(unit.read_text())
    if "Restart" in found:
        assert found["StartLimitIntervalSec"] == "0"


def test_openvpn_hands_its_role_over_before_it_stops(tmp_path: Path) -> None:
    """The command of the unit, as systemd would give it to a shell."""
    source = SYSTEMD / "openvpn-server@.service.d" / "ovpnha.conf"
    found = directives(source.read_text())
    assert (found["After"], found["Before"]) == ("ovpnha.service", "keepalived.service")
    command = re.fullmatch(r"-/bin/sh -c '(.*)'", found["ExecStop"])
    assert command is not None
    said = tmp_path / "said"
    (tmp_path / "ovpnha").write_text(f'#!/bin/sh\necho "$@" >{said}\n')
    (tmp_path / "ovpnha").chmod(0o755)
    for pid, expected in (("", False), ("77", True)):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MAINPID": pid}
        script = command[1].replace("$$", "$")
        subprocess.run(["/bin/sh", "-c", script], env=environment, check=True)
        assert said.exists() is expected
    assert said.read_text() == "hand-over --pid 77\n"
    assert CliRunner().invoke(app, [*said.read_text().split()[:1], "--help"]).exit_code == 0


def test_a_container_asks_before_it_ends_openvpn(tmp_path: Path) -> None:
    """As runit runs `control/t` of a service: it fails, so that runit sends its signal."""
    (tmp_path / "supervise").mkdir()
    (tmp_path / "supervise" / "pid").write_text("77\n")
    (tmp_path / "setpriv").write_text('#!/bin/sh\necho "$@" >said\n')
    (tmp_path / "setpriv").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    script = DEPLOY / "docker" / "leave-openvpn"
    done = subprocess.run([script], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1
    assert (tmp_path / "said").read_text().endswith(" ovpnha hand-over --pid 77\n")


def test_conntrackd_s_drop_in_and_its_configuration_mean_the_same_files() -> None:
    dropin = (SYSTEMD / "conntrackd.service.d" / "ovpnha.conf").read_text()
    config = (DEPLOY / "conntrackd" / "conntrackd.conf").read_text()
    lock = re.search(r"LockFile (\S+)", config)
    socket = re.search(r"Path (\S+)", config)
    assert lock
    assert socket
    assert f"rm -f {lock[1]}\n" in dropin
    assert re.findall(r"^ExecStartPost=.* (\S+)$", dropin, re.MULTILINE) == [socket[1]] * 2


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


def test_the_images_are_built_from_files_that_docker_is_given() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text().replace("\\\n", " ")
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    wanted = {name for names in copied if not names[0].startswith("--from") for name in names}
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    given = [Path(line[1:]) for line in lines if line.startswith("!")]
    assert wanted
    missing = [name for name in wanted if not any(is_given(name, one) for one in given)]
    assert not missing


def is_given(name: str, one: Path) -> bool:
    """Whether this line of .dockerignore lets a file, or some of a directory, through."""
    path = Path(name)
    return path == one or one in path.parents or path in one.parents
