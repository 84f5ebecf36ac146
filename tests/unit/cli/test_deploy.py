"""The files under deploy/ are used: units verify, their commands exist."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovpnha.cli.app import app
from ovpnha.firewall.findings import LIBERAL
from ovpnha.runtime.control import GuardRequest

DEPLOY = Path(__file__).parents[3] / "deploy"
SYSTEMD = DEPLOY / "systemd"
KEEPALIVED = DEPLOY / "keepalived"
UCARP = DEPLOY / "ucarp"


def complaints(unit: Path) -> list[str]:
    """What systemd says against a unit."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if unit.name.partition("@")[0] in line]


def section(heading: str) -> str:
    """The text of a section of docs/operations.md."""
    text = (DEPLOY.parent / "docs" / "operations.md").read_text()
    return text.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]


@pytest.mark.parametrize("heading", ["ucarp", "Pacemaker"])
def test_what_the_page_copies_is_there_and_nothing_starts_before_it_is_filled_in(
    heading: str,
) -> None:
    (block, *_) = re.findall(r"^```\n(.*?)^```", section(heading), flags=re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines()]
    sources = [words[-2] for words in lines if words[0] in ("cp", "install")]
    assert len(sources) > 3
    copied = {"/etc/ovpnha/ucarp/": UCARP}
    for source in sources:
        begin = next((one for one in copied if source.startswith(one)), "")
        assert (copied.get(begin, DEPLOY) / source.removeprefix(begin)).exists(), source
    assert not re.search(r"systemctl (enable|start|restart)", block)


def test_what_debian_starts_at_the_install_of_pacemaker_is_stopped_before_it_is_configured() -> (
    None
):
    """Its cluster is `node1` alone; `enable --now` does nothing where it runs already."""
    lines = section("Pacemaker").splitlines()
    steps = ("apt install", "systemctl stop pacemaker corosync", "cp pacemaker/corosync.conf")
    found = [next(at for at, line in enumerate(lines) if line.startswith(one)) for one in steps]
    assert found == sorted(found)


@pytest.mark.parametrize("folder", ["keepalived", "frr", "shared", "uplinks/centre"])
def test_a_node_conf_that_is_older_than_the_fast_adverts_goes_on(folder: str) -> None:
    """keepalived takes an unknown value for an advert a second."""
    text = (DEPLOY / folder / "keepalived.conf").read_text()
    before, included, _ = text.partition("\ninclude node.conf\n")
    assert included
    assert "\n$FAST_ADVERT_INTERVAL=$ADVERT_INTERVAL" in before


def test_the_package_has_every_folder_of_examples_that_the_pages_name() -> None:
    rules = (DEPLOY / "packages" / "debian" / "rules").read_text()
    packed = set(re.findall(r"\bdeploy/([a-z]+)", rules))
    pages = "".join(
        (DEPLOY.parent / "docs" / name).read_text()
        for name in ("operations.md", "uplinks.md", "configuration.md")
    )
    named = {name for name in re.findall(r"\bdeploy/([a-z]+)", pages) if (DEPLOY / name).is_dir()}
    assert named - packed == {"docker", "packages"} & named


def test_the_unit_is_one_that_systemd_takes() -> None:
    assert not complaints(SYSTEMD / "ovpnha.service")


def test_the_commands_of_the_unit_exist() -> None:
    text = (SYSTEMD / "ovpnha.service").read_text()
    commands = re.findall(r"^Exec\w+=.* ovpnha ([a-z-]+)", text, flags=re.MULTILINE)
    assert commands == ["check-config", "run"]
    assert re.findall(r"^ExecStartPre=.*", text, flags=re.MULTILINE) == [
        "ExecStartPre=/usr/bin/env ovpnha check-config --starting"
    ]
    assert re.findall(r"^ExecReload=(.*)", text, flags=re.MULTILINE) == ["/bin/kill -HUP $MAINPID"]
    for command in commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("config", "families"),
    [
        ("port 1194\n", "4"),
        ("local 192.0.2.10 # not: 2001:db8::10\n", "4"),
        ("#local 2001:db8::10\nlocalised ::\n", "4"),
        ("port 1194\n\tlocal  2001:db8::10\n", "46"),
        ('local "2001:db8::10"\n', "46"),
    ],
)
def test_any_process_may_send_from_absent_ipv6_addresses_only_where_openvpn_binds_one(
    tmp_path: Path, config: str, families: str
) -> None:
    (tmp_path / "udp.conf").write_text(config)
    text = (SYSTEMD / "openvpn-beside@.service").read_text()
    told = ""
    for line in re.findall(r"^ExecStartPre=-(.*)", text, flags=re.MULTILINE):
        words = shlex.split(line.replace("/sbin/sysctl", "echo").replace("%i", "udp"))
        told += subprocess.run(
            words, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
    assert "".join(re.findall(r"ipv([46])\.ip_nonlocal_bind=1", told)) == families


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
    sorted(DEPLOY.rglob("*.service")) + sorted(SYSTEMD.rglob("*.conf")),
    ids=lambda p: p.parent.name,
)
def test_what_restarts_something_never_gives_up(unit: Path) -> None:
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


def test_ucarp_s_unit_is_one_that_systemd_takes() -> None:
    found = complaints(UCARP / "ovpnha-ucarp@.service")
    assert not [line for line in found if "is not executable" not in line]


NODE_CONF = (UCARP / "node.conf").read_text()


def run_ucarp(tmp_path: Path, **changes: str) -> str:
    """What run-ucarp says about a node.conf with these values in place of the example's."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    programs = dict.fromkeys(("UCARP", "CHECK_GRADE", "GUARD"), "true")
    values = {"PASSWORD_FILE": str(password), **programs, **changes}
    lines = [f'{name}="{value}"' for name, value in values.items()]
    (tmp_path / "node.conf").write_text("\n".join([NODE_CONF, *lines, ""]))
    done = subprocess.run(
        [UCARP / "run-ucarp", tmp_path / "node.conf"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"SOURCE": ""}, "SOURCE is missing"),
        ({"SKEW": "51"}, "SKEW=51: must be 0 to 50"),
        ({"SKEW": "x"}, "SKEW=x: must be 0 to 50"),
        ({"VHID": "256"}, "VHID=256: must be 1 to 255"),
        ({"DEAD_RATIO": "1"}, "DEAD_RATIO=1: must be 2 to 60"),
        ({"PREFERRED": "a", "NODE": ""}, "PREFERRED needs NODE and DEMOTE"),
        ({"UCARP": "no-such-ucarp"}, "no-such-ucarp is not installed"),
        ({"PASSWORD_FILE": "/no/such"}, "/no/such: there is no password"),
        ({"GUARD": "/no/such udp"}, "GUARD: there is no program /no/such"),
    ],
)
def test_run_ucarp_names_what_is_wrong(tmp_path: Path, changes: dict[str, str], told: str) -> None:
    assert told in run_ucarp(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [("secret", 0o644, "others may read"), ("", 0o600, "1 to 19"), ("x" * 20, 0o600, "1 to 19")],
)
def test_run_ucarp_looks_at_the_password(tmp_path: Path, text: str, mode: int, told: str) -> None:
    other = tmp_path / "other"
    other.write_text(text)
    other.chmod(mode)
    assert told in run_ucarp(tmp_path, PASSWORD_FILE=str(other))


def test_ucarp_s_guard_asks_as_the_command_does(tmp_path: Path) -> None:
    """The same request on the wire, the same exit code."""
    path = tmp_path / "control.sock"
    asked = []

    def serve(listening: socket.socket) -> None:
        for code in (3, 0):
            one, _ = listening.accept()
            with one, one.makefile("rb") as file:
                asked.append(GuardRequest.model_validate_json(file.readline()))
                answer = {"ok": True, "instance": "udp", "code": code, "text": "because"}
                one.sendall(json.dumps(answer).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        taken = guard(path, "udp")
        left = guard(path, "udp", "--leave", "--to", "b")
        thread.join()
    assert (taken.returncode, taken.stdout) == (3, "udp: because\n")
    assert left.returncode == 0
    assert asked == [
        GuardRequest(instance="udp"),
        GuardRequest(instance="udp", leave=True, to="b"),
    ]
    path.unlink()
    assert guard(path, "udp").returncode == 1
    assert guard(path).returncode == 2


def guard(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, UCARP / "guard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
