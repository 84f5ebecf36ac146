"""What one node gives to the others: its cluster key, configurations and the server's files.

Decides which files belong to a server, and their form in a sealed file. Programs that a server
starts are taken along only from below ``/etc/openvpn``; all others are told by name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ovpnha.errors import ConfigError
from ovpnha.setup.advice import SCRIPTS
from ovpnha.setup.host import NamedState
from ovpnha.setup.server import INLINE, Server

FILES = (
    "askpass",
    "auth-gen-token-secret",
    "ca",
    "capath",
    "cert",
    "client-config-dir",
    "config",
    "crl-verify",
    "dh",
    "extra-certs",
    "key",
    "pkcs12",
    "tls-auth",
    "tls-crypt",
    "tls-crypt-v2",
)
"""Options whose first word is a file, or a directory of files."""
NO_FILE = {INLINE, "none", "", "inline"}
WRITTEN = ("ifconfig-pool-persist", "log", "log-append", "status", "writepid")
"""Options whose first word is a file that OpenVPN writes: its directory must be there."""
ROOMS = ("tls-export-cert",)
"""Options whose first word is a directory that it writes to, below its ``chroot``."""
VOLATILE = ("/run/", "/var/run/", "/tmp/", "/dev/")  # noqa: S108
"""What a start of the host empties: whoever needs a directory there makes it at each."""
READ_LATER = {"client-config-dir", "crl-verify"}
"""Looked for below the server's ``chroot``."""
OWN_PROGRAMS = "/etc/openvpn/"


@dataclass(frozen=True)
class Reference:
    """A file or directory that a server's configuration names."""

    option: str
    path: str
    program: bool = False
    """Whether the server starts it: then it may be anywhere, and be told only."""
    argument: bool = False
    """Whether it is handed to such a program: then it may be no file, or not be there yet."""


@dataclass(frozen=True)
class BundleFile:
    """One file, as the first node has it."""

    path: str
    content: bytes
    state: NamedState
    secret: bool


@dataclass(frozen=True)
class BundleDirectory:
    """A directory that files of it are in, as the first node has it."""

    path: str
    state: NamedState


@dataclass(frozen=True)
class Bundle:
    """All of it."""

    node: str
    instance: str
    answers: Mapping[str, Any]
    """Of ``ovpnha.setup.answers``."""
    bcn_nodes: tuple[str, ...]
    bcn_network: str
    """The network of the BCN on the first node."""
    bcn_interface: str
    programs: tuple[str, ...]
    """What the server starts and is not taken along."""
    files: tuple[BundleFile, ...]
    directories: tuple[BundleDirectory, ...] = ()

    def text(self, path: str) -> str | None:
        """The text of a file; None when it is not in here."""
        found = (one.content for one in self.files if one.path == path)
        content = next(found, None)
        return None if content is None else content.decode("utf-8", errors="surrogateescape")


def find_references(server: Server, directory: str) -> Iterator[Reference]:
    """Everything that the server reads or starts; ``directory`` is where it is started."""
    where = _find_start(server, directory)
    inner = _find_chroot(server, where)
    seen: set[str] = set()
    for option in (*FILES, *SCRIPTS):
        for words in server.options.get(option, []):
            name = _first(option, words)
            path = str(inner / name.lstrip("/") if option in READ_LATER and inner else where / name)
            if name not in NO_FILE and path not in seen:
                seen.add(path)
                yield Reference(option, path, program=option in SCRIPTS)
            for one in _find_arguments(option, words):
                if one.path not in seen:
                    seen.add(one.path)
                    yield one


def find_lacking(
    server: Server, directory: str, exists: Callable[[str], bool]
) -> Iterator[Reference]:
    """Files without which this server does not start, and that are not there."""
    for one in find_references(server, directory):
        if not one.program and not exists(one.path):
            yield one


def find_places(server: Server, directory: str) -> Iterator[str]:
    """Directories that the server writes to, without which it does not start."""
    where = _find_start(server, directory)
    inner = _find_chroot(server, where)
    named = [where / PurePosixPath(one).parent for one in _names(server, WRITTEN)]
    if inner is not None:
        temporary = server.word("tmp-dir") or "tmp"
        named += [inner, *(inner / one.lstrip("/") for one in (temporary, *_names(server, ROOMS)))]
    else:
        named += [where / one for one in _names(server, (*ROOMS, "tmp-dir"))]
    yield from (str(one) for one in named if not f"{one}/".startswith(VOLATILE))


def _names(server: Server, options: Iterable[str]) -> Iterator[str]:
    """The first word of every line with one of these options."""
    for option in options:
        for words in server.options.get(option, []):
            yield from words[:1]


def _find_start(server: Server, directory: str) -> PurePosixPath:
    """The directory that names are relative to."""
    where = PurePosixPath(directory)
    for words in server.options.get("cd", []):
        where /= next(iter(words), "")
    return where


def _find_chroot(server: Server, where: PurePosixPath) -> PurePosixPath | None:
    """What is read later is read there; None without it."""
    name = server.word("chroot")
    return where / name if name else None


def _find_arguments(option: str, words: list[str]) -> Iterator[Reference]:
    """What may be files of a script's or plugin's own, its configuration above all."""
    if option in SCRIPTS:
        for word in " ".join(words).split()[1:]:
            if word.startswith("/"):
                yield Reference(option, word, program=True, argument=True)


def _first(option: str, words: list[str]) -> str:
    """A script may be one quoted word with its arguments."""
    first = next(iter(words), "")
    return first.split()[0] if option in SCRIPTS and first.split() else first


def is_carried(reference: Reference) -> bool:
    """Whether a file is taken along."""
    return not reference.program or reference.path.startswith(OWN_PROGRAMS)


def render_bundle(bundle: Bundle) -> bytes:
    """As it is sealed."""
    plain = {**vars(bundle), "answers": dict(bundle.answers)}
    plain["files"] = [
        {
            **vars(one),
            "content": base64.b64encode(one.content).decode(),
            "state": vars(one.state),
        }
        for one in bundle.files
    ]
    plain["directories"] = [
        {"path": one.path, "state": vars(one.state)} for one in bundle.directories
    ]
    return json.dumps(plain).encode()


def parse_bundle(data: bytes, source: str) -> Bundle:
    """Back from there; ConfigError when it is of another kind."""
    try:
        plain = json.loads(data)
        files = tuple(
            BundleFile(
                **{
                    **one,
                    "content": base64.b64decode(one["content"]),
                    "state": NamedState(**one["state"]),
                }
            )
            for one in plain["files"]
        )
        directories = tuple(
            BundleDirectory(one["path"], NamedState(**one["state"])) for one in plain["directories"]
        )
        lists = {name: tuple(plain[name]) for name in ("bcn_nodes", "programs")}
        return Bundle(**{**plain, **lists, "files": files, "directories": directories})
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{source}: was made by another release of ovpnha; use the same one on all nodes"
        ) from None
