"""A cluster key is rotated without an editor: what changes in the file, what stands against it."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ovpnha.errors import ConfigError
from ovpnha.model import NodeName
from ovpnha.node.statistics import HeardNode, NodeStatistics
from ovpnha.runtime.disk import FRESH
from ovpnha.runtime.keyfile import IN_USE, add_key, create_key_file, read_keys
from ovpnha.runtime.keyrotation import (
    drop_old,
    find_objections,
    name_keys,
    use_newest,
)
from ovpnha.runtime.replacing import replace_file

OLD, NEW, OTHER = (sha256(bytes([number])).hexdigest() for number in range(3))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.key"
    create_key_file(path)
    return path


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def test_the_three_steps(file: Path) -> None:
    [old] = read_keys(file)
    header = file.read_text().splitlines()[0]
    assert add_key(file) == 2
    first, new = read_keys(file)
    assert first == old
    with pytest.raises(ConfigError, match="not in use yet"):
        drop_old(file)
    use_newest(file)
    assert read_keys(file) == (new, old)
    assert drop_old(file) == 1
    assert read_keys(file) == (new,)
    assert file.read_text() == f"{header}\n{new.hex()}\n"


def test_the_second_step_is_made_once(file: Path) -> None:
    """Made again it would let the old key seal, and the third step would drop the new one."""
    add_key(file)
    use_newest(file)
    before = file.read_text()
    with pytest.raises(ConfigError, match="in use already"):
        use_newest(file)
    assert file.read_text() == before
    new, old = read_keys(file)
    add_key(file)
    newer = read_keys(file)[-1]
    use_newest(file)
    assert read_keys(file) == (newer, new, old)
    with pytest.raises(ConfigError, match="in use already"):
        use_newest(file)
    drop_old(file)
    assert read_keys(file) == (newer,)
    assert IN_USE not in file.read_text()


def test_several_are_added_before_one_is_used(file: Path) -> None:
    add_key(file)
    add_key(file)
    first, second, third = read_keys(file)
    use_newest(file)
    assert read_keys(file) == (third, first, second)
    assert drop_old(file) == 2
    assert read_keys(file) == (third,)


def test_what_is_forced_drops_a_key_that_waits(file: Path) -> None:
    [old] = read_keys(file)
    add_key(file)
    assert drop_old(file, force=True) == 1
    assert read_keys(file) == (old,)


def test_a_file_of_hand_keeps_its_comments(tmp_path: Path) -> None:
    path = write(tmp_path / "k", "# mine", OLD, "", "  # since May", f"  {NEW}  ")
    use_newest(path)
    assert path.read_text() == f"# mine\n  {NEW}  \n{IN_USE}\n{OLD}\n\n  # since May\n"
    drop_old(path)
    assert path.read_text() == f"# mine\n  {NEW}  \n\n  # since May\n"


def test_one_key_is_neither_newest_nor_old(file: Path) -> None:
    before = file.read_text()
    with pytest.raises(ConfigError, match="--add"):
        use_newest(file)
    with pytest.raises(ConfigError, match="no old one"):
        drop_old(file)
    assert file.read_text() == before


def test_a_bad_file_is_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "k", OLD, "no key")
    for step in (use_newest, drop_old):
        with pytest.raises(ConfigError, match="line 2"):
            step(path)
    assert path.read_text() == f"{OLD}\nno key\n"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_mode_and_owner_are_kept_and_a_link_stays_one(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "real", OLD, NEW)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    owner = path.stat().st_uid, path.stat().st_gid
    link = tmp_path / "link"
    link.symlink_to(path)
    use_newest(link)
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (mode, *owner)
    assert link.is_symlink()
    assert [key.hex() for key in read_keys(path)] == [NEW, OLD]
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["link", "real"]


def test_a_file_that_cannot_be_replaced_stays(file: Path) -> None:
    before = file.read_text()
    file.with_name(file.name + FRESH).mkdir()
    with pytest.raises(ConfigError, match="cannot be replaced"):
        add_key(file)
    assert file.read_text() == before


def test_a_stale_fresh_file_is_no_danger(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file.with_name(file.name + FRESH).symlink_to(victim)
    with pytest.raises(ConfigError):
        replace_file(file, "text")
    assert victim.read_text() == "precious"
    replace_file(file, OLD + "\n")
    assert len(read_keys(file)) == 1


def test_names_of_keys_tell_nothing_and_differ_between_clusters() -> None:
    keys = (bytes.fromhex(OLD), bytes.fromhex(NEW))
    names = name_keys(keys, "office")
    assert len(set(names)) == 2
    assert all(len(one) == 8 and one not in OLD + NEW for one in names)
    assert names != name_keys(keys, "home")


HEARD = HeardNode(NodeName("b"), "00ff", True, 0.2, "1.0", ("old", "new"))


def objections(status: NodeStatistics, *, dropping: bool) -> list[str]:
    keys = ("new", "old") if dropping else ("old", "new")
    return list(find_objections(status, keys, dropping=dropping))


@pytest.fixture
def ready(statistics: NodeStatistics) -> NodeStatistics:
    return replace(statistics, keys=("old", "new"), heard=(HEARD,))


def test_who_has_the_new_key_is_ready_to_use_it(ready: NodeStatistics) -> None:
    assert objections(ready, dropping=False) == []
    moved = replace(HEARD, keys=("new", "old"))
    assert objections(replace(ready, heard=(moved,)), dropping=False) == []


def test_who_seals_with_it_is_ready_to_drop_the_old_one(ready: NodeStatistics) -> None:
    for keys in (("new", "old"), ("new",)):
        heard = replace(HEARD, keys=keys)
        status = replace(ready, keys=("new", "old"), heard=(heard,))
        assert objections(status, dropping=True) == []


@pytest.mark.parametrize(
    ("heard", "dropping", "says"),
    [
        (replace(HEARD, keys=("old",)), False, "node b has not got it yet"),
        (replace(HEARD, keys=()), False, "node b does not tell its keys"),
        (replace(HEARD, believed=False), False, "node b is not heard"),
        (replace(HEARD, keys=("old", "new")), True, "node b seals with old still"),
        (replace(HEARD, name=NodeName("c")), False, "node b is not heard"),
    ],
)
def test_what_stands_against_a_step(
    ready: NodeStatistics, heard: HeardNode, says: str, *, dropping: bool
) -> None:
    keys = ("new", "old") if dropping else ("old", "new")
    [found] = objections(replace(ready, keys=keys, heard=(heard,)), dropping=dropping)
    assert found.startswith(says)


@pytest.mark.parametrize("dropping", [True, False])
def test_a_sidecar_that_has_not_read_the_file_is_not_ready(
    ready: NodeStatistics, *, dropping: bool
) -> None:
    heard = replace(HEARD, keys=("new", "old"))
    status = replace(ready, keys=("old",), heard=(heard,))
    [found] = objections(status, dropping=dropping)
    assert "systemctl reload ovpnha" in found
