"""What doctor reads of a host: texts of other programs, files of /proc, units, packages."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovpnha.doctor.facts import UnitFacts, Unread
from ovpnha.runtime import hostbasics, hostprocesses, hostunits
from ovpnha.runtime.hostkeepalived import read_keepalived
from ovpnha.runtime.hostpackages import (
    parse_changelog,
    parse_policy,
    read_available,
    read_installed,
    read_packages,
)
from ovpnha.runtime.hostprocesses import (
    find_option,
    list_processes,
    read_command,
    read_directory,
    read_process,
    read_user,
    serving_process,
)
from ovpnha.runtime.hostservers import find_sidecar_user, find_strangers
from ovpnha.runtime.hostunits import parse_units, read_units
from ovpnha.runtime.programs import run_program

DPKG = """\
Package: openvpn
Status: install ok installed
Version: {stock}

Package: other
Status: install ok installed
Version: 1

Package: openvpn-cluster
Status: {state}
Version: 2.6.14-0+deb12u2+ovpnha1
Source: openvpn-cluster (2.6.14-0+deb12u2+ovpnha1)
"""
CHANGELOG = """\
openvpn (2.6.14-0+deb12u2) bookworm-security; urgency=high

  * A fix.

 -- Somebody <s@example.org>  Mon, 02 Jun 2025 10:00:00 +0000

openvpn (2.6.14-0+deb12u1) bookworm; urgency=medium

 -- Somebody <s@example.org>  Thu, 01 May 2025 10:00:00 +0000
"""


def host(tmp_path: Path, stock: str, state: str, built_from: str = "") -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(DPKG.format(stock=stock, state=state))
    if built_from:
        (tmp_path / "usr/share/openvpn-cluster").mkdir(parents=True)
        (tmp_path / "usr/share/openvpn-cluster/built-from").write_text(f"{built_from}\n")
    return tmp_path


def test_a_package_beside_debian_s(tmp_path: Path) -> None:
    found = read_packages(host(tmp_path, "2.6.14-0+deb12u3+b1", "install ok installed", "2.6.13-1"))
    assert not isinstance(found, Unread)
    assert (found.patched, found.built_from) == ("2.6.14-0+deb12u2+ovpnha1", "2.6.13-1")
    assert (found.beside, found.stock, found.held) == (True, "2.6.14-0+deb12u3", False)
    status = tmp_path / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("install ok", "hold ok", 1))
    held = read_packages(tmp_path)
    assert not isinstance(held, Unread)
    assert held.held


def test_a_package_in_debian_s_place(tmp_path: Path) -> None:
    found = read_packages(host(tmp_path, "2.6.14-1+ovpnha1", "deinstall ok config-files"))
    assert not isinstance(found, Unread)
    assert (found.patched, found.built_from) == ("2.6.14-1+ovpnha1", "2.6.14-1")
    assert (found.beside, found.stock) == (False, "")


def test_a_host_that_is_no_debian(tmp_path: Path) -> None:
    found = read_packages(tmp_path)
    assert isinstance(found, Unread)
    assert "is this a Debian?" in found.why


def test_a_package_of_this_host_is_known() -> None:
    (found,) = read_installed(Path("/var/lib/dpkg/status"), {"dpkg"})
    assert (found.name, found.held) == ("dpkg", False)


def test_what_apt_offers() -> None:
    text = """openvpn:
  Installed: 2.6.14-1+ovpnha1
  Candidate: 2.6.14-1+ovpnha1
  Version table:
 *** 2.6.14-1+ovpnha1 100
        100 /var/lib/dpkg/status
     2.6.14-0+deb12u2 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
        500 http://mirror.example/security bookworm-security/main amd64 Packages
     2.6.3-1 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
     2.7.0-1 100
        100 http://mirror.example/debian bookworm-backports/main amd64 Packages
"""
    assert parse_policy(text) == ("2.6.14-0+deb12u2", "2.6.3-1")
    assert parse_policy("") == ()
    assert isinstance(read_available(10.0), tuple)


def test_when_a_source_was_made() -> None:
    assert parse_changelog(CHANGELOG, "2.6.14-0+deb12u1") == 1746093600.0
    assert parse_changelog(CHANGELOG, "9") is None
    assert parse_changelog(CHANGELOG.replace("Thu, 01 May", "no day"), "2.6.14-0+deb12u1") is None


UNITS = """\
Id=openvpn-cluster@udp.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
MainPID=77
NeedDaemonReload=no
ExecStop={ path=/bin/sh ; argv[]=/bin/sh -c exec ovpnha hand-over --pid "$MAINPID" ; }
Restart=always
CapabilityBoundingSet=cap_chown cap_net_admin
StateChangeTimestamp=@1790000000

Id=openvpn-server@udp.service
ActiveState=inactive
UnitFileState=disabled
NeedDaemonReload=yes
MainPID=
"""


def test_units_as_systemctl_shows_them() -> None:
    found = parse_units(UNITS)
    ours = found["openvpn-cluster@udp.service"]
    assert ours == UnitFacts(
        name=ours.name,
        active=True,
        runs=True,
        enabled=True,
        pid=77,
        hands_over=True,
        restarts=True,
        may_chown=True,
        since=1_790_000_000,
    )
    stock = found["openvpn-server@udp.service"]
    assert stock == UnitFacts("openvpn-server@udp.service", stale=True)


def test_a_host_without_systemd_has_no_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostunits, "RUNNING", tmp_path / "none")
    assert read_units(["a.service", "a.service"], 1.0) == {"a.service": None}


def test_a_systemctl_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostunits, "RUNNING", tmp_path)
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexec sleep 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = read_units(["a.service"], 0.05)["a.service"]
    assert isinstance(found, Unread)
    assert "no answer within 0.05 s" in found.why
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{UNITS}E\n")
    told = read_units(["openvpn-server@udp.service", "b.service"], 10.0)
    assert told["b.service"] == UnitFacts("b.service", present=False)
    assert told["openvpn-server@udp.service"] == UnitFacts("openvpn-server@udp.service", stale=True)


def test_a_process_as_proc_shows_it() -> None:
    me = read_process(os.getpid())
    assert me is not None
    assert (me.pid, me.replaced, me.real_time) == (os.getpid(), False, False)
    assert "cap_net_admin" in me.capabilities
    assert read_user(os.getpid()) == os.geteuid()
    assert read_directory(os.getpid()) == Path.cwd()
    assert read_command(os.getpid())


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A /proc of our own, to which processes are added; all of one network namespace."""
    monkeypatch.setattr(hostprocesses, "PROC", tmp_path)

    def add(pid: int, name: str, parent: int, begun: int, state: str = "S") -> None:
        (tmp_path / f"{pid}/ns").mkdir(parents=True)
        (tmp_path / f"{pid}/ns/net").symlink_to("net:[1]")
        words = [state, parent, *[0] * 17, begun, *[0] * 30]
        (tmp_path / f"{pid}/stat").write_text(f"{pid} ({name}) {' '.join(map(str, words))}\n")

    add(1, "init", 0, 0)
    (tmp_path / "self").symlink_to("1")
    return add


def test_what_a_program_has_forked_is_not_the_program(proc: Callable[..., None]) -> None:
    # Process ids began anew: the children have lower ones.
    proc(30_000, "keepalived", 1, 500)
    proc(30_001, "keepalived", 30_000, 501)
    proc(45, "keepalived", 30_001, 90_000)
    proc(46, "check-grade", 30_001, 90_001)
    assert list(list_processes("keepalived")) == [30_000]


def test_a_process_that_ends_while_it_is_looked_at(
    proc: Callable[..., None], tmp_path: Path
) -> None:
    proc(300, "keepalived", 1, 500)
    (tmp_path / "45").mkdir()  # nothing of it can be read any more
    proc(46, "keepalived", 1, 400, "Z")
    (tmp_path / "47/ns").mkdir(parents=True)
    (tmp_path / "47/stat").write_text("")
    assert list(list_processes("keepalived")) == [300]


def test_the_oldest_comes_first_and_names_may_have_brackets(proc: Callable[..., None]) -> None:
    proc(7, "a (b) c", 1, 900)
    proc(9, "a (b) c", 1, 100)
    assert list(list_processes("a (b) c")) == [9, 7]


def test_a_process_of_another_network_is_not_ours(
    proc: Callable[..., None], tmp_path: Path
) -> None:
    proc(7, "keepalived", 1, 900)
    (tmp_path / "7/ns/net").unlink()
    (tmp_path / "7/ns/net").symlink_to("net:[2]")
    assert list(list_processes("keepalived")) == []


def test_a_process_of_another_network_that_ends_while_it_is_looked_at(
    proc: Callable[..., None], tmp_path: Path
) -> None:
    proc(7, "keepalived", 1, 100)
    (tmp_path / "7/ns/net").unlink()  # its name was read before, and it is the oldest
    proc(300, "keepalived", 1, 500)
    assert list(list_processes("keepalived")) == [300]


def test_the_files_in_use_are_those_of_a_keepalived_that_still_runs(
    proc: Callable[..., None], tmp_path: Path
) -> None:
    proc(7, "keepalived", 1, 100)
    (tmp_path / "7/cmdline").write_bytes(b"")  # it ended after its network was looked at
    proc(300, "keepalived", 1, 500)
    used = tmp_path / "used.conf"
    (tmp_path / "300/cmdline").write_bytes(b"keepalived\0-f\0used.conf\0")
    (tmp_path / "300/cwd").symlink_to(tmp_path)
    used.write_text("global_defs {\n}\n")
    found = read_keepalived(None, None, 10.0)
    assert isinstance(found.blocks, tuple)
    assert (found.path, len(found.blocks)) == (str(used), 1)


def test_this_process_is_found_by_its_name() -> None:
    code = (
        "import ctypes, os; ctypes.CDLL(None).prctl(15, b'ovpnha-named', 0, 0, 0);"
        "from ovpnha.runtime.hostprocesses import list_processes;"
        "assert os.getpid() in list_processes('ovpnha-named')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_is_gone() -> None:
    gone = 2**22 + 1
    assert read_process(gone) is None
    assert read_user(gone) is None
    assert read_directory(gone) is None
    assert read_command(gone) == []


def test_options_of_a_command_line() -> None:
    words = ["keepalived", "-f", "a.conf", "--pid=x", "--last"]
    assert find_option(words, "-f", "--use-file") == "a.conf"
    assert find_option(words, "--pid") == "x"
    assert find_option(words, "--last") == find_option(words, "--none") == ""


def test_who_listens_at_a_socket(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        serving_process(tmp_path / "none")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        one.listen()
        assert serving_process(tmp_path / "s") == os.getpid()


def test_whom_the_sidecar_runs_as(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (find_sidecar_user(7, 594).number, find_sidecar_user(7, 594).pid) == (594, 7)
    monkeypatch.setattr("ovpnha.runtime.hostservers.SIDECAR_USER", "root")
    assert find_sidecar_user(0, None).number == 0
    monkeypatch.setattr("ovpnha.runtime.hostservers.SIDECAR_USER", "oha-nobody")
    assert find_sidecar_user(0, None).number is None


SOCKETS = """\
u_str LISTEN 0 1  /run/x.sock 10 * 0    users:(("openvpn",pid=7,fd=3))
u_str ESTAB  0 0  /run/x.sock 11 * 12   users:(("openvpn",pid=7,fd=4))
u_str ESTAB  0 0            * 12 * 11   users:(("nc",pid=9,fd=3))
u_str ESTAB  0 0            * 14 * 13   users:(("other",pid=8,fd=3))
""".splitlines()


def test_who_is_at_the_far_end_of_a_socket() -> None:
    lines = tuple(SOCKETS)
    assert find_strangers(lines, "/run/x.sock", {7}) == ("nc (pid 9)",)
    assert find_strangers(lines, "/run/x.sock", {7, 9}) == ()
    assert find_strangers(lines, "/run/y.sock", set()) == ()
    hidden = tuple(SOCKETS[:2])
    assert find_strangers(hidden, "/run/x.sock", set()) == (
        "a program in another network namespace",
    )
    nameless = tuple(line.partition("users:")[0] + "x" for line in SOCKETS)
    found = find_strangers(nameless, "/run/x.sock", set())
    assert isinstance(found, Unread)
    unread = Unread("there is no program ss")
    assert find_strangers(unread, "/run/x.sock", set()) is unread


def test_the_clock_says_whether_it_is_kept() -> None:
    assert isinstance(hostbasics.read_clock(), bool)


def test_a_reboot_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "reboot-required"
    monkeypatch.setattr(hostbasics, "REBOOT", flag)
    assert hostbasics.read_reboot() == ""
    flag.touch()
    assert hostbasics.read_reboot() == "an update asks for a reboot"
    (tmp_path / "reboot-required.pkgs").write_text("openvpn\nlinux\nopenvpn\n")
    assert hostbasics.read_reboot() == "an update asks for a reboot (linux, openvpn)"


def test_a_host_is_read_without_a_configuration() -> None:
    found = hostbasics.read_host(None, ())
    assert found.tunnel_versions == {4}
    assert "net.ipv4.ip_forward" in found.tunables
    assert found.system == hostbasics.read_system()
    assert found.machine
    assert found.user is any(one.pw_name == "ovpnha" for one in pwd.getpwall())


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    assert run_program("oha-none") == ("", "there is no program oha-none that this user may run")
    plain = tmp_path / "plain"
    plain.write_text("")
    assert "Permission denied" in run_program(str(plain))[1]
    assert run_program("sh", "-c", "echo no >&2; exit 3") == ("", "sh: no")
    assert run_program("false") == ("", "false: exit code 1")
    assert run_program("cat", given="x") == ("x", "")
