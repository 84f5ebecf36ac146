"""What firewalls and NAT the nodes of a lab may have: what people run, as nftables rule sets.

The same on every node, standby or not, from before the cluster starts. docs/operations.md
(*Firewall and NAT*) tells users the same rules; ``GUARD`` and ``SYSCTLS`` are its additions.
"""

from __future__ import annotations

import subprocess
from enum import StrEnum

from tests.lab import plan, topology
from tests.lab.errors import LabError

TUN, LAN = "tun0", plan.LAN.interface


class Rules(StrEnum):
    """One way to filter and translate."""

    NONE = "none"
    SNAT_VIP = "snat-vip"
    MASQUERADE = "masquerade"
    STATEFUL = "stateful"
    STATEFUL_SYN = "stateful-syn"
    SNAT_STATEFUL = "snat-stateful"


SYSCTLS = {"net/netfilter/nf_conntrack_tcp_be_liberal": "1"}
"""A node that serves again has old entries, whose windows are outdated."""

GUARD = f"""
    chain guard {{
        type filter hook input priority filter; policy accept;
        iifname "{LAN}" ct state invalid drop
        iifname "{LAN}" ct state new tcp flags & (fin | syn | rst | ack) != syn drop
        iifname "{LAN}" ip daddr {plan.LAN.vip} ct state new udp dport >= 1024 drop
        iifname "{LAN}" ip6 daddr {plan.LAN.vip6} ct state new udp dport >= 1024 drop
    }}
"""
"""No answer to a packet of a connection that this node does not know, or not yet: no reset. And no
entry of its own, which would take the port that the connection is translated to."""

_SNAT = f"""
    chain translate {{
        type nat hook postrouting priority srcnat;
        ip saddr {plan.TUNNEL} oifname "{LAN}" snat ip to {plan.LAN.vip}
        ip6 saddr {plan.TUNNEL6} oifname "{LAN}" snat ip6 to {plan.LAN.vip6}
    }}
"""
_MASQUERADE = f"""
    chain translate {{
        type nat hook postrouting priority srcnat;
        ip saddr {plan.TUNNEL} oifname "{LAN}" masquerade
        ip6 saddr {plan.TUNNEL6} oifname "{LAN}" masquerade
    }}
"""


def _stateful(*new: str) -> str:
    accepted = "\n".join(f"        {one} accept" for one in new)
    return f"""
    chain pass {{
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
{accepted}
    }}
"""


_SYN_ONLY = (
    f'iifname "{TUN}" tcp flags & (fin | syn | rst | ack) == syn',
    f'iifname "{TUN}" meta l4proto {{ udp, icmp, icmpv6 }}',
)
_PING_BACK = f'iifname "{LAN}" icmp type echo-request'

_CHAINS = {
    Rules.NONE: "",
    Rules.SNAT_VIP: _SNAT,
    Rules.MASQUERADE: _MASQUERADE,
    Rules.STATEFUL: _stateful(f'iifname "{TUN}"'),
    Rules.STATEFUL_SYN: _stateful(*_SYN_ONLY),
    Rules.SNAT_STATEFUL: _SNAT + _stateful(*_SYN_ONLY, _PING_BACK),
}


def rule_set(rules: Rules, *, guarded: bool) -> str:
    """What ``nft -f`` takes; "" when there is nothing. ``guarded``: with ``GUARD``."""
    chains = _CHAINS[rules]
    if not chains:
        return ""
    return f"table inet site {{{chains}{GUARD if guarded else ''}}}\n"


def apply_rules(namespace: str, rules: Rules, *, guarded: bool) -> None:
    """Give a node its firewall; ``guarded``: with all that docs/operations.md adds."""
    if text := rule_set(rules, guarded=guarded):
        argv = ["ip", "netns", "exec", namespace, "nft", "-f", "-"]
        done = subprocess.run(argv, input=text, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"this kernel does not take the nodes' firewall: {done.stderr.strip()}")
    if guarded:
        topology.set_sysctls(namespace, SYSCTLS)
