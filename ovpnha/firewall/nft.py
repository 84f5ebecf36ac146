"""Reads nftables: the answer to ``nft -j list ruleset``, and its text for people beside it.

Decides what each expression of the JSON (libnftables-json(5)) asks. One that is not known asks
something unknown: its rule may match. Text is used only to show a rule as it was written.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ovpnha.firewall.rules import (
    PROTOCOLS,
    Action,
    Chain,
    FlagQuestion,
    Prefix,
    Question,
    Rule,
    Ruleset,
    Span,
    UnreadableRules,
    Value,
    parse_network,
)

UNKNOWN = Question("unknown")
IGNORED = frozenset({"counter", "log", "notrack", "continue", "comment"})
"""Statements after which every packet goes on. After others it may end here: a rate may be used up,
a set may be full, a header that is to be changed may not be there."""
KEYS = {"set": "set", "map": "map", "meter": "name"}
"""Statements that add to a set, and where they name it."""
REMARKS = frozenset({"val", "timeout", "expires", "comment", "counter", "last"})
"""What an element of a set may have without matching only sometimes."""
CHANGING = frozenset({"timeout", "dynamic"})
CATCH_ALL = "*"
VERDICTS = {
    "accept": Action.ACCEPT,
    "drop": Action.DROP,
    "return": Action.RETURN,
    "masquerade": Action.MASQUERADE,
    "jump": Action.JUMP,
    "goto": Action.GOTO,
    "snat": Action.SNAT,
    "flow": Action.OFFLOAD,
    "dnat": Action.ACCEPT,
    "redirect": Action.ACCEPT,
}
META = {"iifname": "iif", "iif": "iif", "oifname": "oif", "oif": "oif", "l4proto": "proto"}
FAMILIES = {"ipv4": 4, "ipv6": 6}
BOUNDS: Mapping[str, Callable[[int], Span]] = {
    "<": lambda value: Span(0, value - 1),
    "<=": lambda value: Span(0, value),
    ">": lambda value: Span(value + 1, 65535),
    ">=": lambda value: Span(value, 65535),
}
"""Of ports."""
TRANSPORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite"})
FIELDS = {"saddr": "saddr", "daddr": "daddr", "sport": "sport", "dport": "dport"}
PROTOCOL_FIELDS = frozenset({"protocol", "nexthdr"})

Json = Mapping[str, Any]
Questions = tuple[Question | FlagQuestion, ...]
Place = tuple[str, str, str]


def read_nft(text: str, shown: str = "") -> Ruleset:
    """The rules in the answer to ``nft -j list ruleset``.

    Args:
        text: The JSON.
        shown: What ``nft -a list ruleset`` prints, for the texts of the rules.

    Raises:
        UnreadableRules: It is not that.
    """
    try:
        objects = json.loads(text)["nftables"]
        return _read(objects, _read_texts(shown))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UnreadableRules(f"nft: {error}") from None


def _read(objects: list[Json], texts: Mapping[tuple[str, str, int], str]) -> Ruleset:
    sets = _read_sets(objects)
    rules: dict[Place, list[Rule]] = {}
    for one in _kind(objects, "rule"):
        text = texts.get((one["family"], one["table"], one["handle"]), "")
        into = rules.setdefault((*_table_of(one), one["chain"]), [])
        known = sets.get(_table_of(one), {})
        into += (
            replace(rule, text=text, handle=one["handle"]) for rule in _rules(one["expr"], known)
        )
    return Ruleset(tuple(_chain(one, rules) for one in _kind(objects, "chain")))


def _read_sets(objects: list[Json]) -> dict[tuple[str, str], dict[str, Any]]:
    """By table, the elements of the sets that stay as they are."""
    changing = {
        (*_table_of(rule), expression[kind].get(KEYS[kind], "").removeprefix("@"))
        for rule in _kind(objects, "rule")
        for expression in rule["expr"]
        for kind in KEYS.keys() & expression.keys()
    }
    sets: dict[tuple[str, str], dict[str, Any]] = {}
    for one in _kind(objects, "set"):
        changes = CHANGING.intersection(_list(one.get("flags", [])))
        if changes or (*_table_of(one), one["name"]) in changing:
            continue
        sets.setdefault(_table_of(one), {})[one["name"]] = one.get("elem", [])
    return sets


def _kind(objects: list[Json], kind: str) -> Iterator[Json]:
    return (one[kind] for one in objects if kind in one)


def _table_of(one: Json) -> tuple[str, str]:
    return one["family"], one["table"]


def _chain(one: Json, rules: Mapping[Place, list[Rule]]) -> Chain:
    return Chain(
        tool="nft",
        family=one["family"],
        table=one["table"],
        name=one["name"],
        hook=one.get("hook", ""),
        kind=one.get("type", ""),
        priority=one.get("prio", 0),
        policy=Action(one.get("policy", "accept")),
        rules=tuple(rules.get((*_table_of(one), one["name"]), ())),
    )


def _rules(expressions: list[Json], sets: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules that one rule is: several where it decides by a map."""
    tests: Questions = ()
    for expression in expressions:
        ((kind, body),) = expression.items()
        if kind == "match":
            tests += _match(body, sets)
        elif kind == "vmap":
            yield from _map(tests, body, sets)
        elif kind == "reject":
            reset = (body or {}).get("type") == "tcp reset"
            yield Rule(tests, Action.RESET if reset else Action.REJECT)
        elif kind in VERDICTS:
            yield _verdict(tests, kind, body)
        elif kind == "queue" or (kind == "xt" and body.get("type") != "match"):
            yield Rule((*tests, UNKNOWN), Action.ACCEPT)  # something else decides
        elif kind not in IGNORED and not (kind == "mangle" and _always_sets(body)):
            tests += (UNKNOWN,)


def _always_sets(body: Json) -> bool:
    """Whether every packet can be given this: a mark, not a field of a header."""
    return body["key"].keys() <= {"meta", "ct"} and isinstance(body["value"], int | str)


def _verdict(tests: Questions, kind: str, body: Any) -> Rule:
    action = VERDICTS[kind]
    if action is Action.SNAT:
        if body.get("family"):
            tests += (Question("version", (6 if body["family"] == "ip6" else 4,)),)
        address = body.get("addr", "")
        return Rule(tests, action, address if isinstance(address, str) else "several addresses")
    target = body.get("target", "") if isinstance(body, dict) else ""
    return Rule(tests, action, target)


def _map(tests: Questions, body: Json, sets: Mapping[str, Any]) -> Iterator[Rule]:
    data = body["data"]
    if not isinstance(data, dict):  # a named map: its elements are not listed with the sets
        yield Rule((*tests, UNKNOWN), Action.ACCEPT)
        return
    for key, verdict in sorted(data["set"], key=lambda one: one[0] == CATCH_ALL):
        if key == CATCH_ALL:
            asked = _match_all(body["key"])
        else:
            asked = _match({"op": "==", "left": body["key"], "right": key}, sets)
        for rule in _rules([verdict], sets):
            yield replace(rule, tests=(*tests, *asked, *rule.tests))


def _match_all(left: Json) -> Questions:
    """Whether there is such a field at all."""
    ((kind, key),) = left.items()
    field, implied = _field(kind, key)
    return implied if field else (*implied, UNKNOWN)


def _match(body: Json, sets: Mapping[str, Any]) -> Questions:
    left, right = body["left"], body["right"]
    if not isinstance(left, dict):
        return (UNKNOWN,)
    ((kind, key),) = left.items()
    if kind == "&" or (kind == "payload" and key.get("field") == "flags"):
        return _flags(body["op"], key if kind == "&" else [left, None], right)
    field, implied = _field(kind, key)
    if not field:
        return (*implied, UNKNOWN)
    if body["op"] in BOUNDS:
        bounds = BOUNDS[body["op"]](right) if isinstance(right, int) else None
        return (*implied, UNKNOWN if bounds is None else Question(field, (bounds,)))
    among = _values(field, right, sets)
    return (*implied, UNKNOWN if among is None else Question(field, among, body["op"] == "!="))


def _field(kind: str, key: Any) -> tuple[str, Questions]:
    """The field of a packet that is asked for, "" for another, and what the question implies."""
    name = key.get("key", "") if kind in {"meta", "ct", "socket"} else ""
    if kind == "meta":
        return ("version" if name == "nfproto" else META.get(name, "")), ()
    if kind == "ct":
        return ("state" if name == "state" else ""), ()
    if kind == "socket":
        return "socket", ()
    if kind == "payload" and "protocol" in key:
        return _payload(key["protocol"], key["field"])
    if kind in {"concat", "&"}:  # its parts must be there
        fields = (_field(*next(iter(part.items()))) for part in key if isinstance(part, dict))
        return "", tuple(question for _, implied in fields for question in implied)
    return "", ()


def _payload(protocol: str, field: str) -> tuple[str, Questions]:
    if protocol in {"ip", "ip6"}:
        implied: Questions = (Question("version", (4 if protocol == "ip" else 6,)),)
        return ("proto" if field in PROTOCOL_FIELDS else FIELDS.get(field, "")), implied
    if protocol in TRANSPORTS:
        return FIELDS.get(field, ""), (Question("proto", (protocol,)),)
    if protocol in {"icmp", "icmpv6"}:
        return "", (Question("proto", ("icmp" if protocol == "icmp" else "ipv6-icmp",)),)
    return (FIELDS.get(field, "") if protocol == "th" else ""), ()


def _flags(op: str, operands: Any, right: Any) -> Questions:
    """``tcp flags``: all of them, or those in a mask."""
    what, mask = operands
    of_tcp = isinstance(what, dict) and what.get("payload", {}).get("protocol") == "tcp"
    if not of_tcp or not _are_flags(mask) or not _are_flags(right):
        return (*_field("&", operands)[1], UNKNOWN)
    value = frozenset(_list(right))
    test = FlagQuestion(
        mask=None if mask is None else frozenset(_list(mask)),
        value=value,
        any_of=op in {"in", "!"},
        negated=op in {"!=", "!"},
    )
    return (Question("proto", ("tcp",)), test)


def _are_flags(value: Any) -> bool:
    return value is None or all(isinstance(one, str) for one in _list(value))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _values(field: str, right: Any, sets: Mapping[str, Any]) -> tuple[Value, ...] | None:
    """What is compared with; None when that is not known."""
    if isinstance(right, str) and right.startswith("@"):
        right = sets.get(right[1:])
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if right is None:
        return None
    values = [_value(field, one) for one in _list(right)]
    return None if None in values else tuple(value for value in values if value is not None)


def _value(field: str, raw: Any) -> Value | None:
    """One value; None when it is none that this field can have."""
    if field == "socket":
        return True  # asked of whatever socket there is
    if isinstance(raw, dict):
        ((kind, body),) = raw.items()
        if kind == "elem":
            return _value(field, body["val"]) if body.keys() <= REMARKS else None
        if kind == "prefix":
            return parse_network(f"{body['addr']}/{body['len']}")
        return _span(*body) if kind == "range" else None
    if field in {"saddr", "daddr"}:
        return parse_network(str(raw))
    if field == "version":
        return FAMILIES.get(str(raw))
    if field == "proto":
        return PROTOCOLS.get(str(raw), str(raw))
    if field in {"iif", "oif"}:
        return _interface(str(raw))
    return raw if isinstance(raw, str | int) else None


def _interface(text: str) -> str | Prefix:
    if text.endswith("\\*"):
        return f"{text[:-2]}*"
    return Prefix(text[:-1]) if text.endswith("*") else text


def _span(first: Any, last: Any) -> Span | None:
    if isinstance(first, int):
        return Span(first, last)
    try:
        return Span(ipaddress.ip_address(first), ipaddress.ip_address(last))
    except ValueError:
        return None


def _read_texts(shown: str) -> dict[tuple[str, str, int], str]:
    """The text of each rule, by family, table and handle."""
    texts: dict[tuple[str, str, int], str] = {}
    family = table = ""
    for line in shown.split("\n"):
        if match := re.match(r"table (\w+) (\S+) \{", line):
            family, table = match.groups()
        elif match := re.match(r"\t\t(.*) # handle (\d+)$", line):
            texts[family, table, int(match[2])] = match[1]
    return texts
