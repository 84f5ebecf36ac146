"""A translated TCP session over what is done to its node, and what explains it when it breaks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.hosts import page
from tests.hosts.host import Host
from tests.hosts.network import INSIDE_VIP, LAN_HOST, TUNNEL
from tests.hosts.site import SYNC_SECONDS, Site
from tests.lab.errors import LabError
from tests.lab.traffic import TcpSession
from tests.lab.waiting import wait_until

RELOADS = 8
_SESSIONS = f"conntrack -L -p tcp -s {TUNNEL}/24"
_ON_A_NODE = (
    *(_SESSIONS, "nft list table inet ovpnha", "conntrackd -s", "ip -br link", "ip -br -4 address"),
    "journalctl --no-pager -o short-precise -u conntrackd -u ovpnha -u keepalived -n 30",
)
_AT_AN_END = {
    "client": ("ss -tinao", "ip neigh"),
    "lan": ("ss -tinao", "ip neigh", "nft list table ip resets"),
}
_CARD = "/sys/class/net/eth1/address"
# Who resets a session has broken it, or has been sent what nobody should have sent.
_RESETS = """\
table ip resets
delete table ip resets
table ip resets {
    set senders { type ether_addr . ipv4_addr; flags dynamic; size 64; counter; }
    chain input {
        type filter hook input priority filter;
        tcp flags & rst == rst update @senders { ether saddr . ip saddr }
    }
}
"""


def cut_power_under_nat(site: Site) -> str:
    """A translated session goes on, byte for byte, when the master loses its power."""
    site.carry_connections()
    with _explained(site):
        session = site.start_tcp()
        name = site.wait_settled()
        other = next(one for one in site.hosts if one != name)
        went_on = _survive(site, session, name, other)
    return f"of {name}; the session had gone on {went_on:.1f} s later, and every byte came"


def reload_rules_under_nat(site: Site) -> str:
    """The administrator's rules are loaded anew, again and again, and no session minds."""
    site.carry_connections()
    load_with = page.blocks_under("Let ovpnha set it")[1]
    words = page.quoted_under("Let ovpnha set it")
    (reload,) = {one for one in words if one.startswith("systemctl reload nftables")}
    for host in site.hosts.values():
        for line in (*load_with, "systemctl enable --now nftables"):
            host.run(line)
    with _explained(site):
        session = site.start_tcp("tcp-reload")
        name = site.wait_settled()
        for _ in range(RELOADS):
            site.hosts[name].run(reload)
            _wait_goes_on(session)
        _finish(session)
    return f"{RELOADS} times on {name}; every byte came"


@contextmanager
def _explained(site: Site) -> Iterator[None]:
    """Shows everything about connections when one has broken."""
    _count_resets(site.network.namespace("lan"))
    cards = {host.read(_CARD).strip(): name for name, host in site.hosts.items()}
    try:
        yield
    except LabError:
        site.say(_explain(site, cards))
        raise


def _survive(site: Site, session: TcpSession, name: str, other: str) -> float:
    """How long after the cut bytes have come both ways; LabError says what is missing."""
    wait_until(
        lambda: _knows_session(site.hosts[other]), f"{other} knows the session", SYNC_SECONDS
    )
    cut = time.monotonic()
    site.hosts[name].cut_power()
    wait_until(lambda: site.master() == other, f"{other} is master", SYNC_SECONDS)
    try:
        _wait_goes_on(session)
    except LabError as error:
        known = "knows" if _knows_session(site.hosts[other]) else "does not know"
        raise LabError(f"{error}; {other} {known} it; now: {session.ends()}") from None
    went_on = time.monotonic() - cut
    site.hosts[name].start()
    site.hosts[name].wait_up()
    _finish(session)
    return went_on


def _finish(session: TcpSession) -> None:
    if wrong := session.finish():
        raise LabError(wrong)


def _wait_goes_on(session: TcpSession) -> None:
    before = session.received()
    wait_until(lambda: _goes_on(session, before), "bytes both ways of the session", SYNC_SECONDS)


def _goes_on(session: TcpSession, before: int) -> bool:
    """Whether it has brought more; LabError at once when an end has given it up."""
    for role, end in session.ends().items():
        if end.error:
            raise LabError(f"the end that has to {role}: {end.error}")
    return session.received() > before


def _knows_session(host: Host) -> bool:
    """Whether its kernel has the client's session, with the inside VIP in the answers."""
    wanted = (f"dst={LAN_HOST}", f"dst={INSIDE_VIP}", "ESTABLISHED")
    return any(all(one in line for one in wanted) for line in host.ask(_SESSIONS).splitlines())


def _explain(site: Site, cards: dict[str, str]) -> str:
    """All that there is to know of connections now: entries, rules, both ends, who reset what."""
    parts = []
    for name, host in site.hosts.items():
        if host.first is None:
            parts.append(f"{name} is off")
            continue
        parts += [f"{name}: {command}\n{host.ask(command)}" for command in _ON_A_NODE]
    for name, commands in _AT_AN_END.items():
        namespace = site.network.namespace(name)
        parts += [f"{name}: {command}\n{_run(namespace, command)}" for command in commands]
    text = "\n".join(parts)
    for card, name in cards.items():
        text = text.replace(card, f"{card} ({name}, at first)")
    return text


def _count_resets(namespace: str) -> None:
    command = ["ip", "netns", "exec", namespace, "nft", "-f", "-"]
    subprocess.run(command, input=_RESETS, text=True, check=True)


def _run(namespace: str, command: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
