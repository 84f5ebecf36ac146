"""How a rule is named, and the command that fixes it, in the words of the tool that it is of.

Decides only words; what is wrong is decided by ``findings``. A command is one that a shell takes:
names and comments may hold anything. A command about translation never touches more than it is for:
packets of the tunnels, out of one interface. This host's own keep their address, and so does what
leaves by another interface. Tests run the commands on real rules.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from ovpnha.errors import printable
from ovpnha.firewall.iptables import Word, split_rule
from ovpnha.firewall.rules import (
    Chain,
    IpAddress,
    IpNetwork,
    Outcome,
    Packet,
    Question,
    Rule,
    Ruleset,
    Span,
    Value,
)
from ovpnha.firewall.table import FAMILY, TABLE

MIDSTREAM = "tcp flags & (fin|syn|rst|ack) != syn"
TRANSLATIONS = frozenset({"masquerade", "snat"})
NFT_WORD = re.compile(r'"[^"]*",?|[^\s"]+')


def name_outcome(one: Outcome) -> str:
    """A rule or a policy as its administrator knows it."""
    where = f"{one.chain.tool} {printable(' '.join(_place(one.chain)))}"
    if one.rule is None:
        return f"the policy {one.chain.policy} of {where}"
    text = printable(one.rule.text)
    if one.chain.tool == "nft":
        handle = f" handle {one.rule.handle}" if one.rule.handle else ""
        return f'the rule "{text or one.action}" ({where}{handle})'
    return f'the rule "{text}" ({where}, number {one.rule.handle})'


def translate_instead(
    chain: Chain, rule: Rule, interface: str, tunnels: Sequence[IpNetwork], vip: IpAddress | None
) -> str:
    """The command that puts the right address into a rule, or in front of one that does more.

    Args:
        chain: Where the rule is.
        rule: It translates to an address that stays behind.
        interface: By which these tunnels' traffic leaves.
        tunnels: Networks of one family.
        vip: The right address; None when it is not known.
    """
    address = "VIP" if vip is None else str(vip)
    replaces = _asks_only(rule, interface) and _is_of(rule, tunnels)
    if chain.tool != "nft":
        words = _iptables_words(rule, interface, tunnels)
        command = [chain.tool, "-t", chain.table, "-R" if replaces else "-I", chain.name]
        command += [str(rule.handle), *words, "-j", "SNAT", "--to-source", address]
        return shlex.join(command)
    family = "" if chain.family != "inet" else "ip6 " if tunnels[0].version == 6 else "ip "
    asks, remark = _nft_words(rule, interface, tunnels)
    new = shlex.quote(" ".join([*asks, f"snat {family}to {address}", *remark]))
    if replaces:
        return f"nft replace rule {place(chain)} handle {rule.handle} {new}"
    return f"nft insert rule {place(chain)} position {rule.handle} {new}"


def _asks_only(rule: Rule, interface: str) -> bool:
    """Whether it concerns what leaves by this interface, and nothing else."""
    return any(one.among == (interface,) and not one.negated for one in rule.asks("oif"))


def _is_of(rule: Rule, tunnels: Sequence[IpNetwork]) -> bool:
    """Whether it concerns packets of the tunnels, and nothing else."""
    return any(
        not one.negated and all(_lies_within(value, tunnels) for value in one.among)
        for one in rule.asks("saddr")
    )


def _lies_within(value: Value, tunnels: Sequence[IpNetwork]) -> bool:
    if isinstance(value, Span):
        first, last = value.first, value.last
    elif isinstance(value, IpNetwork):
        first, last = value.network_address, value.broadcast_address
    else:
        return False
    return any(first in tunnel and last in tunnel for tunnel in tunnels)


def _holds(asked: Question, tunnels: Sequence[IpNetwork]) -> bool:
    """Whether a question about the source is answered with yes for all of the tunnels."""
    return all(asked.answer(Packet(tunnel.version, saddr=tunnel)) for tunnel in tunnels)


def _iptables_words(rule: Rule, interface: str, tunnels: Sequence[IpNetwork]) -> list[str]:
    """What the rule asks, of one interface and of the tunnels."""
    asks, _ = split_rule(rule.text)
    words = _without_option(asks, "-o")
    head = ["-o", interface]
    if _is_of(rule, tunnels):
        pass
    elif all(_holds(one, tunnels) for one in rule.asks("saddr")):
        words = _without_option(words, "-s")
        head += ["-s", ",".join(map(str, tunnels))]
    else:  # a part of them is left out, and there can be one -s
        head += ["-m", "iprange", "--src-range", f"{tunnels[0][0]}-{tunnels[0][-1]}"]
    if not all(one.text.isprintable() for one in words):  # a comment that is more than a line
        words = _without_option(_without_option(words, "--comment"), "-m", "comment")
    return [*head, *(one.text for one in words)]


def _without_option(words: Sequence[Word], name: str, value: str = "") -> list[Word]:
    """Without an option, its value, and what negates it."""
    kept: list[Word] = []
    at = 0
    while at < len(words):
        if words[at] == Word(name) and value in {"", words[at + 1].text}:
            if kept and kept[-1] == Word("!"):
                kept.pop()
            at += 1
        else:
            kept.append(words[at])
        at += 1
    return kept


def _nft_words(
    rule: Rule, interface: str, tunnels: Sequence[IpNetwork]
) -> tuple[list[str], list[str]]:
    """What the rule asks, of one interface and of the tunnels; and its comment.

    What it asks beside that stays, in its own words: all parts of a rule must hold.
    """
    words = NFT_WORD.findall(rule.text)
    remark = words[-2:] if words[-2:-1] == ["comment"] else []
    ends = [at for at, word in enumerate(words) if word in TRANSLATIONS]
    words = _without_counts(words[: ends[-1]] if ends else [])
    head: list[str] = []
    if not _asks_only(rule, interface):
        head = ["oifname", nft_interface(interface)]
        words = _without_match(words, ("oifname",), len(list(rule.asks("oif"))))
    if not _is_of(rule, tunnels):
        ip = "ip6" if tunnels[0].version == 6 else "ip"
        sources = list(rule.asks("saddr"))
        if all(_holds(one, tunnels) for one in sources):
            words = _without_match(words, (ip, "saddr"), len(sources))
        head += [ip, "saddr", _nft_set(tunnels)]
    return [*head, *words], remark


def _nft_set(tunnels: Sequence[IpNetwork]) -> str:
    listed = ", ".join(map(str, tunnels))
    return listed if len(tunnels) == 1 else f"{{ {listed} }}"


def _without_counts(words: list[str]) -> list[str]:
    """A counter without what it has counted."""
    at = words.index("counter") + 1 if "counter" in words else len(words)
    counts = words[at : at + 1] == ["packets"]
    return [*words[:at], *words[at + 4 if counts else at :]]


def _without_match(words: list[str], field: tuple[str, ...], times: int) -> list[str]:
    """Without a simple match of this field, where there is just one; else as it is."""
    size = len(field)
    starts = [at for at in range(len(words)) if tuple(words[at : at + size]) == field]
    if len(starts) != 1 or times != 1:
        return words
    behind = words[starts[0] + size :]
    behind = behind[1:] if behind[:1] == ["!="] else behind
    end = behind.index("}") if behind[:1] == ["{"] else 0
    return words[: starts[0]] + behind[end + 1 :]


def nft_interface(name: str) -> str:
    """A name as nft takes it: a star at its end would be a wildcard."""
    escaped = f"{name[:-1]}\\*" if name.endswith("*") else name
    return f'"{escaped}"'


def drop_strangers(interface: str, vip: IpAddress, translating: Chain, rules: Ruleset) -> str:
    """What leaves unanswered what comes for a VIP and is known to no entry."""
    if translating.tool != "nft":
        return (
            f"{translating.tool} -I INPUT -i {shlex.quote(interface)} -d {vip} -p tcp ! --syn"
            " -m conntrack --ctstate NEW,INVALID -j DROP"
        )
    ip = "ip" if vip.version == 4 else "ip6"
    asks = f"iifname {nft_interface(interface)} {ip} daddr {vip}"
    rule = f"{asks} {MIDSTREAM} ct state new,invalid drop"
    for chain in rules.chains:
        is_ours = (chain.family, chain.table) == (FAMILY, TABLE)  # made anew from time to time
        of_input = (chain.tool, chain.hook, chain.kind) == ("nft", "input", "filter")
        if of_input and chain.sees(vip.version) and not is_ours:
            return f"nft insert rule {place(chain)} {shlex.quote(rule)}"
    head = "type filter hook input priority -5"
    return f"nft {shlex.quote(f'table inet vip {{ chain input {{ {head}; {rule}; }}; }}')}"


def let_midstream(chain: Chain) -> str:
    """What lets through a session that this node has not seen begin."""
    if chain.tool != "nft":
        return f"{chain.tool} -I FORWARD -p tcp ! --syn -m conntrack --ctstate NEW -j ACCEPT"
    return f"nft insert rule {place(chain)} '{MIDSTREAM} ct state new accept'"


def keep_from_flowtable(chain: Chain, rule: Rule, tun: str) -> str:
    """The rule as it is, but not for the tunnels."""
    if not rule.text:
        return f"nft delete rule {place(chain)} handle {rule.handle}"
    name = nft_interface(tun)
    new = f"iifname != {name} oifname != {name} {rule.text}"
    return f"nft replace rule {place(chain)} handle {rule.handle} {shlex.quote(new)}"


def set_tunable(name: str) -> str:
    """A tunable of the kernel, now and after the next start."""
    return f"sysctl -w {name}=1, and the same line in a file of /etc/sysctl.d"


def loosen(interface: str) -> str:
    """What makes rp_filter loose; with slashes, since a name may have a dot."""
    return f"sysctl -w {shlex.quote(f'net/ipv4/conf/{interface}/rp_filter=2')}"


def let_through(chain: Chain, hook: str, link: str, proto: str, port: int) -> str:
    """What lets the nodes hear each other."""
    if chain.tool != "nft":
        side = "-i" if hook == "input" else "-o"
        what = f"-p {proto} --dport {port}" if port else f"-p {proto}"
        return f"{chain.tool} -I {hook.upper()} {side} {shlex.quote(link)} {what} -j ACCEPT"
    side = "iifname" if hook == "input" else "oifname"
    what = f"{proto} dport {port}" if port else f"meta l4proto {proto}"
    rule = f"{side} {nft_interface(link)} {what} accept"
    return f"nft insert rule {place(chain)} {shlex.quote(rule)}"


def place(chain: Chain) -> str:
    """A chain as a shell and its tool take it."""
    return shlex.join(_place(chain))


def _place(chain: Chain) -> tuple[str, ...]:
    family = (chain.family,) if chain.tool == "nft" else ()
    return *family, chain.table, chain.name
