"""What keeps two nodes from replicating with each other: options, certificate, format of records.

Decides by what each OpenVPN says of its own configuration, and names what an administrator has to
look at. Never lets a difference pass that was not tolerated by name. Rules: docs/options.md.
"""

from __future__ import annotations

from ovpnha.model import InstanceState, OpenvpnStatus
from ovpnha.problems import Problem, ProblemKind

MIXED_FIX = "install the patched OpenVPN on all nodes, or run without it on all"


def find_difference(
    ours: OpenvpnStatus, theirs: InstanceState, tolerate: frozenset[str] = frozenset()
) -> str:
    """What keeps two nodes from replicating with each other; "" when nothing does."""
    pairs = {
        "record format": (str(ours.record_format), str(theirs.record_format)),
        "digest": (ours.digest, theirs.digest),
        "issuer": (ours.issuer, theirs.issuer),
        "certificate": (ours.certificate, theirs.certificate),
    }
    for name, (mine, other) in pairs.items():
        comparable = name != "digest" or _digest_version(mine) == _digest_version(other)
        if mine != other and comparable and name not in tolerate:
            return DIFFERENCES[name] + (_name_options(mine, other) if name == "digest" else "")
    return ""


def compare_patch(state: InstanceState, *, known: bool, stock: bool) -> Problem | None:
    """Where one OpenVPN has the patch and another has not, neither can continue a client.

    ``known``: whether it is known what ours is; ``stock``: it has not the patch.
    """
    theirs = state.stock is not None
    if theirs is stock or not (known and (theirs or state.record_format)):
        return None
    which = "its OpenVPN runs" if theirs else "our OpenVPN runs"
    what = f"{which} without cluster, so clients reconnect when the VIP moves"
    return Problem(ProblemKind.NODE_MIXED, what, MIXED_FIX)


def _digest_version(digest: str) -> str:
    """What servers of different releases say of their options cannot be compared."""
    return digest.rpartition(":")[0]


def _name_options(mine: str, other: str) -> str:
    """Which options two digests say differ, in brackets; "" when they do not tell."""
    at = len(mine) - 2 * len(OPTION_GROUPS)
    if at <= 0 or len(mine) != len(other):
        return ""
    hints = [digest[at:] for digest in (mine, other)]
    differ = [
        group
        for number, group in enumerate(OPTION_GROUPS)
        if hints[0][2 * number : 2 * number + 2] != hints[1][2 * number : 2 * number + 2]
    ]
    return f" (look at {'; '.join(differ)})" if differ else ""


OPTION_GROUPS = (
    "proto, local, port",
    "tls-auth, tls-crypt, tls-crypt-v2 and their keys",
    "tls-version-min, tls-cipher, verify-client-cert and the like",
    "hand-window, tran-window",
    "reneg-sec, reneg-bytes, reneg-pkts",
    "auth-gen-token, auth-gen-token-secret",
    "data-ciphers",
    "auth",
    "replay-window",
    "keepalive, inactive",
    "tun-mtu, mssfix",
    "compress",
    "topology, server",
    "ifconfig-pool",
    "max-clients, duplicate-cn, client-to-client",
    "push",
    "ca, crl-verify, remote-cert-tls, verify-x509-name, tls-verify, auth-user-pass-verify",
    "client-config-dir, client-connect, learn-address, plugin and the like",
)
"""In the order of ``enum cluster_digest_group``: the digest ends in a byte for each."""

DIFFERENCES = {
    "record format": "record format differs: install the same version of the patched OpenVPN",
    "digest": "configuration differs: make OpenVPN's configuration the same on all nodes",
    "issuer": "certificate issuer differs: use server certificates of the same CA",
    "certificate": "certificate differs: use the same server certificate on all nodes",
}
