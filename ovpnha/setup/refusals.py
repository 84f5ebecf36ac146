"""What of a server's configuration ``cluster`` refuses, and what to do about it.

Decides what is told before a server is restarted. OpenVPN has the last word
(``openvpn-patches/common/cluster_config.c``): this is the same list, read early.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ovpnha.config.values import IpAddress
from ovpnha.setup.server import Server

QUESTIONS = (
    "management-client-auth",
    "management-hold",
    "management-query-passwords",
    "management-external-key",
    "management-external-cert",
)


MACS_MAX = 1024
"""The most MAC addresses of a client that a record has."""

ROUTES_PER_CLIENT = 256
"""OpenVPN's own limit, where the configuration names none."""


def find_refusals(server: Server) -> Iterator[str]:
    """What ``cluster`` refuses, one line each, with the fix."""
    yield from (REFUSALS[name] for name in find_refused(server))


def find_refused(server: Server) -> Iterator[str]:
    """The same as keys of ``REFUSALS``."""
    yield from (name for name in REFUSALS if RULES[name](server))


def read_address(text: str) -> IpAddress | None:
    """An address; None for a host's name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def find_tunnels(server: Server) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks behind this server: of its clients, and those that it routes to them.

    ``ifconfig`` stands there where somebody wrote line by line what ``server`` does.
    """
    for name in ("server", "ifconfig", "route", "server-ipv6", "ifconfig-ipv6", "route-ipv6"):
        for words in server.options.get(name, []):
            used = words[:1] if name.endswith("-ipv6") else words[:2]
            with contextlib.suppress(ValueError):  # a name, or a keyword of OpenVPN's
                yield ipaddress.ip_network("/".join(used), strict=False)


def find_served(server: Server) -> Iterator[IpAddress]:
    """The addresses that the nodes share, as far as they are written as such."""
    names = [server.word("local")]
    if is_wildcard(server):
        names = [word for line in server.options.get("cluster-address", []) for word in line[:1]]
    yield from (address for one in names if (address := read_address(one)) is not None)


def is_wildcard(server: Server) -> bool:
    """Whether its socket takes what comes for any address."""
    address = read_address(server.word("local"))
    return not server.has("local") or (address is not None and address.is_unspecified)


def serves_any(server: Server) -> bool:
    """Whether that is meant: clients use several of its addresses, or both families."""
    named = server.has("multihome") or server.has("cluster-address")
    both = server.word("proto") in {"udp6", "tcp6", "tcp6-server"}
    return is_wildcard(server) and (named or both)


FAMILY = re.compile("[46]")


def is_wrong_family(server: Server) -> bool:
    """Whether ``proto`` is for the other family than the address in ``local``."""
    address, family = read_address(server.word("local")), FAMILY.search(server.word("proto"))
    return address is not None and family is not None and family[0] != str(address.version)


def _takes_no_ipv6(server: Server) -> bool:
    """Whether a socket for any address takes IPv4 only, and is to serve an IPv6 one."""
    served = any(one.version == 6 for one in find_served(server))
    return is_wildcard(server) and served and server.word("proto") != "udp6"


def _takes_no_ipv4(server: Server) -> bool:
    served = any(one.version == 4 for one in find_served(server))
    return is_wildcard(server) and served and server.last("bind") == ["ipv6only"]


def _is_unshared(words: Sequence[str]) -> bool:
    """As OpenVPN has it: no host has it, or each one of its own."""
    address = read_address(" ".join(words))
    return address is None or address.is_loopback or address.is_multicast or not _is_host(address)


def _is_host(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        return not (address.is_unspecified or address.is_link_local)
    return address.packed[0] != 0 and address.packed[0] < 240


def is_tap(server: Server) -> bool:
    """Whether its clients are on an Ethernet."""
    return (server.word("dev-type") or server.word("dev")).startswith("tap")


def _routes_per_client(server: Server) -> int:
    try:
        return int(server.word("max-routes-per-client"))
    except ValueError:  # none, or no number: OpenVPN says so itself
        return ROUTES_PER_CLIENT


def _has_feedback_cipher(server: Server) -> bool:
    return bool(re.search(r"-(CFB|OFB)", server.word("data-ciphers").upper()))


RULES: Mapping[str, Callable[[Server], bool]] = {
    "tcp": lambda one: one.word("proto").startswith("tcp"),
    "macs": lambda one: is_tap(one) and _routes_per_client(one) > MACS_MAX,
    "wildcard": lambda one: is_wildcard(one) and not one.has("cluster-address"),
    "address": lambda one: any(
        _is_unshared(line) for line in one.options.get("cluster-address", [])
    ),
    "both": lambda one: not is_wildcard(one) and one.has("cluster-address"),
    "family": lambda one: not is_wildcard(one) and is_wrong_family(one),
    "ipv6": _takes_no_ipv6,
    "ipv4": _takes_no_ipv4,
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
    "tcp": "proto: TCP connections cannot be moved; use proto udp, or leave this server as it is,"
    " with seamless = false in ovpnha.toml",
    "macs": f"max-routes-per-client: with dev tap at most {MACS_MAX} addresses of a client move;"
    " lower it",
    "wildcard": "local: names no address that can move; add local, with the virtual IP, or"
    " cluster-address for each of several",
    "address": "cluster-address: names no address that nodes can share; give one of IPv4 or IPv6",
    "both": "cluster-address: is for a server without local; remove one of them",
    "family": "proto: is for another address family than local; use udp4 for IPv4, udp6 for IPv6",
    "ipv6": "cluster-address: an IPv6 address needs proto udp6, which takes IPv4, too",
    "ipv4": "cluster-address: an IPv4 address cannot be had with bind ipv6only; remove that",
    "replay": "no-replay: remove it",
    "cipher": "data-ciphers: remove those in CFB and OFB mode",
    "management": "management: there must be one, of the form management PATH unix",
    "client": "management-client: remove it",
    "questions": "management-client-auth, -hold, -query-passwords and -external-…: remove them,"
    " ovpnha answers no questions",
    "token": "auth-gen-token: add auth-gen-token-secret, the same on all nodes",
    "dco": "disable-dco: add it, keys in the kernel cannot be moved",
}
