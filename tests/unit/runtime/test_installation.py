"""Files are written and put back, whenever it was interrupted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.errors import ConfigError
from ovpnha.runtime.disk import Disk, resolve_below
from ovpnha.runtime.installation import STATE, Installation, InstallationError, decode, encode
from ovpnha.setup.edit import edit_server
from ovpnha.setup.manifest import Manifest
from ovpnha.setup.proposal import FileChange

ME = (os.geteuid(), os.getegid())
WANTED = [("local", "192.0.2.10"), ("cluster",), ("disable-dco",)]


class PowerCut(BaseException):
    """The end, in the middle of something."""


class FailingDisk(Disk):
    """Works for so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, _what: str) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1


def owner(_user: str, _group: str) -> tuple[int, int]:
    return ME


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file and directory; what uninit may leave is the way to its own directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not name.startswith("var"):
            found[name] = (path.read_bytes() if path.is_file() else b"", path.stat().st_mode)
    return found


def prepare(root: Path, content: bytes) -> list[FileChange]:
    server = root / "etc/openvpn/server/office.conf"
    server.parent.mkdir(parents=True)
    server.write_bytes(content)
    server.chmod(0o640)
    text = decode(content)
    return [
        FileChange("/etc/ovpnha/cluster.key", None, "key\n", 0o600, "ovpnha", secret=True),
        FileChange("/etc/keepalived/a/node.conf", None, "node\n"),
        FileChange("/etc/openvpn/server/office.conf", text, edit_server(text, WANTED)),
    ]


def write(root: Path, changes: list[FileChange], disk: Disk | None = None) -> None:
    Installation(root, disk).write(changes, {"vip": "x"}, {"instance": "office"}, owner)


CONTENT = st.binary(max_size=120) | st.text(max_size=60).map(encode)


@given(content=CONTENT)
def test_whatever_was_there_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    changes = prepare(root, content)
    before = snapshot(root)
    write(root, changes)
    server = root / "etc/openvpn/server/office.conf"
    assert server.read_bytes() == encode(changes[-1].after)
    assert server.stat().st_mode & 0o777 == 0o640
    assert (root / "etc/ovpnha/cluster.key").stat().st_mode & 0o777 == 0o600
    assert Installation(root).put_back() == []
    assert snapshot(root) == before
    assert not (root / "var/lib/ovpnha").exists()


def interrupted(root: Path) -> Iterator[tuple[Path, list[FileChange], int]]:
    """One root for every step at which writing may end."""
    for steps in range(1000):
        here = root / str(steps)
        changes = prepare(here, b"verb 3\n")
        try:
            write(here, changes, FailingDisk(steps))
        except PowerCut:
            yield here, changes, steps
        else:
            assert steps > 15
            return


def test_interrupted_while_it_writes_it_can_be_undone(tmp_path: Path) -> None:
    for root, _, _ in interrupted(tmp_path):
        assert Installation(root).put_back() == []
        assert list(snapshot(root)) == [
            "etc",
            "etc/openvpn",
            "etc/openvpn/server",
            "etc/openvpn/server/office.conf",
        ]
        assert (root / "etc/openvpn/server/office.conf").read_bytes() == b"verb 3\n"


def test_interrupted_while_it_writes_it_can_be_done_again(tmp_path: Path) -> None:
    for root, changes, steps in interrupted(tmp_path):
        write(root, changes)
        server = root / "etc/openvpn/server/office.conf"
        assert server.read_text() == changes[-1].after, steps
        assert not list(root.rglob("*.ovpnha-new")), steps
        assert Installation(root).put_back() == []
        assert server.read_bytes() == b"verb 3\n"


def test_interrupted_while_it_puts_back_it_can_be_done_again(tmp_path: Path) -> None:
    for steps in range(1000):
        root = tmp_path / str(steps)
        changes = prepare(root, b"verb 3\n")
        before = snapshot(root)
        write(root, changes)
        (root / "etc/keepalived/a/node.conf").write_text("changed since")
        try:
            Installation(root, FailingDisk(steps)).put_back()
        except PowerCut:
            Installation(root).put_back()
        else:
            assert steps > 10
            break
        assert snapshot(root) == before
        kept = root / "var/lib/ovpnha/kept/etc-keepalived-a-node.conf"
        assert kept.read_text() == "changed since"
        assert not list(root.rglob("*.1"))


def test_what_was_changed_since_is_kept_and_never_overwritten(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    for text in ("first", "second"):
        write(tmp_path, changes)
        (tmp_path / "etc/openvpn/server/office.conf").write_text(text)
        (kept,) = Installation(tmp_path).put_back()
        assert kept.read_text() == text
        assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.name == "etc-openvpn-server-office.conf.1"


def test_other_content_later_still_comes_back_to_the_first(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    write(tmp_path, changes)
    server = changes[-1].path
    write(tmp_path, [FileChange(server, changes[-1].after, "other\n")])
    assert (tmp_path / "etc/openvpn/server/office.conf").stat().st_mode & 0o777 == 0o640
    bases, edited = Installation(tmp_path).read_bases(Installation(tmp_path).read())
    assert bases[server] == "verb 3\n"
    assert bases["/etc/ovpnha/cluster.key"] is None
    assert edited == frozenset()
    Installation(tmp_path).put_back()
    assert (tmp_path / "etc/openvpn/server/office.conf").read_text() == "verb 3\n"


def test_what_somebody_has_edited_is_known(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    write(tmp_path, changes)
    (tmp_path / "etc/keepalived/a/node.conf").write_text("mine")
    _, edited = Installation(tmp_path).read_bases(Installation(tmp_path).read())
    assert edited == {"/etc/keepalived/a/node.conf"}


def test_what_was_noted_stays_until_the_stock_server_runs(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    write(tmp_path, changes)
    Installation(tmp_path).put_back(forget=False)
    assert (tmp_path / "etc/openvpn/server/office.conf").read_text() == "verb 3\n"
    assert Installation(tmp_path).read().before is not None
    assert Installation(tmp_path).put_back(forget=False) == []
    Installation(tmp_path).forget()
    assert Installation(tmp_path).read() == Manifest()
    Installation(tmp_path).forget()
    assert not (tmp_path / STATE).exists()


def test_nothing_written_is_nothing_to_put_back(tmp_path: Path) -> None:
    assert Installation(tmp_path).plan_return() == []
    assert Installation(tmp_path).put_back() == []
    assert not list(tmp_path.iterdir())


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"")

    class SecondRun(Disk):
        def step(self, _what: str) -> None:
            write(tmp_path, changes)

    write(tmp_path, changes)
    with pytest.raises(InstallationError, match="another `ovpnha init` or `uninit` runs"):
        write(tmp_path, changes, SecondRun())


def test_what_was_changed_while_somebody_was_asked_is_not_written_over(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    key = tmp_path / "etc/ovpnha/cluster.key"
    key.parent.mkdir()
    key.write_text("of another run\n")
    before = snapshot(tmp_path)
    with pytest.raises(InstallationError, match=r"cluster\.key: somebody has changed it since"):
        write(tmp_path, changes)
    assert snapshot(tmp_path) == before
    assert Installation(tmp_path).read().entries == ()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"")
    (tmp_path / "etc/ovpnha").write_text("no directory")
    with pytest.raises(InstallationError, match=r"ovpnha.*Nothing was changed$"):
        write(tmp_path, changes)
    assert not (tmp_path / "var/lib/ovpnha/init/manifest.json").exists()


def test_a_full_disk_names_the_file_and_the_way_back(tmp_path: Path) -> None:
    class FullDisk(Disk):
        def step(self, what: str) -> None:
            if what.startswith("fill") and "node.conf" in what:
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InstallationError, match=r"node.conf: No space left.*ovpnha uninit --write"):
        write(tmp_path, prepare(tmp_path, b""), FullDisk())
    assert not list(tmp_path.rglob("*.ovpnha-new"))


def test_root_that_may_not_is_told_why(tmp_path: Path) -> None:
    class ImmutableDisk(Disk):
        def step(self, what: str) -> None:
            if what.startswith("fill"):
                raise PermissionError(errno.EPERM, "Operation not permitted")

    said = "lsattr" if os.geteuid() == 0 else "run it as root"
    with pytest.raises(InstallationError, match=said):
        write(tmp_path, prepare(tmp_path, b""), ImmutableDisk())


def test_a_directory_in_a_file_s_place_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, prepare(tmp_path, b"verb 3\n"))
    server = tmp_path / "etc/openvpn/server/office.conf"
    server.unlink()
    server.mkdir()
    for what in (Installation(tmp_path).plan_return, Installation(tmp_path).put_back):
        with pytest.raises(InstallationError, match=r"office.conf: Is a directory. Nothing was ch"):
            what()


def test_a_damaged_copy_stops_before_anything_is_put_back(tmp_path: Path) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    write(tmp_path, changes)
    (copy,) = (tmp_path / "var/lib/ovpnha/init").glob("0*")
    copy.write_bytes(b"corrupted\n")
    before = snapshot(tmp_path)
    with pytest.raises(InstallationError, match=r"is the copy of /etc/openvpn/server/office.conf"):
        Installation(tmp_path).put_back()
    assert snapshot(tmp_path) == before
    server = tmp_path / "etc/openvpn/server/office.conf"
    server.write_bytes(b"verb 3\n")
    server.chmod(0o600)
    Installation(tmp_path).put_back()
    assert (server.read_bytes(), server.stat().st_mode & 0o777) == (b"verb 3\n", 0o640)


@pytest.mark.parametrize("target", ["../real.conf", "/etc/openvpn/real.conf"])
def test_a_link_stays_one_and_its_target_comes_back(tmp_path: Path, target: str) -> None:
    changes = prepare(tmp_path, b"verb 3\n")
    link, real = tmp_path / "etc/openvpn/server/office.conf", tmp_path / "etc/openvpn/real.conf"
    link.rename(real)
    link.symlink_to(target)
    write(tmp_path, changes)
    assert link.is_symlink()
    assert real.read_text() == changes[-1].after
    Installation(tmp_path).put_back()
    assert link.readlink() == Path(target)
    assert real.read_bytes() == b"verb 3\n"


def test_links_lead_below_the_root_and_in_circles_nowhere(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to("../../..")
    assert resolve_below(tmp_path, "/up/../x") == tmp_path / "x"
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        resolve_below(tmp_path, "/circle")


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.directory.mkdir(parents=True)
    (installation.directory / "manifest.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"manifest.json: cannot be read"):
        installation.read()


def test_an_owner_is_set(tmp_path: Path) -> None:
    Disk().put(tmp_path / "f", b"x", 0o644, (ME[0], ME[1]))
    assert Disk().read_state(tmp_path / "f") is not None
    assert Disk().read_state(tmp_path / "none") is None
