"""Reads the machine for `ovpnha init`: addresses, routes, files, units; changes nothing.

Decides where to look. Everything is below one root directory, so that an image, or a test, can be
looked at as well; addresses, routes and running units are those of the running system only.
"""

from __future__ import annotations

import json
import socket
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from ovpnha.doctor.facts import UnitFacts, Unread
from ovpnha.errors import ConfigError
from ovpnha.runtime.disk import read_short, resolve_below
from ovpnha.runtime.hostunits import ask_units
from ovpnha.runtime.installation import decode
from ovpnha.runtime.keepalivedfiles import KeepalivedReader
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.programs import run_program
from ovpnha.setup.bundle import BundleFile
from ovpnha.setup.files import (
    CHECK_PATH,
    KEEPALIVED_PATH,
    KEY_PATH,
    NODE_PATH,
    PACKAGED_CHECK,
    TOML_PATH,
    KeepalivedFiles,
)
from ovpnha.setup.host import (
    VIP_MANAGER_FILES,
    DefaultRoute,
    Host,
    InterfaceAddress,
    NamedState,
)
from ovpnha.setup.proposal import LEGACY_DIRECTORY, SERVER_DIRECTORY, USER, ServerSource
from ovpnha.setup.server import Load, Server

OURS = (TOML_PATH, KEY_PATH, KEEPALIVED_PATH, NODE_PATH, CHECK_PATH)
CONFIGURATIONS = (
    "etc/keepalived/*.conf",
    "etc/keepalived/*/*.conf",
    "etc/network/interfaces",
    "etc/network/interfaces.d/*",
    "etc/systemd/network/*.network",
    "etc/systemd/network/*.network.d/*.conf",
    "etc/netplan/*.yaml",
    "etc/NetworkManager/system-connections/*",
)
PROGRAMS = (
    PACKAGED_CHECK,
    "/usr/sbin/keepalived",
    "/usr/lib/systemd/system/openvpn-cluster@.service",
    "/usr/lib/systemd/system/openvpn-beside@.service",
    "/etc/systemd/system/openvpn-beside@.service",
    "/usr/sbin/openvpn",
)
TEMPLATES = ("keepalived.conf", "node.conf", "check-grade")
"""In the wheel, in the source tree, or among the examples of the package."""
EXAMPLES = Path("/usr/share/doc/ovpnha/examples/keepalived")


@dataclass(frozen=True)
class HostReader:
    """Where to look."""

    root: Path
    table: NetworkTable = field(default_factory=NetworkTable)
    runs: bool = False
    """Whether it is the running system, whose routes and units can be asked for."""

    def read(
        self, more_files: Iterable[str], units: Iterable[str], programs: Iterable[str] = ()
    ) -> Host:
        """The host, with these files beside our own, which units run and what is installed."""
        files = dict(self._files(more_files))
        known = _ask_units(units) if self.runs else {}
        return Host(
            name=self._read_name(),
            addresses=tuple(self._addresses()),
            routes=tuple(self._routes()) if self.runs else (),
            files=files,
            states={path: self.named_state(self.at(path)) for path in files},
            written={path: int(self.at(path).stat().st_mtime) for path in files},
            linked=frozenset(one for one in files if self.at(one).stat().st_nlink > 1),
            manager_files=self._included(files),
            since={name: one.since for name, one in known.items() if one.since},
            closed=tuple(self._closed()),
            users=frozenset(row[0] for row in self._rows("passwd")),
            groups=frozenset(row[0] for row in self._rows("group")),
            enabled=frozenset(self._enabled()),
            masked=frozenset(self._masked()),
            active=frozenset(name for name, one in known.items() if one.runs),
            programs=frozenset(one for one in (*PROGRAMS, *programs) if self.exists(one)),
            has_user=self.find_user(USER) is not None,
        )

    def at(self, path: str) -> Path:
        """A path of the host, below our root."""
        return resolve_below(self.root, path)

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        try:
            return self.at(path).exists()
        except OSError:
            return False

    def source(self, path: str) -> ServerSource:
        """A server's file and what it includes; ConfigError when it cannot be read."""
        try:
            text = decode(read_short(self.at(path)))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        return ServerSource(path, text, lambda: self._load_once(path))

    def named(self, path: str) -> ServerSource:
        """That which somebody has named, by the path at which the unit reads it if it can."""
        source = self.source(path)
        names = [f"{one}/{source.name}.conf" for one in (SERVER_DIRECTORY, LEGACY_DIRECTORY)]
        same = [one for one in names if self.exists(one) and self.at(one) == self.at(path)]
        return self._unite([self.source(one) for one in same if path in same] or [source])

    def find_servers(self) -> Iterator[ServerSource]:
        """The servers' files in the directories of OpenVPN; one with two names is one."""
        found: dict[Path, list[ServerSource]] = {}
        for directory in (SERVER_DIRECTORY, LEGACY_DIRECTORY):
            for path in sorted(self.at(directory).glob("*.conf")):
                source = self.source(f"{directory}/{path.name}")
                if _is_server(source.read()):
                    found.setdefault(self.at(source.path), []).append(source)
        yield from map(self._unite, found.values())

    def _unite(self, names: list[ServerSource]) -> ServerSource:
        """The first name, with the unit of the one that the server is started by."""
        units = [one.stock_unit for one in names]
        if len(units) == 1:
            return names[0]
        enabled = {*self._enabled()}
        known = _ask_units(units) if self.runs else {}
        active = (name for name in units if name in known and known[name].runs)
        used = next(active, None) or next((one for one in units if one in enabled), "")
        return replace(names[0], unit=used)

    def named_state(self, place: Path) -> NamedState:
        """Mode and owner, by names."""
        status = place.stat()
        user = self._name("passwd", status.st_uid)
        return NamedState(stat.S_IMODE(status.st_mode), user, self._name("group", status.st_gid))

    def find_group(self, name: str) -> int | None:
        """Number of a group."""
        return next((int(row[2]) for row in self._rows("group") if row[0] == name), None)

    def _closed(self) -> Iterator[str]:
        """Where the sidecar's user cannot enter."""
        user, group = self.find_user(USER) or (-1, -1)
        for path in (str(Path(TOML_PATH).parent.parent), str(Path(TOML_PATH).parent)):
            try:
                found = self.at(path).stat()
            except OSError:
                continue
            bit = 0o100 if found.st_uid == user else 0o010 if found.st_gid == group else 0o001
            if not found.st_mode & bit:
                yield path

    def find_user(self, name: str) -> tuple[int, int] | None:
        """Numbers of a user and its group."""
        rows = (row for row in self._rows("passwd") if row[0] == name)
        return next(((int(row[2]), int(row[3])) for row in rows), None)

    def carry(self, path: str, *, secret: bool) -> list[BundleFile]:
        """A file, or the files of a directory, for a sealed file; ConfigError without it."""
        try:
            place = self.at(path)
            inner = sorted(place.iterdir()) if place.is_dir() else []
            names = [f"{path}/{one.name}" for one in inner] if place.is_dir() else [path]
            found = [one for one in names if one == path or self.at(one).is_file()]
            return [self._carry_one(one, secret) for one in found]
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None

    def _carry_one(self, name: str, secret: bool) -> BundleFile:
        place = self.at(name)
        content = place.read_bytes()
        hidden = secret or b"PRIVATE KEY" in content
        return BundleFile(name, content, self.named_state(place), hidden)

    def _name(self, file: str, number: int) -> str:
        """Empty for root, and for a number without a name."""
        name = next((row[0] for row in self._rows(file) if row[2] == str(number)), "")
        return "" if name == "root" else name

    def _rows(self, file: str) -> list[list[str]]:
        """Of ``passwd`` or ``group``."""
        try:
            text = self.at(f"/etc/{file}").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [row for line in text.split("\n") if len(row := line.split(":")) > 3]

    def _read_name(self) -> str:
        """An image has its own."""
        try:
            name = "" if self.runs else self.at("/etc/hostname").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            name = ""
        return (name or socket.gethostname()).partition(".")[0]

    def _load_once(self, path: str) -> Load:
        seen = {path}
        directory = PurePosixPath(path).parent

        def load(name: str) -> str | None:
            included = str(directory / name)
            if included in seen:
                return None
            seen.add(included)
            try:
                return decode(read_short(self.at(included)))
            except OSError as error:
                text = f"{path}: includes {name}, which cannot be read: {error.strerror}"
                raise ConfigError(text) from None

        return load

    def _addresses(self) -> Iterator[InterfaceAddress]:
        for one in self.table.addresses():
            link = self.table.link_by_index(one.index)
            if link is not None:
                yield InterfaceAddress(link.name, one.place)

    def _routes(self) -> Iterator[DefaultRoute]:
        for version in (4, 6):
            for one in _ask_ip(f"-{version}", "route", "show", "default"):
                yield DefaultRoute(
                    one.get("dev", ""), one.get("gateway", ""), one.get("prefsrc", ""), version
                )

    def _files(self, more: Iterable[str]) -> Iterator[tuple[str, str]]:
        found = (one for each in CONFIGURATIONS for one in sorted(self.root.glob(each)))
        paths = (f"/{one.relative_to(self.root)}" for one in found)
        for path in dict.fromkeys((*OURS, *more, *paths)):
            try:
                yield path, decode(self.at(path).read_bytes())
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None

    def _included(self, files: Mapping[str, str]) -> Mapping[str, str]:
        """What keepalived's files include from elsewhere; what cannot be read is nothing."""
        reader = KeepalivedReader(lambda _error: None, self.root)
        for path in files:
            if path.startswith(VIP_MANAGER_FILES):
                deque(reader.lines(path), maxlen=0)
        return {path: text for path, text in reader.texts.items() if path not in files}

    def _enabled(self) -> Iterator[str]:
        for one in self.at("/etc/systemd/system").glob("*.wants/*.service"):
            yield one.name

    def _masked(self) -> Iterator[str]:
        for one in self.at("/etc/systemd/system").glob("*.service"):
            if one.is_symlink() and one.readlink() == Path("/dev/null"):
                yield one.name


def _is_server(server: Server) -> bool:
    options = ("server", "server-ipv6", "server-bridge")
    return any(map(server.has, options)) or server.word("mode") == "server"


def _ask_units(names: Iterable[str]) -> Mapping[str, UnitFacts]:
    """Those of the running system; none where systemd does not answer."""
    found = ask_units(names)
    return {} if isinstance(found, Unread) else found


def _ask_ip(*words: str) -> list[dict[str, Any]]:
    text, _ = run_program("ip", "-json", *words)
    try:
        return list(json.loads(text or "[]"))
    except ValueError:
        return []


def read_templates() -> KeepalivedFiles:
    """The files of keepalived as we ship them: see ``TEMPLATES``."""
    package = Path(str(files("ovpnha")))
    for place in (package / "data/keepalived", package.parent / "deploy/keepalived", EXAMPLES):
        if all((place / name).is_file() for name in TEMPLATES):
            return KeepalivedFiles(*((place / name).read_text() for name in TEMPLATES))
    raise ConfigError("keepalived's templates are not installed; install ovpnha again")
