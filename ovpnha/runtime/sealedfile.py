"""Reads and writes the sealed file, and asks for its passphrase.

Decides where a passphrase may come from: the terminal, or a file that nobody else may read. Never
from an argument, which every user of the host could see.
"""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from pathlib import Path

from ovpnha.errors import ConfigError
from ovpnha.runtime.disk import Disk
from ovpnha.setup.sealed import (
    FILE_LIMIT,
    MAGIC,
    NONCE_SIZE,
    SALT_SIZE,
    check_passphrase,
    open_untrusted,
    seal,
)

PRIVATE = 0o600


def read_passphrase(file: Path | None, *, twice: bool) -> str:
    """From this file's first line, or from the terminal; ``twice`` where it is a new one."""
    if file is not None:
        return check_passphrase(_read_line(file), str(file))
    if not sys.stdin.isatty():
        raise ConfigError(
            "--passphrase-file: is needed, as there is no terminal to ask at; name a file of mode"
            " 0600"
        )
    text = getpass.getpass("Passphrase of the sealed file: ")
    if twice and getpass.getpass("The same again: ") != text:
        raise ConfigError("the two passphrases differ; nothing was sealed")
    return check_passphrase(text, "passphrase")


def _read_line(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file}: others may open it; run: chmod 600 {file}")
        return file.read_text(encoding="utf-8").split("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None


def check_place(file: Path) -> None:
    """ConfigError, when a sealed file cannot be written there."""
    try:
        if file.exists() and not file.read_bytes().startswith(MAGIC):
            raise ConfigError(f"{file}: is there already and no sealed file; name another")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"{file}: cannot be written: there is no such directory")
    if not os.access(file.absolute().parent, os.W_OK):
        raise ConfigError(f"{file}: cannot be written: nobody here may write to that directory")


def write_sealed(file: Path, payload: bytes, passphrase: str) -> None:
    """Seal it; an earlier sealed file is replaced, and no other one."""
    salt, nonce = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(NONCE_SIZE)
    sealed = seal(payload, passphrase, salt, nonce)
    check_place(file)
    try:
        Disk().put(file, sealed, PRIVATE, (os.geteuid(), os.getegid()))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


def read_sealed(file: Path, passphrase: str) -> bytes:
    """What is in it."""
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    return open_untrusted(data, passphrase, str(file))
