"""Whether the patched OpenVPN is built on an older source than Debian's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ovpnha.runtime.sourcewatcher import PIECE, SourceWatcher, find_newer, read_listed
from tests.lab.waiting import wait_until

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
STATUS = """\
Package: openvpn
Status: install ok installed
Version: {stock}

Package: openvpn-cluster
Status: install ok installed
Version: {ours}
"""
LISTED = "Package: openvpn\nVersion: {}\n\n"
NAME = "mirror.example_debian_dists_{}_main_binary-amd64_Packages"


def host(root: Path, stock: str, ours: str = "2.6.14-0+deb12u2+ovpnha1") -> Path:
    (root / "var/lib/dpkg").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").write_text(STATUS.format(stock=stock, ours=ours))
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/os-release").write_text('NAME="x"\nVERSION_CODENAME=bookworm\n')
    return root


def listed(root: Path, suite: str, version: str, before: str = "") -> None:
    lists = root / "var/lib/apt/lists"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / NAME.format(suite)).write_text(before + LISTED.format(version))


def test_what_is_installed_beside_it_is_newer(tmp_path: Path) -> None:
    assert find_newer(host(tmp_path, "2.6.14-0+deb12u2")) == ""
    assert find_newer(host(tmp_path, "2.6.14-0+deb12u3")) == "2.6.14-0+deb12u3"


def test_what_apt_lists_is_newer(tmp_path: Path) -> None:
    root = host(tmp_path, "2.6.14-0+deb12u2")
    listed(root, "bookworm", "2.6.14-0+deb12u2+b1", before="Package: a\nVersion: 9\n\n")
    assert find_newer(root) == ""
    for later in ("bookworm-backports", "trixie"):
        listed(root, later, "2.7.0-1")
    assert find_newer(root) == "", "what nobody upgrades to"
    listed(root, "bookworm-security", "2.6.14-0+deb12u4")
    assert find_newer(root) == "2.6.14-0+deb12u4"


def test_a_list_is_read_in_pieces(tmp_path: Path) -> None:
    root = host(tmp_path, "2.6.14-0+deb12u2")
    for short in range(20):
        listed(root, "bookworm", f"9.{short}", before="x" * (PIECE - short) + "\n\n")
        assert list(read_listed(root)) == [f"9.{short}"]


def test_what_is_in_no_list(tmp_path: Path) -> None:
    root = host(tmp_path, "2.6.14-0+deb12u2")
    assert list(read_listed(root)) == []
    listed(root, "bookworm", "", before="Package: openvpn-auth-ldap\nVersion: 1\n\n")
    assert list(read_listed(root)) == []
    directory = root / "var/lib/apt/lists" / NAME.format("bookworm-updates")
    directory.mkdir()
    assert list(read_listed(root)) == []
    (root / "etc/os-release").write_text("NAME=x\n")
    assert list(read_listed(root)) == []
    (root / "etc/os-release").unlink()
    assert list(read_listed(root)) == []


def test_nobody_can_tell_where_there_is_no_package_of_ours(tmp_path: Path) -> None:
    assert find_newer(tmp_path) is None
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text("Package: a\nStatus: install ok installed\n")
    assert find_newer(tmp_path) is None


async def test_it_looks_again(tmp_path: Path, logged: Any) -> None:
    watcher = SourceWatcher(host(tmp_path, "2.6.14-0+deb12u2"), interval=0.01, first=0.0)
    assert watcher.newer is None
    task = asyncio.create_task(watcher.run())
    await asyncio.to_thread(wait_until, lambda: watcher.newer == "", "the first look", 10.0)
    host(tmp_path, "2.6.15-1")
    await asyncio.to_thread(wait_until, lambda: watcher.newer == "2.6.15-1", "the next", 10.0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    told = [one["event"] for one in logged]
    assert told.count("openvpn is built on an older source") == 1


async def test_no_file_of_the_host_ends_the_sidecar(
    tmp_path: Path, logged: Any, until: Until
) -> None:
    host(tmp_path, "2.6.14-0+deb12u3")
    (tmp_path / "etc/os-release").write_bytes(b"\xff")
    watcher = SourceWatcher(tmp_path, interval=0.01, first=0.0)
    running = asyncio.create_task(watcher.run())
    await until(lambda: logged)
    (tmp_path / "etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
    await until(lambda: watcher.newer is not None)
    running.cancel()
