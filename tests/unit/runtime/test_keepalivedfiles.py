"""keepalived's files, as they are read for init and for doctor."""

from __future__ import annotations

from pathlib import Path

from ovpnha.runtime.keepalivedfiles import FILES_LIMIT, KeepalivedReader


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_what_is_included_stands_in_its_place_once(tmp_path: Path) -> None:
    put(tmp_path, "etc/keepalived/keepalived.conf", "a\ninclude sub/*.conf\nz\n")
    put(tmp_path, "etc/keepalived/sub/2.conf", "two\ninclude ../keepalived.conf\n")
    put(tmp_path, "etc/keepalived/sub/1.conf", "one\ninclude 2.conf\n")
    reader = KeepalivedReader(lambda _error: None, tmp_path)
    assert list(reader.lines("/etc/keepalived/keepalived.conf")) == ["a", "one", "two", "z"]
    assert list(reader.texts)[1:] == [f"/etc/keepalived/sub/{one}.conf" for one in (1, 2)]


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    put(tmp_path, "k.conf", "include none\ninclude /srv/big\ninclude /srv/ok\n")
    put(tmp_path, "srv/big", "x" * (1 << 20) + "y")
    put(tmp_path, "srv/ok", "good\n")
    errors: list[OSError] = []
    reader = KeepalivedReader(errors.append, tmp_path)
    assert list(reader.lines("/k.conf")) == ["good"]
    assert [one.strerror for one in errors] == [
        "No such file or directory",
        "has more than 1 MiB",
    ]


def test_so_many_files_and_no_more(tmp_path: Path) -> None:
    put(tmp_path, "k.conf", "include many/*\n")
    for number in range(FILES_LIMIT + 5):
        put(tmp_path, f"many/{number:03}", f"line {number}\n")
    reader = KeepalivedReader(lambda _error: None, tmp_path)
    assert len(list(reader.lines("/k.conf"))) == FILES_LIMIT - 1
