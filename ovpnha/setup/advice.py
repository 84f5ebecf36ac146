"""What is said of a server's configuration before it is put into a cluster.

Decides what stops `ovpnha init` (what ``cluster`` refuses and no line of ours can change), and what
is only told. A sentence names the option and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from ovpnha.setup.refusals import REFUSALS, find_refused, is_tap, serves_any
from ovpnha.setup.server import Server

SCRIPTS = (
    "auth-user-pass-verify",
    "client-connect",
    "client-disconnect",
    "client-crresponse",
    "down",
    "ipchange",
    "learn-address",
    "plugin",
    "route-pre-down",
    "route-up",
    "tls-crypt-v2-verify",
    "tls-verify",
    "up",
)

MORE = {
    "tcp": "TCP connections end with their server and cannot be moved. Put a UDP server beside it"
    " (a copy of this file with `proto udp`, another port or device, a network of its own for"
    " clients), move the clients there, and run init on that one; this one goes on as it is",
    "management": "one stands in a file that this one includes (config); take it out there",
    "token": "add `auth-gen-token-secret FILE` (made by: openvpn --genkey auth-token FILE): with"
    " the same secret on all nodes a token of one is good on the others",
    "questions": "remove management-client-auth, -hold, -query-passwords and -external-…: the"
    " program that answers them cannot have the socket any more. Instead of -client-auth use"
    " auth-user-pass-verify or a plugin",
}
"""More of a refusal than one line of `ovpnha check-config` has."""

REMOVED = {
    "client-cert-not-required": "write `verify-client-cert none`",
    "compat-names": "remove it",
    "ifconfig-pool-linear": "write `topology p2p`",
    "iproute": "remove it",
    "key-method": "remove it; method 2 is the only one",
    "keysize": "remove it; the name of the cipher says the size",
    "ncp-disable": "remove it; `data-ciphers` says what may be chosen",
    "no-iv": "remove it",
    "no-name-remapping": "remove it",
    "tls-remote": "write `verify-x509-name`",
}
"""Options of earlier OpenVPNs, with which the one of the node (2.6, of Debian's) does not start."""


def find_obstacles(server: Server, *, stock: bool = False) -> Iterator[str]:
    """What is in the way of a server that says all that `ovpnha init` would add.

    ``stock``: by itself, without the patch.
    """
    serves = any(server.has(name) for name in ("server", "server-ipv6", "server-bridge"))
    if not serves and server.word("mode") != "server":
        yield "server: this is no server's configuration; name that of a server"
    yield from find_removed(server)
    for name in () if stock else find_refused(server):
        option = REFUSALS[name].partition(":")[0]
        yield f"{option}: {MORE[name]}" if name in MORE else REFUSALS[name]


def find_removed(server: Server) -> Iterator[str]:
    """Options that OpenVPN has no more, unless it is told to ignore them."""
    ignored = {name for line in server.options.get("ignore-unknown-option", []) for name in line}
    for name in (name for name in REMOVED if server.has(name) and name not in ignored):
        yield f"{name}: OpenVPN 2.6 has no such option and would not start; {REMOVED[name]}"


def find_notes(server: Server, versions: Collection[int], socket: str) -> Iterator[str]:
    """What stays as it is, or changes on the way, and somebody should know.

    ``versions`` are those of the VIPs' families, ``socket`` the management socket that there will
    be.
    """
    version = next(iter(versions))
    if len(versions) > 1 and server.word("proto") != "udp6":
        yield f"proto {server.word('proto')}: becomes udp6, which takes IPv4, too"
    elif len(versions) == 1 and serves_any(server) and server.word("proto") == "udp6":
        yield (
            f"proto udp6: takes both families, and only an address of IPv{version} moves. Whoever"
            f" comes by IPv{10 - version} comes to an address of this host, and is not protected:"
            " give one of that family, too (--vip once more)"
        )
    elif len(versions) == 1 and is_other_family(server, version):
        yield (
            f"proto {server.word('proto')}: becomes udp{version}: the one address that moves is of"
            f" IPv{version}, and whoever came by the other family does not any more. A second"
            " server, for that family, can stand beside this one"
        )
    yield from (text for applies, text in NOTES.items() if RULES_OF_NOTES[applies](server))
    if used := [name for name in SCRIPTS if server.has(name)]:
        yield (
            f"{', '.join(used)}: go on working; programs that they start must be on every node, at"
            " the same path. A client that moves does not connect anew: no script runs for it"
        )
    lost = [one for one in server.options.get("management", []) if one != [socket, "unix"]]
    if lost:
        yield (
            f"management {' '.join(lost[-1])}: whatever used it (a web panel, an exporter) loses"
            " it: ovpnha is its only client. `ovpnha clients --json`, `ovpnha status --json` and"
            " /metrics take its place"
        )


def find_port(server: Server) -> Iterator[str]:
    """A port that would be lost with the address before it."""
    if port := " ".join(server.last("local")[1:]):
        yield f"local: has {port} behind the address; write that into `port` or `proto`"


def find_overridden(wanted: Iterable[tuple[str, ...]], server: Server) -> Iterator[str]:
    """What the server's file says as it must, and a file that it includes otherwise later on."""
    for name, *words in wanted:
        if name != "management" and not _says(name, words, server):
            yield (
                f"{name}: a file that this one includes (config) says something else:"
                f" {' '.join(server.last(name))}; take it out there"
            )


MANY = frozenset({"cluster-address"})
"""What may be said several times."""


def _says(name: str, words: list[str], server: Server) -> bool:
    found = server.options.get(name, [])
    return words in found if name in MANY else found[-1:] == [words]


def is_other_family(server: Server, version: int) -> bool:
    """Whether ``proto`` is for another family than this."""
    return server.word("proto") in {"udp4", "udp6"} and server.word("proto") != f"udp{version}"


RULES_OF_NOTES: Mapping[str, Callable[[Server], bool]] = {
    "pool": lambda one: one.has("ifconfig-pool-persist"),
    "equal": lambda one: one.has("client-config-dir") or one.has("crl-verify"),
    "user": lambda one: one.has("user"),
    "exit": lambda one: (
        not one.has("explicit-exit-notify") and not one.word("proto").startswith("tcp")
    ),
    "dco": lambda one: not one.has("disable-dco"),
    "chroot": lambda one: one.has("chroot"),
    "any": serves_any,
    "tap": is_tap,
}
NOTES = {
    "pool": "ifconfig-pool-persist: may stay; each node writes its own file. Connected clients keep"
    " their addresses wherever they move; one that connects anew on another node may get another"
    " one. Who must not, gets it from client-config-dir (ifconfig-push)",
    "equal": "client-config-dir, crl-verify: read while the server runs, so keep them equal on all"
    " nodes: who is revoked on one only comes in by the other",
    "user": "user, group: may stay; the management socket is opened, and given to ovpnha, before",
    "exit": "explicit-exit-notify: is not there, so clients notice the one restart of this server"
    " only by their ping-restart. With `explicit-exit-notify 1`, and one restart before (in a quiet"
    " hour), they come back within seconds",
    "dco": "disable-dco: keys in the kernel cannot be moved; OpenVPN itself encrypts from now on",
    "chroot": "chroot: may stay; the management socket is opened before",
    "tap": "dev tap: the MAC addresses that clients are heard with move, too. A bridge that the tap"
    " is in must be on every node, and an address of it that clients use must move like the virtual"
    " IP. Addresses of the tap that are not set by OpenVPN need the same `lladdr` on all nodes",
    "any": "multihome, or no local with proto udp6: stays so. Clients are answered from the address"
    " that they use; the virtual IPs move (cluster-address, --vip for each of several), and whoever"
    " comes by another address of this host is served, and loses the connection with it",
}
