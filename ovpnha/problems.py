"""What is wrong with a node: a kind for programs, a text and what to do for people.

Decides which kinds there are, and which of them make a node unhealthy (``KINDS``). A part of an
instance says what it knows; ``ovpnha/runtime/problems.py`` makes the one list of a node from all of
them, and everything that shows problems shows that list: ``status``, its JSON, ``/health``. No
behaviour may hang on a text: it may be worded better at any time. The kinds are in
docs/operations.md, "The kinds of problems".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Health(enum.Enum):
    """When a problem makes ``/health`` answer 503; the value is how docs/operations.md says it."""

    NEVER = "no"
    ALWAYS = "yes"
    REFUSING = "while this node refuses the VIP"
    WITHOUT_VIP = "while the VIP is not here"


class ProblemKind(enum.Enum):
    """By what a program tells problems apart; the value is its word in JSON."""

    # Of this host.
    LINK_DOWN = "link_down"
    NO_OTHER_NODE = "no_other_node"
    CONNECTIONS_STAY = "connections_stay"
    FIREWALL_NOT_SET = "firewall_not_set"
    INSTANCE_LACKING = "instance_lacking"

    # Of an instance: its OpenVPN.
    NOT_CONNECTED = "not_connected"
    MANAGEMENT_UNREACHABLE = "management_unreachable"
    SERVER_DOWN = "server_down"
    SERVER_STARTING = "server_starting"
    SERVER_SILENT = "server_silent"
    MANAGEMENT_PASSWORD = "management_password"  # noqa: S105 - the name of a kind
    SERVER_STOCK = "server_stock"
    ADDRESSES_CHANGED = "addresses_changed"
    SERVER_RELEASE = "server_release"
    PORT_TAKEN = "port_taken"
    SPARE_UNWANTED = "spare_unwanted"
    SPARE_MISSING = "spare_missing"

    # Of an instance: the VIP and who serves.
    NO_VIP_MANAGER = "no_vip_manager"
    LOCAL_IS_A_NAME = "local_is_a_name"
    VIP_NOT_LOCAL = "vip_not_local"
    VIP_ELSEWHERE = "vip_elsewhere"
    VIP_STRAYED = "vip_strayed"
    VIP_INTERFACE_MISSING = "vip_interface_missing"
    VIPS_PARTED = "vips_parted"
    VIP_NOWHERE = "vip_nowhere"
    REFUSES_VIP = "refuses_vip"
    TWO_MASTERS = "two_masters"
    DIFFERS_FROM_MASTER = "differs_from_master"
    PAUSED = "paused"
    PAUSED_WITH_VIP = "paused_with_vip"
    FENCE_FAILED = "fence_failed"
    FENCE_UNKNOWN = "fence_unknown"
    NOT_FENCED = "not_fenced"

    # Of an instance: its checks.
    CHECK_CRITICAL = "check_critical"
    CHECK_FAILED = "check_failed"

    # Of an instance: its clients.
    UNPROTECTED = "unprotected"
    CLIENTS_APART = "clients_apart"
    CLIENTS_ELSEWHERE = "clients_elsewhere"
    CLIENTS_REFUSED = "clients_refused"
    CLIENTS_REFUSED_THERE = "clients_refused_there"
    CLIENTS_WITHOUT_IDS = "clients_without_ids"
    IDS_LOW = "ids_low"
    NOT_PROVED = "not_proved"

    # Of another node.
    NODE_DIFFERS = "node_differs"
    NODE_MIXED = "node_mixed"
    NODE_HAS_OUR_NAME = "node_has_our_name"
    NODE_DOES_NOT_HEAR = "node_does_not_hear"
    NODE_LACKS_INSTANCE = "node_lacks_instance"
    NODE_REFUSES_VIP = "node_refuses_vip"
    NODE_NO_VIP_MANAGER = "node_no_vip_manager"
    NODE_PAUSED = "node_paused"
    NODE_NOT_HEARD = "node_not_heard"
    NODE_NOT_BELIEVED = "node_not_believed"
    NODE_CLOCK = "node_clock"
    NODE_KEYS_DIFFER = "node_keys_differ"

    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> ProblemKind | None:
        """A newer daemon knows more kinds than this program."""
        return cls.OTHER if isinstance(value, str) else None


@dataclass(frozen=True)
class Problem:
    """Something that an administrator has to fix."""

    kind: ProblemKind
    text: str  # what it is, without its place
    fix: str = ""  # what to do; "" when the text says it
    instance: str = ""  # "": it concerns the whole node
    node: str = ""  # the other node that it is about; "": this one

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}" if self.fix else self.text


@dataclass(frozen=True)
class KindOfProblem:
    """What a kind means, for the page, and what it costs."""

    meaning: str
    health: Health = Health.NEVER


_K, _H = ProblemKind, Health
KINDS: Mapping[ProblemKind, KindOfProblem] = {
    _K.LINK_DOWN: KindOfProblem("a BCN link is down", _H.ALWAYS),
    _K.NO_OTHER_NODE: KindOfProblem("no other node is heard"),
    _K.CONNECTIONS_STAY: KindOfProblem("conntrackd does not do its part", _H.ALWAYS),
    _K.FIREWALL_NOT_SET: KindOfProblem("our nftables table could not be set", _H.ALWAYS),
    _K.INSTANCE_LACKING: KindOfProblem("other nodes have an instance that this one lacks"),
    _K.NOT_CONNECTED: KindOfProblem("OpenVPN's management socket is not connected", _H.ALWAYS),
    _K.MANAGEMENT_UNREACHABLE: KindOfProblem("the same, and the reason is known", _H.ALWAYS),
    _K.SERVER_DOWN: KindOfProblem("OpenVPN has ended", _H.ALWAYS),
    _K.SERVER_STARTING: KindOfProblem("OpenVPN starts anew", _H.ALWAYS),
    _K.SERVER_SILENT: KindOfProblem("OpenVPN is connected and does not answer", _H.ALWAYS),
    _K.MANAGEMENT_PASSWORD: KindOfProblem("the management socket asks for a password", _H.ALWAYS),
    _K.SERVER_STOCK: KindOfProblem("OpenVPN runs without `cluster`"),
    _K.ADDRESSES_CHANGED: KindOfProblem(
        "OpenVPN runs without `cluster`, and clients did not get the addresses that they had"
    ),
    _K.SERVER_RELEASE: KindOfProblem("OpenVPN and ovpnha are of different releases"),
    _K.PORT_TAKEN: KindOfProblem(
        "OpenVPN waits for its port, which another program has, or for what does not suit it",
        _H.ALWAYS,
    ),
    _K.SPARE_UNWANTED: KindOfProblem(
        "a second OpenVPN process is there or may be, and the configuration wants none"
    ),
    _K.SPARE_MISSING: KindOfProblem(
        "a second OpenVPN process is always wanted, and for 10 s none could go on with all clients"
    ),
    _K.NO_VIP_MANAGER: KindOfProblem("no VIP manager reads the grade", _H.WITHOUT_VIP),
    _K.LOCAL_IS_A_NAME: KindOfProblem(
        "OpenVPN's `local` is a name, and `vip` is not written", _H.REFUSING
    ),
    _K.VIP_NOT_LOCAL: KindOfProblem(
        "`vip` is not OpenVPN's `local`, or not its `cluster-address`", _H.REFUSING
    ),
    _K.VIP_ELSEWHERE: KindOfProblem("the VIP is on a wrong interface", _H.REFUSING),
    _K.VIP_STRAYED: KindOfProblem("the VIP came on a wrong interface the last time"),
    _K.VIP_INTERFACE_MISSING: KindOfProblem("the interface of the VIP is missing"),
    _K.VIPS_PARTED: KindOfProblem("of several VIPs one is not where the others are"),
    _K.VIP_NOWHERE: KindOfProblem("no node that is heard has the VIP"),
    _K.REFUSES_VIP: KindOfProblem("this node refuses the VIP for another reason", _H.ALWAYS),
    _K.TWO_MASTERS: KindOfProblem("another node is master and has the VIP, too"),
    _K.DIFFERS_FROM_MASTER: KindOfProblem("this node must not replicate the master", _H.ALWAYS),
    _K.PAUSED: KindOfProblem("this node is paused: it does not act"),
    _K.PAUSED_WITH_VIP: KindOfProblem("it is paused, and nobody serves on the VIP", _H.ALWAYS),
    _K.FENCE_FAILED: KindOfProblem(
        "a silent master could not be fenced, and this node waits for that", _H.ALWAYS
    ),
    _K.FENCE_UNKNOWN: KindOfProblem(
        "a fence is required, and it is not known of whom: this node waits", _H.ALWAYS
    ),
    _K.NOT_FENCED: KindOfProblem("a silent master could not be fenced; this node serves"),
    _K.CHECK_CRITICAL: KindOfProblem("a critical check of the service fails", _H.ALWAYS),
    _K.CHECK_FAILED: KindOfProblem("a check of the service fails"),
    _K.UNPROTECTED: KindOfProblem("clients would reconnect if this node died"),
    _K.CLIENTS_APART: KindOfProblem("clients speak to an address of this node that does not move"),
    _K.CLIENTS_ELSEWHERE: KindOfProblem("another node has clients that this master lacks"),
    _K.CLIENTS_REFUSED: KindOfProblem("OpenVPN refuses clients of the master"),
    _K.CLIENTS_REFUSED_THERE: KindOfProblem("a standby's OpenVPN refuses clients of this node"),
    _K.CLIENTS_WITHOUT_IDS: KindOfProblem("copies have no packet ids to send with"),
    _K.IDS_LOW: KindOfProblem("a client has few packet ids left to its newest key"),
    _K.NOT_PROVED: KindOfProblem("what the master says it has does not arrive"),
    _K.NODE_DIFFERS: KindOfProblem("must not replicate with this node"),
    _K.NODE_MIXED: KindOfProblem("of its OpenVPN and ours one runs without `cluster`"),
    _K.NODE_HAS_OUR_NAME: KindOfProblem("another machine has the same node name"),
    _K.NODE_DOES_NOT_HEAR: KindOfProblem("is heard, and does not hear this node"),
    _K.NODE_LACKS_INSTANCE: KindOfProblem("has no such instance"),
    _K.NODE_REFUSES_VIP: KindOfProblem("refuses the VIP"),
    _K.NODE_NO_VIP_MANAGER: KindOfProblem("no VIP manager reads its grade"),
    _K.NODE_PAUSED: KindOfProblem("is paused: it does not take over"),
    _K.NODE_NOT_HEARD: KindOfProblem("was heard, and is not any more"),
    _K.NODE_NOT_BELIEVED: KindOfProblem("is heard, and not believed yet"),
    _K.NODE_CLOCK: KindOfProblem("its clock differs by more than a second"),
    _K.NODE_KEYS_DIFFER: KindOfProblem("its cluster keys, or the one that seals, are not ours"),
    _K.OTHER: KindOfProblem("of a newer ovpnha than the command that shows it"),
}
