"""What an OpenVPN server's configuration says, and what of it ``cluster`` will refuse.

Decides what ``ovpnha check-config`` says of that file before the server is restarted. OpenVPN has
the last word (``openvpn-patches/common/cluster_config.c``): this is the same list, read early.
Files that it includes are read too; options that come from elsewhere are not known here.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovpnha.config import Config, InstanceSection

DEFAULT_DIRECTORY = Path("/etc/openvpn/server")
QUESTIONS = (
    "management-client-auth",
    "management-hold",
    "management-query-passwords",
    "management-external-key",
    "management-external-cert",
)


@dataclass
class Server:
    """The options of one file: of each, the words of every line that has it."""

    path: Path
    options: dict[str, list[list[str]]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a line has this option."""
        return name in self.options

    def last(self, name: str) -> list[str]:
        """The words of the last line with this option; empty without one."""
        return self.options.get(name, [[]])[-1]

    def word(self, name: str) -> str:
        """The first word of that line."""
        return next(iter(self.last(name)), "")


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
        found = [*find_refusals(server), *find_contradictions(server, one)]
        if server.has("cluster"):
            problems += (f"{where}: {line}" for line in found)
        else:
            soon.append(f"{where}: does not say cluster yet; add it when the rest is done")
            soon += (f"{where}: before it says cluster, {line}" for line in found)
    return problems, soon


def read_server(path: Path) -> Server:
    """Read the file and what it includes; OSError when it cannot be read."""
    server = Server(path)
    _read_into(server, path, set())
    return server


def _read_into(server: Server, path: Path, seen: set[Path]) -> None:
    """A file that is read already is not read again: OpenVPN refuses circles."""
    seen.add(path)
    block = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip()
        if block:
            block = "" if text == f"</{block}>" else block
        elif match := re.fullmatch(r"<([a-z0-9-]+)>", text):
            block = match[1]
            server.options.setdefault(block, []).append(["[inline]"])
        elif words := _split(text):
            name, rest = words[0].removeprefix("--"), words[1:]
            server.options.setdefault(name, []).append(rest)
            if name == "config" and rest and path.parent / rest[0] not in seen:
                _read_into(server, path.parent / rest[0], seen)


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ";#"
    try:
        return list(lexer)
    except ValueError:  # a quote without end: OpenVPN will say so
        return text.split()


def find_refusals(server: Server) -> Iterator[str]:
    """What ``cluster`` refuses, one line each, with the fix."""
    for is_so, line in REFUSALS.items():
        if RULES[is_so](server):
            yield line


def find_contradictions(server: Server, one: InstanceSection) -> Iterator[str]:
    """What this file and ours do not agree on."""
    local = server.word("local")
    if one.vip is not None and _address(local) not in (None, one.vip):
        yield f"vip {one.vip} is not its local {local}; write the same address into both"
    path, kind, password = [*server.last("management"), "", "", ""][:3]
    if password:
        yield PROTECTED.format(file=password)
    if kind == "unix" and path.startswith("/") and Path(path) != one.management:
        yield f"management {one.management} is not its management {path}; write the same into both"


PROTECTED = (
    "management: remove the password file {file}: ovpnha has no password, and the socket lets in"
    " nobody but whom management-client-user and -group name"
)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_wildcard(server: Server) -> bool:
    address = _address(server.word("local"))
    return not server.has("local") or (address is not None and address.is_unspecified)


def _wrong_family(server: Server) -> bool:
    address, family = _address(server.word("local")), server.word("proto")[-1:]
    return address is not None and family in {"4", "6"} and family != str(address.version)


def _compresses(server: Server) -> bool:
    lzo, compress = server.last("comp-lzo"), server.word("compress")
    real_lzo = server.has("comp-lzo") and lzo[:1] != ["no"]
    real_compress = server.has("compress") and compress not in {"", "stub", "stub-v2", "migrate"}
    return real_lzo or real_compress or server.word("allow-compression") in {"yes", "asym"}


def _has_feedback_cipher(server: Server) -> bool:
    return bool(re.search(r"-(CFB|OFB)", server.word("data-ciphers").upper()))


RULES: Mapping[str, Callable[[Server], bool]] = {
    "tcp": lambda one: one.word("proto").startswith("tcp"),
    "tap": lambda one: (one.word("dev-type") or one.word("dev")).startswith("tap"),
    "wildcard": _is_wildcard,
    "family": lambda one: not _is_wildcard(one) and _wrong_family(one),
    "multihome": lambda one: one.has("multihome"),
    "fragment": lambda one: one.has("fragment"),
    "compression": _compresses,
    "replay": lambda one: one.has("no-replay"),
    "cipher": _has_feedback_cipher,
    "management": lambda one: (
        [line[1:2] for line in one.options.get("management", [])] != [["unix"]]
    ),
    "client": lambda one: one.has("management-client"),
    "questions": lambda one: any(one.has(name) for name in QUESTIONS),
    "token": lambda one: one.has("auth-gen-token") and not one.has("auth-gen-token-secret"),
    "dco": lambda one: not one.has("disable-dco"),
}

REFUSALS = {
    "tcp": "proto: TCP connections cannot be moved; use proto udp",
    "tap": "dev: MAC addresses cannot be moved; use dev tun",
    "wildcard": "local: names no address that can move; add local, with the virtual IP",
    "family": "proto: is for another address family than local; use udp4 for IPv4, udp6 for IPv6",
    "multihome": "multihome: remove it, local names the address",
    "fragment": "fragment: remove it, mssfix does without",
    "compression": "compression: remove allow-compression, and compress or comp-lzo unless it only"
    " sets the framing",
    "replay": "no-replay: remove it",
    "cipher": "data-ciphers: remove those in CFB and OFB mode",
    "management": "management: there must be one, of the form management PATH unix",
    "client": "management-client: remove it",
    "questions": "management-client-auth, -hold, -query-passwords and -external-…: remove them,"
    " ovpnha answers no questions",
    "token": "auth-gen-token: add auth-gen-token-secret, the same on all nodes",
    "dco": "disable-dco: add it, keys in the kernel cannot be moved",
}


def find_tunnels(server: Server) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks behind this server: of its clients, and those that it routes to them."""
    for name, mask in (("server", 1), ("route", 1), ("server-ipv6", 0), ("route-ipv6", 0)):
        for words in server.options.get(name, []):
            text = "/".join(words[: mask + 1]) if mask else next(iter(words), "")
            try:
                yield ipaddress.ip_network(text, strict=False)
            except ValueError:  # a name, or a keyword of OpenVPN's
                continue
