from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ovpnha.runtime import sockdiag, unixlisteners
from ovpnha.runtime.sockdiag import SocketAddress, dump_listeners, find_device
from ovpnha.runtime.unixlisteners import (
    count_listeners,
    is_listened_at,
    is_surely_listened_at,
)

APART = """
import socket, sys
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
one.listen()
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def listening(path: Path | str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen(1)
        yield one


@contextlib.contextmanager
def listening_apart(path: Path) -> Iterator[None]:
    """At that path of a container on the same network, which has a ``/run`` of its own."""
    mount = f'mount -t tmpfs none {path.parent} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", APART]
    with subprocess.Popen(
        [*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.communicate()


def refuse() -> list[SocketAddress]:
    raise OSError(errno.ENOENT, "no such module")


@pytest.fixture
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not tell of file systems."""
    monkeypatch.setattr(unixlisteners, "dump_listeners", refuse)


@pytest.fixture(params=["by file system", "by path alone"])
def _asked(request: pytest.FixtureRequest) -> None:
    if request.param == "by path alone":
        request.getfixturevalue("_untold")


@pytest.mark.usefixtures("_asked")
def test_who_listens_is_seen_and_not_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    assert not is_listened_at(path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        assert not is_listened_at(path)
        one.listen(1)
        assert is_listened_at(path)
        assert not is_listened_at(tmp_path / "b.sock")
        one.setblocking(False)
        try:
            one.accept()
        except BlockingIOError:
            pass
        else:
            raise AssertionError
    assert path.exists()
    assert not is_listened_at(path)  # a file that was left behind


@pytest.mark.usefixtures("_untold")
def test_what_cannot_be_seen_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixlisteners, "TABLE", tmp_path / "none")
    assert not is_listened_at(tmp_path)
    assert not is_surely_listened_at(tmp_path)
    assert count_listeners(tmp_path) is None


def test_whoever_lost_the_path_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever name it was bound to it: through a link, or where the process was."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    path = tmp_path / "there" / "udp.sock"
    monkeypatch.chdir(tmp_path / "there")
    with ExitStack() as ends:
        for bound in (str(path), str(tmp_path / "link" / "udp.sock"), "udp.sock"):
            ends.enter_context(listening(bound))
            path.unlink()
        assert count_listeners(path) == 3
        assert count_listeners(tmp_path / "link" / "udp.sock") == 3
        assert count_listeners(tmp_path / "udp.sock") == 1  # relative to what, nobody tells
        assert count_listeners(path.with_name("tcp.sock")) == 0
        path.parent.rename(tmp_path / "gone")
        assert count_listeners(path) == 3
        monkeypatch.setattr(unixlisteners, "dump_listeners", refuse)
        assert count_listeners(path) == 2
        assert not is_surely_listened_at(path)
    assert count_listeners(path) == 0


def test_who_listens_at_another_file_of_the_same_path_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "run" / "udp.sock"
    path.parent.mkdir()
    with listening_apart(path):
        assert not path.exists()
        assert count_listeners(path) == 0
        assert not is_listened_at(path)
        with listening(path):
            assert count_listeners(path) == 1
            path.unlink()
            assert is_surely_listened_at(path)


def test_a_relative_path_on_another_file_system_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, here = tmp_path / "udp.sock", find_device(tmp_path)
    assert here is not None
    found = [
        SocketAddress("udp.sock", here + 1),
        SocketAddress("udp.sock"),
        SocketAddress("udp.sock", here),
    ]
    for listeners, count in ((found[:1], 0), (found[:2], 0), (found, 1)):
        monkeypatch.setattr(unixlisteners, "dump_listeners", listeners.copy)
        assert count_listeners(path) == count
        assert not is_surely_listened_at(path)


def test_a_relative_path_is_surely_at_the_file_that_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at one of the same name elsewhere on that file system."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    with listening("udp.sock"):
        assert not is_surely_listened_at(tmp_path / "udp.sock")
        assert is_surely_listened_at(tmp_path / "there" / "udp.sock")
        with listening(tmp_path / "other.sock"):
            (tmp_path / "other.sock").rename(tmp_path / "udp.sock")
            assert not is_surely_listened_at(tmp_path / "udp.sock")


def test_where_the_directory_cannot_be_seen_its_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "none" / "udp.sock"
    monkeypatch.setattr(unixlisteners, "find_device", lambda _directory: None)
    monkeypatch.setattr(unixlisteners, "dump_listeners", lambda: [SocketAddress(str(path), 5)])
    assert count_listeners(path) == 1
    assert not is_surely_listened_at(path)


def test_a_socket_is_on_the_file_system_of_its_directory(tmp_path: Path) -> None:
    """On disk, and in memory: the kernel itself numbers a disk otherwise than it tells."""
    for path in (tmp_path / "a.sock", Path(f"/dev/shm/ovpnha-{os.getpid()}.sock")):
        with listening(path):
            path.unlink()
            (found,) = (one for one in dump_listeners() if one.path == str(path))
        assert found.device is not None
        assert found.device == find_device(path.parent)


def test_what_is_bound_to_no_path_is_not_told() -> None:
    with listening("\0ovpnha-abstract"), listening(""):
        assert all(one.path and "abstract" not in one.path for one in dump_listeners())


def test_a_directory_that_is_not_there_is_made_on_the_file_system_above(tmp_path: Path) -> None:
    assert find_device(tmp_path / "a" / "b") == find_device(tmp_path) is not None
    (tmp_path / "file").touch()
    assert find_device(tmp_path / "file" / "b") is None


def test_a_mount_that_is_not_told_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    monkeypatch.setattr(sockdiag, "PROC", proc)
    assert find_device(tmp_path) is None
    (proc / "fdinfo").mkdir(parents=True)
    os.close(free := os.dup(0))  # the number that the next file has
    (proc / f"fdinfo/{free}").write_text("pos:\t0\nmnt_id:\t31\n")
    (proc / "mountinfo").write_text("30 1 0:27 / /run rw - tmpfs tmpfs rw\n")
    assert find_device(tmp_path) is None
    with (proc / "mountinfo").open("a") as file:  # what stat gives there is another number
        file.write("31 1 0:33 /@ /var rw - btrfs /dev/sda1 rw\n")
    assert find_device(tmp_path) == os.makedev(0, 33)


def test_a_kernel_that_refuses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockdiag, "SOCK_DIAG_BY_FAMILY", 99)
    with pytest.raises(OSError, match="Invalid argument"):
        dump_listeners()
