from __future__ import annotations

import base64
import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from ovpnha.errors import ConfigError
from ovpnha.runtime.keyfile import KEYS_LIMIT, add_key, create_key_file, read_keys

KEY_A, KEY_B = bytes(range(32)), bytes(range(32, 64))
KEYS = "".join(sha256(bytes([number])).hexdigest() + "\n" for number in range(KEYS_LIMIT + 1))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_fresh_key_is_private_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    create_key_file(path)
    (key,) = read_keys(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_key_file(tmp_path / "cluster.key")
    finally:
        os.umask(before)
    assert (tmp_path / "cluster.key").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "cluster.key", KEY_A.hex())
    with pytest.raises(ConfigError, match="not overwritten; add a key with --add"):
        create_key_file(path)
    assert read_keys(path) == (KEY_A,)


def test_a_missing_directory_is_told_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"; run: mkdir -p {tmp_path}/none$"):
        create_key_file(tmp_path / "none" / "cluster.key")


def test_an_added_key_comes_last(tmp_path: Path) -> None:
    path = write(tmp_path / "cluster.key", KEY_A.hex())  # no newline at the end
    assert add_key(path) == 2
    keys = read_keys(path)
    assert keys[0] == KEY_A
    assert len(keys) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_both_spellings_comments_and_blank_lines(tmp_path: Path) -> None:
    text = f"# first\n{KEY_A.hex().upper()}\n\n  {base64.b64encode(KEY_B).decode()}  \n"
    assert read_keys(write(tmp_path / "k", text)) == (KEY_A, KEY_B)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o611])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "k", KEY_A.hex(), mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}\); run: chmod 600 {path}"):
        read_keys(path)


def test_a_file_of_another_user_is_refused_but_not_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    path = write(tmp_path / "k", KEY_A.hex())
    os.chown(path, 12345, -1)
    assert read_keys(path) == (KEY_A,)
    monkeypatch.setattr(os, "geteuid", lambda: 12346)
    with pytest.raises(ConfigError, match="belongs to another user; run: chown"):
        read_keys(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make it once with: ovpnha keygen"):
        read_keys(tmp_path / "none")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        read_keys(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# only a comment\n", "has no key"),
        (KEY_A.hex()[:-2], "line 1"),
        (f"{KEY_A.hex()}\n{KEY_B.hex()}00", "line 2"),
        ("secret secret", "line 1 is neither hexadecimal nor base64"),
        (base64.b64encode(KEY_A[:31]).decode(), "has 31 bytes, 32 are needed"),
        (f"{KEY_A.hex()}\n{KEY_A.hex()}\n", "the same key twice"),
        (KEYS, "more than 16 keys"),
        (KEY_A.hex() + "00", "has 33 bytes, 32 are needed"),
        (KEY_A.hex()[:-1], "has 63 hexadecimal digits, 64 are needed"),
        ("00" * 32, "the key on line 1 is not random"),
        ("\x00" * 20000, "is no key file"),
        ("ß", "is no key file"),
    ],
)
def test_a_bad_file_is_told_without_its_content(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path / "k", text)
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    for word in text.split():
        assert word.strip("#") == "" or len(word) < 8 or word not in message


def test_a_disk_that_fails_is_told_like_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a reload the old keys stay then."""
    path = tmp_path / "key"
    create_key_file(path)

    def fail(_descriptor: int, _size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(ConfigError, match="cannot be read: Input/output error"):
        read_keys(path)
