"""Reads an OpenVPN server's configuration, and what it includes, for ``ovpnha check-config``.

Decides which file belongs to an instance, and what is said of it before the server is restarted.
What ``cluster`` refuses is known to ``ovpnha.setup.refusals``; options that come from elsewhere
than these files are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovpnha.config import Config, InstanceSection
from ovpnha.setup.advice import find_removed
from ovpnha.setup.refusals import find_refusals, find_served, find_tunnels
from ovpnha.setup.server import Load, Server, parse_server
from ovpnha.setup.stock import find_tcp_port

__all__ = [
    "DEFAULT_DIRECTORY",
    "Server",
    "check_server_files",
    "find_contradictions",
    "find_refusals",
    "find_served",
    "find_server_file",
    "find_stock_problems",
    "find_tunnels",
    "read_server",
]

DEFAULT_DIRECTORY = Path("/etc/openvpn/server")


def find_server_file(one: InstanceSection) -> Path | None:
    """The file of this instance's OpenVPN, when it is known and there."""
    path = one.server_config or DEFAULT_DIRECTORY / f"{one.name}.conf"
    return path if one.server_config is not None or path.is_file() else None


def check_server_files(config: Config) -> tuple[list[str], list[str]]:
    """What is wrong with the servers' files, and what will be when they say ``cluster``."""
    problems: list[str] = []
    soon: list[str] = []
    for one in config.instance:
        path = find_server_file(one)
        if path is None:
            continue
        where = f"instance[{one.name}]: {path}"
        try:
            server = read_server(path)
        except OSError as error:
            soon.append(f"{where}: cannot be read: {error.strerror}")
            continue
        soon += (f"{where}: {line}" for line in find_removed(server))
        if not one.seamless:
            problems += (f"{where}: {line}" for line in find_stock_problems(server, one))
            continue
        found = [*find_refusals(server), *find_contradictions(server, one)]
        if server.has("cluster"):
            problems += (f"{where}: {line}" for line in found)
        else:
            soon.append(f"{where}: does not say cluster yet; add it when the rest is done")
            soon += (f"{where}: before it says cluster, {line}" for line in found)
    return problems, soon


def read_server(path: Path) -> Server:
    """Read the file and what it includes; OSError when it cannot be read."""
    return parse_server(path, read_text(path), include_once(path))


def read_text(path: Path) -> str:
    """The text of a file; what is no UTF-8 is no option either."""
    return path.read_bytes().decode("utf-8", errors="replace")


def include_once(path: Path) -> Load:
    """Reads what a file includes; what is read already is not read again, as OpenVPN refuses it."""
    seen = {path}

    def load(name: str) -> str | None:
        included = path.parent / name
        if included in seen:
            return None
        seen.add(included)
        return read_text(included)

    return load


def find_contradictions(server: Server, one: InstanceSection) -> Iterator[str]:
    """What this file and ours do not agree on."""
    served = set(find_served(server))
    if one.vip and served and served != set(one.vip):
        option = "cluster-address" if server.has("cluster-address") else "local"
        ours, theirs = (", ".join(sorted(map(str, each))) for each in (one.vip, served))
        yield f"vip {ours} is not its {option} {theirs}; write the same into both"
    path, kind, password = [*server.last("management"), "", "", ""][:3]
    if password:
        yield PROTECTED.format(file=password)
    if kind == "unix" and path.startswith("/") and Path(path) != one.management:
        yield f"management {one.management} is not its management {path}; write the same into both"


def find_stock_problems(server: Server, one: InstanceSection) -> Iterator[str]:
    """What is wrong with the file of an OpenVPN that is meant to run without ``cluster``."""
    if server.has("cluster"):
        yield "says cluster, and ovpnha.toml seamless = false; remove one of the two"
    yield from find_contradictions(server, one)
    given = server.last("ifconfig-pool-persist")
    if one.pool_file is not None and given != [str(one.pool_file), "0"]:
        said = f"ifconfig-pool-persist {' '.join(given)}" if given else "no ifconfig-pool-persist"
        yield f"has {said}; write ifconfig-pool-persist {one.pool_file} 0, or remove pool_file"
    port = find_tcp_port(server)
    if one.tcp_port not in (None, port):
        listens = f"listens at port {port} of TCP" if port else "does not listen over TCP"
        yield f"{listens}; write tcp_port accordingly, or remove it"


PROTECTED = (
    "management: remove the password file {file}: ovpnha has no password, and the socket lets in"
    " nobody but whom management-client-user and -group name"
)
