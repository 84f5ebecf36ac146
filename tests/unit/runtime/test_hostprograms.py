"""A program that a configuration names and that cannot be started is told before it is needed."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import Config, parse_config
from ovpnha.doctor.facts import Unread
from ovpnha.runtime.hostaccess import ask_access
from ovpnha.runtime.hostprograms import find_bad_programs, find_in_time

NOBODY = 65534
BASE = """
[cluster]
name = "office"
node = "a"
key_file = "/etc/ovpnha/cluster.key"
[bcn]
links = [{ interface = "bcn0" }]
[[instance]]
name = "udp"
management = "/run/openvpn/udp.sock"
vip = "192.0.2.10"
"""
FENCE = '[fence]\ncommand = ["{}", "/etc/ovpnha/fence.nodes"]\n'
NAMERS = {
    "fence.command": FENCE,
    "hooks.role_changed": '[hooks]\nrole_changed = ["{}"]\n',
    "hook.command": '[[hook]]\nevents = ["fault"]\ncommand = ["{}"]\n',
    "hook[2].command": '[[hook]]\nevents = ["fault"]\ncommand = ["true"]\n'
    '[[hook]]\nevents = ["fault"]\ncommand = ["{}"]\n',
    "check[lan].command": '[[check]]\nname = "lan"\nkind = "command"\ncommand = ["{}"]\n',
    "check[vpn].client_program": '[[check]]\nname = "vpn"\nkind = "client"\n'
    'client_config = "/etc/ovpnha/check.conf"\nclient_program = "{}"\n',
}


def naming(path: Path | str, text: str = FENCE) -> Config:
    return parse_config(BASE + text.format(path), "f")


def found(path: Path | str, user: int | None = None) -> str:
    return "\n".join(find_bad_programs(naming(path), user))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program that everybody may start."""
    for one in (tmp_path, *tmp_path.parents[:-2]):
        one.chmod(0o755)
    path = tmp_path / "fence"
    path.write_text("#!/bin/sh\ntrue\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("where", NAMERS)
def test_every_part_that_names_a_program_is_looked_at(where: str) -> None:
    assert not list(find_bad_programs(naming("true", NAMERS[where]), None))
    (line,) = find_bad_programs(naming("/none/such", NAMERS[where]), None)
    assert line == f"{where}: there is no program /none/such; install it, or correct the name"
    (line,) = find_bad_programs(naming("oha-none", NAMERS[where]), None)
    assert line.startswith(f"{where}: there is no program oha-none on the PATH; install it")


def test_a_check_that_pings_needs_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    ping = '[[check]]\nname = "lan"\nkind = "ping"\ntarget = "192.0.2.1"\n{}'
    (line,) = find_bad_programs(naming("", ping), None)
    assert line.startswith("check[lan].kind: there is no program ping on the PATH")


@pytest.mark.parametrize("user", [None, 0, NOBODY])
def test_a_good_program_is_good_for_everybody(script: Path, user: int | None) -> None:
    assert not found(script, user)
    assert not found("/bin/sh", user)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, broken: Path, number: int) -> None:
    """What looks at this file, or opens it, fails as a file system does."""
    real = getattr(Path, name)

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == broken:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, name, fail)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("name", ["stat", "open"])
def test_a_file_system_that_fails_is_not_a_missing_program(
    script: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    failing(monkeypatch, name, script, number)
    told = f"{script} cannot be looked at: {os.strerror(number)}; look after the file system"
    assert found(script).startswith(f"fence.command: {told}")


def test_nor_is_it_a_missing_interpreter(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.write_text("#!/net/python\n")
    failing(monkeypatch, "stat", Path("/net/python"), errno.ESTALE)
    assert found(script).startswith("fence.command: /net/python cannot be looked at: Stale file")
    failing(monkeypatch, "stat", Path("/net/python"), errno.EACCES)
    assert not found(script)


def test_nor_is_it_a_name_that_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none:/net:/bin")
    failing(monkeypatch, "stat", Path("/net/oha-none"), errno.ESTALE)
    assert found("oha-none").startswith("fence.command: /net/oha-none cannot be looked at: Stale")
    assert not found("sh")


@pytest.mark.parametrize("path", ["/none/such", "/dev/null/such"])
def test_what_is_not_there_is_called_so(path: str) -> None:
    assert found(path) == (
        f"fence.command: there is no program {path}; install it, or correct the name"
    )


def test_a_start_waits_for_no_dead_file_system(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_in_time(naming(script)) == []
    assert find_in_time(naming("/none/such")) == [found("/none/such")]
    dead = threading.Event()
    monkeypatch.setattr("ovpnha.runtime.hostprograms.IN_TIME", 0.05)
    monkeypatch.setattr("ovpnha.runtime.hostprograms._look", lambda _: str(dead.wait(60)))
    (line,) = find_in_time(naming(script))
    dead.set()
    assert "could not be looked at within 0.05 s; look after the network file system" in line


@pytest.mark.parametrize("user", [None, NOBODY])
def test_a_program_without_permission_to_run(script: Path, user: int | None) -> None:
    script.chmod(0o644)
    assert found(script, user) == (
        f"fence.command: {script} is not executable; chmod a+rx {script}"
    )
    assert "is no file; name the program in it" in found(script.parent, user)


def test_a_name_without_a_directory_is_found_as_it_will_be_started(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert not found("fence")
    script.chmod(0o644)
    assert f"{script} is not executable" in found("fence")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/none/sh\ntrue\n", "is for the interpreter /none/sh, which is not there; correct"),
        ("#! /bin/sh -e\ntrue\n", ""),
        ("#!\t/usr/bin/env\tsh\n", ""),
        ("#!/bin/sh\r\ntrue\r\n", "/bin/sh?, which is not there (its lines end as on Windows)"),
        ("true\n", "does not begin with the line of its interpreter; write #!/bin/sh"),
        ("", "does not begin with the line of its interpreter"),
        ("MZ, for all we know", ""),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", ""),
        ("\x01\x02\x03", ""),
    ],
)
def test_what_the_kernel_would_not_start(script: Path, text: str, said: str) -> None:
    script.write_bytes(text.encode())
    line = found(script)
    assert said in line
    assert bool(line) == bool(said)


def test_what_another_user_may_not_run_is_told_to_root(script: Path) -> None:
    script.chmod(0o700)
    assert not found(script)
    line = found(script, NOBODY)
    assert line.startswith(f"fence.command: {script} may not be run by user nobody; chmod a+rx")
    script.chmod(0o755)
    script.parent.chmod(0o700)
    assert "may not be run by user nobody" in found(script, NOBODY)


def test_a_script_must_be_read_as_well_and_a_program_need_not(script: Path) -> None:
    script.chmod(0o711)
    assert f"{script} is a script, and may not be read by user nobody" in found(script, NOBODY)
    script.write_bytes(b"\x7fELF")
    assert not found(script, NOBODY)


def test_several_are_told_each_by_its_place(script: Path) -> None:
    script.chmod(0o700)
    both = FENCE + NAMERS["hook[2].command"]
    lines = list(find_bad_programs(naming(script, both.replace("{}", str(script))), NOBODY))
    assert [line.partition(":")[0] for line in lines] == ["fence.command", "hook[2].command"]


def test_what_cannot_be_asked_is_blamed_on_nobody(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.chmod(0o700)
    monkeypatch.setenv("PATH", "/none")
    assert isinstance(ask_access(NOBODY, [("x", script)]), Unread)
    assert not found(script, NOBODY)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert ask_access(NOBODY, [("x", script)]) == Unread(
        "this user cannot try as another one; run as root"
    )
    monkeypatch.undo()
    assert ask_access(None, [("w", script), ("x", script)]) == (True, True)
    assert ask_access(os.geteuid(), []) == ()
    assert ask_access(12345, [("x", script)]) == Unread("user 12345 has no name on this host")
