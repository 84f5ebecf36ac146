"""A packet filter as data, and what becomes of a packet in it.

Netfilter calls the base chains of a hook by priority. *Drop* ends it; *accept* ends only the chain.
Of the chains of type ``nat`` the first one that translates wins. nftables and iptables are both
read into this form, and so are judged by the same walk.

What a rule asks may be unknown: a mark, a limit, an extension. Such a rule may match or not, and
the walk goes both ways: it gives every outcome that is possible. Only what is so in all of them may
be called certain; nothing is guessed. What a packet meets in a chain does not depend on where it
came from, so a chain is walked once for each packet, however many rules jump to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPV4, IPV6 = ipaddress.IPv4Network, ipaddress.IPv6Network

DEPTH_LIMIT = 16
"""Jumps within jumps: as many as the kernel allows."""

PROTOCOLS = {"6": "tcp", "17": "udp", "112": "vrrp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp"}
"""Other names of protocols; those of a rule depend on the host's ``/etc/protocols``."""


class UnreadableRules(Exception):
    """The text is not what the tool prints."""


class Action(StrEnum):
    """What a rule does with a packet that it matches."""

    ACCEPT = "accept"
    DROP = "drop"
    RESET = "reset"
    """Refused with a TCP reset."""
    REJECT = "reject"
    """Refused with an ICMP error."""
    MASQUERADE = "masquerade"
    SNAT = "snat"
    OFFLOAD = "offload"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    NONE = "none"


STOPS = frozenset({Action.DROP, Action.RESET, Action.REJECT})
LEAVES = frozenset({Action.RETURN, Action.GOTO})
TRANSLATES = frozenset({Action.MASQUERADE, Action.SNAT})


@dataclass(frozen=True)
class Packet:
    """What is asked about; a field that is None may be anything."""

    version: int
    iif: str | None = None
    oif: str | None = None
    saddr: IpNetwork | None = None
    daddr: IpNetwork | None = None
    proto: str | None = None
    sport: int | None = None
    dport: int | None = None
    state: str | None = None
    """Of connection tracking: new, established, invalid."""
    flags: frozenset[str] | None = None
    """TCP flags that are set."""
    socket: bool | None = None
    """Whether a socket of this host takes it."""


@dataclass(frozen=True)
class Span:
    """Addresses or ports from one to another, both included."""

    first: IpAddress | int
    last: IpAddress | int


@dataclass(frozen=True)
class Prefix:
    """Names of interfaces that begin like this: a wildcard."""

    text: str


Value = str | int | IpNetwork | Span | Prefix
Answer = bool | None
Place = tuple[str, str, str, str]
"""Tool, family, table, name of a chain."""


@dataclass(frozen=True)
class Question:
    """One question of a rule: is this field among these values?

    ``field`` is one of ``Packet``'s; ``unknown`` is a question that cannot be answered here.
    """

    field: str
    among: tuple[Value, ...] = ()
    negated: bool = False

    def answer(self, packet: Packet) -> Answer:
        """Whether it holds; None when that is not known."""
        have = None if self.field == "unknown" else getattr(packet, self.field)
        if have is None:
            return None
        unknown = False
        for value in self.among:
            answer = _is(have, value)
            if answer:
                return not self.negated
            unknown |= answer is None
        return None if unknown else self.negated


@dataclass(frozen=True)
class FlagQuestion:
    """A question about TCP flags: of those in the mask, are exactly these set, or any of them?"""

    mask: frozenset[str] | None
    """None: all flags."""
    value: frozenset[str]
    any_of: bool = False
    negated: bool = False

    def answer(self, packet: Packet) -> Answer:
        """Whether it holds; None when the flags are not known."""
        if packet.flags is None:
            return None
        seen = packet.flags if self.mask is None else packet.flags & self.mask
        holds = bool(seen & self.value) if self.any_of else seen == self.value
        return holds is not self.negated


@dataclass(frozen=True)
class Rule:
    """One rule: questions that must all hold, and what is done then."""

    tests: tuple[Question | FlagQuestion, ...]
    action: Action
    target: str = ""
    """Of a jump the chain, of SNAT the address."""
    text: str = ""
    """As its tool shows it, without a handle."""
    handle: int = 0
    """nftables' handle, or the number of an iptables rule in its chain."""

    def answer(self, packet: Packet) -> Answer:
        """Whether it matches; None when that is not known."""
        unknown = False
        for test in self.tests:
            answer = test.answer(packet)
            if answer is False:
                return False
            unknown |= answer is None
        return None if unknown else True

    def asks(self, name: str) -> Iterator[Question]:
        """What it asks of one field."""
        for test in self.tests:
            if isinstance(test, Question) and test.field == name:
                yield test


@dataclass(frozen=True)
class Chain:
    """One chain; ``hook`` is "" for one that is only jumped to."""

    tool: str
    """``nft``, ``iptables`` or ``ip6tables``."""
    family: str
    """ip, ip6 or inet."""
    table: str
    name: str
    hook: str = ""
    kind: str = ""
    priority: int = 0
    policy: Action = Action.ACCEPT
    rules: tuple[Rule, ...] = ()

    @property
    def place(self) -> Place:
        """Where it is, by which rules of the same table find it."""
        return self.tool, self.family, self.table, self.name

    def sees(self, version: int) -> bool:
        """Whether packets of this IP version come here."""
        return self.family == "inet" or self.family == ("ip" if version == 4 else "ip6")


@dataclass(frozen=True)
class Outcome:
    """One possible end of a packet in a hook; ``rule`` is None for the policy of the chain."""

    action: Action
    chain: Chain
    rule: Rule | None = None


@dataclass(frozen=True)
class Ruleset:
    """All chains of a host."""

    chains: tuple[Chain, ...] = ()

    def without(self, family: str, table: str) -> Ruleset:
        """The same without one table."""
        left = (one for one in self.chains if (one.family, one.table) != (family, table))
        return Ruleset(tuple(left))

    def joined(self, other: Ruleset) -> Ruleset:
        """Both together."""
        return Ruleset(self.chains + other.chains)

    def stops(self, hook: str, packet: Packet) -> Outcome | None:
        """What certainly stops a packet in a hook; None when it passes, or may pass."""
        for chain in self._base(hook, "filter", packet):
            ends = [one for one in self._meet(chain, packet) if one.action is not Action.OFFLOAD]
            if all(one.action in STOPS for one in ends):
                return ends[-1]
        return None

    def translation(self, packet: Packet) -> Outcome | None:
        """The first rule that may translate the source of a packet that leaves; None: none does."""
        for chain in self._base("postrouting", "nat", packet):
            for one in self._meet(chain, packet):
                if one.action in TRANSLATES:
                    return one
        return None

    def offload(self, packet: Packet) -> Outcome | None:
        """The first rule that may give the packet's flow to a flowtable; None: none does."""
        for chain in self._base("forward", "filter", packet):
            for one in self._meet(chain, packet):
                if one.action is Action.OFFLOAD:
                    return one
        return None

    def _base(self, hook: str, kind: str, packet: Packet) -> Sequence[Chain]:
        """Base chains in the order in which the kernel calls them."""
        found = (one for one in self.chains if one.hook == hook and one.kind == kind)
        return sorted((one for one in found if one.sees(packet.version)), key=lambda x: x.priority)

    def _meet(self, chain: Chain, packet: Packet) -> list[Outcome]:
        """What a packet may meet in a base chain, in order; an end of every possible way."""
        walk = _Walk(packet, self._by_place)
        if walk.comes_out(chain, DEPTH_LIMIT):
            walk.met.append(Outcome(chain.policy, chain))
        return walk.met

    @cached_property
    def _by_place(self) -> Mapping[Place, Chain]:
        return {one.place: one for one in reversed(self.chains)}


class _Walk:
    """One packet's way through a base chain and all that it jumps to."""

    def __init__(self, packet: Packet, chains: Mapping[Place, Chain]) -> None:
        self.met: list[Outcome] = []
        self._packet = packet
        self._chains = chains
        self._walked: dict[Place, bool] = {}

    def comes_out(self, chain: Chain, depth: int) -> bool:
        """Whether the packet may come out behind a chain; notes what it may meet in there."""
        returns = False
        for rule in chain.rules:
            answer = rule.answer(self._packet)
            if answer is False or rule.action is Action.NONE:
                continue
            passes = self._passes(chain, rule, depth)
            leaves = rule.action in LEAVES
            returns |= leaves and passes
            if answer and (leaves or not passes):
                return returns
        return True

    def _passes(self, chain: Chain, rule: Rule, depth: int) -> bool:
        """Whether a packet that this rule matches goes on somewhere."""
        if rule.action is Action.RETURN:
            return True
        if rule.action not in {Action.JUMP, Action.GOTO}:
            self.met.append(Outcome(rule.action, chain, rule))
            return rule.action is Action.OFFLOAD
        place = (*chain.place[:3], rule.target)
        target = self._chains.get(place)
        if target is None or not depth:
            return True
        if place not in self._walked:
            self._walked[place] = True  # while it is walked: a loop, which no kernel takes
            self._walked[place] = self.comes_out(target, depth - 1)
        return self._walked[place]


def parse_network(text: str) -> IpNetwork | None:
    """A network or a single address; None when the text is neither."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is(have: object, value: Value) -> Answer:
    """Whether what a packet has is this value, or lies in it."""
    if isinstance(have, IPV4 | IPV6):
        return _lies_in(have, value)
    if isinstance(value, Span):
        return isinstance(have, int) and int(value.first) <= have <= int(value.last)
    if isinstance(value, Prefix):
        return isinstance(have, str) and have.startswith(value.text)
    return have == value


def _lies_in(have: IpNetwork, value: Value) -> Answer:
    """Yes for all of the network, no for none of it, unknown for a part."""
    first: IpAddress | int
    last: IpAddress | int
    if isinstance(value, Span):
        first, last = value.first, value.last
    elif isinstance(value, IPV4 | IPV6):
        first, last = value.network_address, value.broadcast_address
    else:
        return None
    if isinstance(first, int) or first.version != have.version:
        return False
    low, high = int(have.network_address), int(have.broadcast_address)
    if int(first) <= low and high <= int(last):
        return True
    return None if low <= int(last) and int(first) <= high else False
