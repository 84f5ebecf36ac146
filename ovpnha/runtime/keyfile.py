"""Reads and makes the file with the cluster keys.

Decides which file may be trusted: a regular file of this user or root that nobody else can open.
Root may read the file of the user who runs the sidecar, to check it or to add a key.
Must never let a key, or a part of one, into an exception, a log or a return value's ``repr``.
The first key seals, all open: that is how keys rotate without an outage (docs/operations.md).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ovpnha.errors import ConfigError
from ovpnha.runtime.replacing import replace_file

KEY_SIZE = 32
KEYS_LIMIT = 16
FILE_LIMIT = 16 * 1024
DISTINCT_BYTES = 8
"""A key with fewer different bytes was typed: one in 10^36 random ones has so few."""
HEADER = "# ovpnha cluster keys: the first seals, all open. Keep this file secret, mode 0600.\n"
WAITING = "# The next key is not in use yet: ovpnha keygen --use-newest"
IN_USE = "# The newest key is in use; the others go with: ovpnha keygen --drop-old"


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of the file, 32 bytes each, in its order.

    Raises:
        ConfigError: One line that names the file, the line number and the fix; never its content.
    """
    return parse_keys(read_private(path), path)


def parse_keys(text: str, path: Path) -> tuple[bytes, ...]:
    """The keys of such a text; ConfigError as above."""
    keys = tuple(
        _decode(line.strip(), path, number)
        for number, line in enumerate(text.splitlines(), start=1)
        if is_key_line(line)
    )
    if not keys:
        raise ConfigError(f"{path}: has no key; make one with: ovpnha keygen {path}")
    if len(keys) > KEYS_LIMIT:
        raise ConfigError(f"{path}: has more than {KEYS_LIMIT} keys; remove the old ones")
    if len(set(keys)) != len(keys):
        raise ConfigError(f"{path}: has the same key twice; remove one of the lines")
    return keys


def derive_key(cluster_key: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for another purpose, which does not tell the cluster key."""
    hkdf = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=purpose.encode())
    return hkdf.derive(cluster_key)


def create_key_file(path: Path) -> None:
    """Write a new file with one fresh key, mode 0600; refuses to touch an existing one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path}: exists and is not overwritten; add a key with --add, or remove it first"
        ) from None
    except OSError as error:
        hint = f"; run: mkdir -p {path.parent}" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{path}: cannot be made: {error.strerror}{hint}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)
        file.write(make_key_text())
        file.flush()
        os.fsync(descriptor)


def make_key_text() -> str:
    """The content of a new file, with one fresh key."""
    return HEADER + _fresh_line()


def add_key(path: Path) -> int:
    """Append a fresh key as the last one of the file; returns how many keys it has then."""
    count = len(read_keys(path)) + 1
    if count > KEYS_LIMIT:
        raise ConfigError(f"{path}: has {KEYS_LIMIT} keys already; remove the old ones first")
    text = read_private(path)
    lines = [line for line in text.splitlines() if line != WAITING]
    replace_file(path, "".join(f"{line}\n" for line in (*lines, WAITING)) + _fresh_line())
    return count


def is_key_line(line: str) -> bool:
    """Whether a line of such a file has a key, or should have one."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _fresh_line() -> str:
    return secrets.token_bytes(KEY_SIZE).hex() + "\n"


def read_private(path: Path) -> str:
    """The text of a file that nobody else may open; ConfigError as above."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no key file; make it once with: ovpnha keygen {path}"
            " and copy it to the other nodes over a secure channel"
        ) from None
    except OSError as error:
        hint = f"; run: chown {_user()} {path}" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{path}: cannot be read: {error.strerror}{hint}") from None
    try:
        _check_private(os.fstat(descriptor), path)
        data = os.read(descriptor, FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > FILE_LIMIT or not data.isascii():
        raise ConfigError(f"{path}: is no key file; make one with: ovpnha keygen FILE")
    return data.decode("ascii")


def _check_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: is not a regular file; name the key file itself")
    if os.geteuid() != 0 and status.st_uid not in {0, os.geteuid()}:
        raise ConfigError(f"{path}: belongs to another user; run: chown {_user()} {path}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path}: others may open it (mode {mode:04o}); run: chmod 600 {path}")


def _user() -> str:
    return str(os.geteuid())


def _decode(text: str, path: Path, number: int) -> bytes:
    """One line as hexadecimal or base64. The error tells its length, never its content."""
    key: bytes | None = None
    is_hex = re.fullmatch("[0-9A-Fa-f]+", text) is not None
    if is_hex and len(text) % 2:
        raise ConfigError(
            f"{path}: the key on line {number} has {len(text)} hexadecimal digits,"
            f" {2 * KEY_SIZE} are needed; make one with: ovpnha keygen"
        )
    try:
        key = bytes.fromhex(text) if is_hex else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = None
    if key is None:
        raise ConfigError(f"{path}: line {number} is neither hexadecimal nor base64; correct it")
    if len(key) != KEY_SIZE:
        raise ConfigError(
            f"{path}: the key on line {number} has {len(key)} bytes, {KEY_SIZE} are needed;"
            " make one with: ovpnha keygen"
        )
    if len(set(key)) < DISTINCT_BYTES:
        raise ConfigError(
            f"{path}: the key on line {number} is not random; make one with: ovpnha keygen"
        )
    return key
