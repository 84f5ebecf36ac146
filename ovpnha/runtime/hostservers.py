"""The OpenVPN servers of this host: their files, processes and management sockets.

Decides which files are servers: those of the instances, and what lies where Debian looks for
configurations. Never connects to a management socket, which takes one client at a time.
"""

from __future__ import annotations

import pwd
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovpnha.config import Config, InstanceSection
from ovpnha.doctor.facts import ServerFacts, SocketFacts, UnitFacts, Unread
from ovpnha.machines import Process, SparePolicy
from ovpnha.runtime.hostaccess import ask_access
from ovpnha.runtime.hostcertificates import read_certificates
from ovpnha.runtime.hostprocesses import (
    find_option,
    list_processes,
    read_command,
    read_directory,
    read_process,
)
from ovpnha.runtime.hostunits import Units
from ovpnha.runtime.programs import run_program
from ovpnha.runtime.serverfile import DEFAULT_DIRECTORY, Server, find_server_file, read_server

OLD_DIRECTORY = Path("/etc/openvpn")
STOCK_UNITS = {DEFAULT_DIRECTORY: "openvpn-server@", OLD_DIRECTORY: "openvpn@"}
BESIDE_UNIT = "openvpn-beside@"
SIDECAR_USER = "ovpnha"
PROGRAMS = ("openvpn", "openvpn-cluster")
KEY_OPTIONS = ("key", "pkcs12", "tls-auth", "tls-crypt", "tls-crypt-v2", "auth-gen-token-secret")
SERVING = ("server", "server-ipv6", "server-bridge", "cluster")


@dataclass(frozen=True)
class ServerFile:
    """One file that may be a server's, and the instance that it belongs to."""

    path: Path
    instance: InstanceSection | None = None
    spare: SparePolicy = SparePolicy.NEVER

    @property
    def our_unit(self) -> str:
        """The unit that ovpnha has for it; "" for a file that no unit reads."""
        beside = self.instance is not None and not self.instance.seamless
        prefix = BESIDE_UNIT if beside else Process.MAIN.unit
        return self._unit(prefix if self.path.parent == DEFAULT_DIRECTORY else "")

    @property
    def spare_unit(self) -> str:
        """The unit of the second process for it."""
        return self._unit(Process.SPARE.unit if self.path.parent == DEFAULT_DIRECTORY else "")

    @property
    def stock_unit(self) -> str:
        """Debian's unit for it."""
        return self._unit(STOCK_UNITS.get(self.path.parent, ""))

    def _unit(self, prefix: str) -> str:
        return f"{prefix}{self.path.stem}.service" if prefix else ""


@dataclass(frozen=True)
class SidecarUser:
    """Whom the sidecar runs as; ``number`` is None when there is no such user."""

    number: int | None
    pid: int = 0
    """Of the sidecar that runs; 0 when none does."""


def list_server_files(config: Config | None) -> tuple[ServerFile, ...]:
    """The instances' files, then what else lies where Debian looks."""
    instances = config.instance if config is not None else ()
    named = {path: one for one in instances if (path := find_server_file(one)) is not None}
    found = [ServerFile(path, one, _policy(config, one)) for path, one in named.items()]
    for directory in STOCK_UNITS:
        found += (ServerFile(path) for path in _list(directory) if path not in named)
    return tuple(found)


def _policy(config: Config | None, one: InstanceSection) -> SparePolicy:
    return config.spare_of(one) if config is not None else SparePolicy.NEVER


def _list(directory: Path) -> list[Path]:
    try:
        return sorted(directory.glob("*.conf"))
    except OSError:
        return []


def read_servers(
    files: tuple[ServerFile, ...], units: Units, user: SidecarUser, within: float
) -> Iterator[ServerFacts | Unread]:
    """What is known of each; files that are no server's are left out."""
    sockets = read_connections(within)
    for file in files:
        try:
            server = read_server(file.path)
        except OSError as error:
            yield Unread(f"{file.path}: {error.strerror}; run as root")
            continue
        if file.instance is not None or any(map(server.has, SERVING)):
            yield _read_server(file, server, units, user, sockets)


def _read_server(
    file: ServerFile,
    server: Server,
    units: Units,
    user: SidecarUser,
    sockets: tuple[str, ...] | Unread,
) -> ServerFacts:
    ours, stock = units.get(file.our_unit), units.get(file.stock_unit)
    pid, spare_unit = _find_process(file, ours, stock), units.get(file.spare_unit)
    spare_pid = spare_unit.pid if isinstance(spare_unit, UnitFacts) else 0
    one = file.instance

    def read_socket(path: Path | None, pid: int) -> SocketFacts | None:
        return _read_socket(path, pid, user, sockets) if path is not None else None

    return ServerFacts(
        name=file.path.stem,
        path=str(file.path),
        instance=file.instance.name if file.instance is not None else "",
        cluster=server.has("cluster"),
        local=server.word("local"),
        tcp=server.word("proto").startswith("tcp"),
        user=server.word("user"),
        pool_file=_find_pool_file(server),
        locks_memory=server.has("mlock"),
        guarded=server.has("management-client-user") or server.has("management-client-group"),
        management_user=server.word("management-client-user"),
        unit=ours,
        stock_unit=stock,
        process=read_process(pid) if pid else None,
        socket=read_socket(one.management if one is not None else None, pid),
        certificates=tuple(read_certificates(server)),
        open_keys=tuple(_open_keys(server)),
        spare=file.spare,
        shares=server.has("cluster-spare"),
        spare_unit=spare_unit,
        spare_process=read_process(spare_pid) if spare_pid else None,
        spare_socket=read_socket(one.spare_socket if one is not None else None, spare_pid),
    )


def _find_pool_file(server: Server) -> str:
    """The file that this server writes: with 0 seconds it writes none."""
    path, seconds = [*server.last("ifconfig-pool-persist"), "", ""][:2]
    return "" if seconds == "0" else path


def _open_keys(server: Server) -> Iterator[str]:
    """Files with keys that more than their owner may read; a group of their own may."""
    for option in KEY_OPTIONS:
        path = server.path.parent / server.word("cd") / server.word(option)
        try:
            if option not in server.inline and path.is_file() and path.stat().st_mode & 0o007:
                yield str(path)
        except OSError:
            continue


def _find_process(file: ServerFile, *units: UnitFacts | Unread | None) -> int:
    """Its process id: as systemd has it, as the sidecar knows it, or by its command line."""
    for unit in units:
        if isinstance(unit, UnitFacts) and unit.pid:
            return unit.pid
    track = file.instance.track_file if file.instance is not None else None
    if track is not None and (pid := _vouched(track)):
        return pid
    for name in PROGRAMS:
        for one in list_processes(name):
            if _reads(one, file.path):
                return one
    return 0


def _vouched(track: Path) -> int:
    try:
        word = next(iter(track.with_name(f"{track.name}.openvpn").read_text().split()), "")
    except OSError:
        return 0
    return int(word) if word.isdigit() and Path(f"/proc/{word}").is_dir() else 0


def _reads(pid: int, path: Path) -> bool:
    """Whether this file is in the command line of a process."""
    words = read_command(pid)
    base = (read_directory(pid) or Path("/")) / find_option(words, "--cd")
    used = find_option(words, "--config") or (words[1] if len(words) == 2 else "")
    return bool(used) and (base / used).resolve() == path.resolve()


def find_sidecar_user(pid: int, uid: int | None) -> SidecarUser:
    """Whom the sidecar runs as, or would run as."""
    if uid is not None:
        return SidecarUser(uid, pid)
    try:
        return SidecarUser(pwd.getpwnam(SIDECAR_USER).pw_uid)
    except KeyError:
        return SidecarUser(None)


# The management socket.


def _read_socket(
    path: Path, pid: int, user: SidecarUser, sockets: tuple[str, ...] | Unread
) -> SocketFacts:
    try:
        mode: int | None = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return SocketFacts(str(path))
    except OSError:
        mode = None
    return SocketFacts(
        path=str(path),
        mode=mode,
        reachable=_may_open(path, user),
        strangers=find_strangers(sockets, str(path), {user.pid, pid}),
    )


def _may_open(path: Path, user: SidecarUser) -> bool | Unread:
    """Whether the sidecar's user may."""
    if user.number in (None, 0):
        return True
    found = ask_access(user.number, [("w", path)])
    return found if isinstance(found, Unread) else found[0]


def read_connections(within: float) -> tuple[str, ...] | Unread:
    """All unix sockets of this host, as ``ss`` lists them with their users."""
    said, problem = run_program("ss", "--no-header", "-xap", within=within)
    return Unread(problem) if problem else tuple(said.splitlines())


def find_strangers(
    lines: tuple[str, ...] | Unread, path: str, known: set[int]
) -> tuple[str, ...] | Unread:
    """Programs at the far end of connections to a socket, but for those that are known."""
    if isinstance(lines, Unread):
        return lines
    rows = [words for line in lines if len(words := line.split()) >= 8]
    names = {path, Path(path).name}  # as OpenVPN's file names it
    peers = {words[7] for words in rows if words[1] == "ESTAB" and words[4] in names}
    ends = [words for words in rows if words[5] in peers and words[4] not in names]
    if ends and not any("users:" in words[-1] for words in ends):
        return Unread("only root sees who is connected; run as root")
    hidden = peers - {words[5] for words in ends} - {"0"}
    users = {found for words in ends for found in re.findall(r'"([^"]+)",pid=(\d+)', words[-1])}
    strangers = sorted((name, pid) for name, pid in users if int(pid) not in known)
    named = [f"{name} (pid {pid})" for name, pid in strangers]
    return (*named, *(["a program in another network namespace"] if hidden else []))
