"""One file for the other nodes, which nobody reads without the passphrase.

Decides the format: a clear header (version, cost of scrypt, salt, nonce), then everything else
under ChaCha20-Poly1305 with the header as associated data, so that a header that was changed is
noticed as well. What is in the header is hostile until then: its cost is bounded before any memory
is taken. Randomness is an argument.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import le

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ovpnha.errors import ConfigError

MAGIC = b"OVPNHA-SEALED-"
VERSION = b"1\n"
COST = (16, 8, 1)
"""Of scrypt: the logarithm of its N, r and p; takes 64 MiB and a quarter of a second."""
COST_LIMIT = (20, 16, 4)
SALT_SIZE = 16
NONCE_SIZE = 12
KEY_SIZE = 32
FILE_LIMIT = 64 * 1024 * 1024
PASSPHRASE_LEAST = 8

_HEADER = struct.Struct(f"!{len(MAGIC)}s{len(VERSION)}s3B{SALT_SIZE}s{NONCE_SIZE}s")


def check_passphrase(text: str, source: str) -> str:
    """A passphrase that may be used; ConfigError when it is too short to protect anything."""
    if len(text) < PASSPHRASE_LEAST:
        raise ConfigError(f"{source}: a passphrase has at least {PASSPHRASE_LEAST} characters")
    return text


def seal(payload: bytes, passphrase: str, salt: bytes, nonce: bytes) -> bytes:
    """The content of a sealed file."""
    header = _HEADER.pack(MAGIC, VERSION, *COST, salt, nonce)
    return header + _cipher(passphrase, salt, COST).encrypt(nonce, payload, header)


def open_untrusted(data: bytes, passphrase: str, source: str) -> bytes:
    """What was sealed; ConfigError, one line, when it cannot be opened."""
    if len(data) > FILE_LIMIT or not data.startswith(MAGIC):
        raise ConfigError(f"{source}: is no sealed file of ovpnha; make one: ovpnha init --export")
    if data[len(MAGIC) :][: len(VERSION)] != VERSION:
        raise ConfigError(f"{source}: was sealed by another release of ovpnha; use the same one")
    if len(data) < _HEADER.size:
        raise ConfigError(f"{source}: {NOT_OPENED}")
    header = data[: _HEADER.size]
    _, _, *cost, salt, nonce = _HEADER.unpack(header)
    if not is_bearable(cost):
        raise ConfigError(f"{source}: {NOT_OPENED}")
    try:
        cipher = _cipher(passphrase, salt, (cost[0], cost[1], cost[2]))
        return cipher.decrypt(nonce, data[_HEADER.size :], header)
    except (InvalidTag, MemoryError):  # a cost that scrypt or this host cannot bear
        raise ConfigError(f"{source}: {NOT_OPENED}") from None


def is_bearable(cost: Sequence[int]) -> bool:
    """Whether a cost that a header names may be spent: memory grows with it."""
    return all(map(le, cost, COST_LIMIT)) and all(cost)


NOT_OPENED = (
    "cannot be opened: the passphrase is another one, or the file is damaged; copy it again, or"
    " make it anew"
)


def _cipher(passphrase: str, salt: bytes, cost: tuple[int, int, int]) -> ChaCha20Poly1305:
    logarithm, block, parallel = cost
    scrypt = Scrypt(salt=salt, length=KEY_SIZE, n=1 << logarithm, r=block, p=parallel)
    return ChaCha20Poly1305(scrypt.derive(passphrase.encode()))
