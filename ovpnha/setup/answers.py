"""What `ovpnha init` must be told, and what it asks for.

Decides which question comes next: what the host or the server's configuration shows is not asked.
An answer is the text of an option; ``ovpnha.setup.cluster`` makes addresses of them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ovpnha.setup.host import Host, IpAddress, IpInterface
from ovpnha.setup.refusals import read_address
from ovpnha.setup.server import Server

NONE = "none"
"""The answer that there is no such thing."""
BROADCAST = "broadcast"


@dataclass(frozen=True)
class Answers:
    """What was said, on the command line, at the terminal or in an earlier run; None: nothing."""

    vip: str | None = None
    """The addresses that clients use, with spaces between them."""
    inside_vip: str | None = None
    outside_interface: str | None = None
    inside_interface: str | None = None
    bcn_interface: str | None = None
    bcn_nodes: str | None = None
    """Addresses of the other nodes, with spaces between them, or ``broadcast``."""
    own_address: str | None = None
    own_inside_address: str | None = None
    cluster: str | None = None
    router_id: int | None = None
    priority: int | None = None
    keepalived: str | None = None
    """``new``, ``replace`` or ``leave``."""
    openvpn: str | None = None
    """``cluster``: the patched one; ``stock``: the distribution's."""

    def over(self, earlier: Answers) -> Answers:
        """These, and where nothing was said the earlier ones."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(earlier, **said)

    def to_plain(self) -> dict[str, Any]:
        """For a file of ours."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Answers:
        """Back from there; what is not known any more is left out."""
        return cls(**{one.name: plain[one.name] for one in fields(cls) if one.name in plain})


@dataclass(frozen=True)
class SetupQuestion:
    """Something that only the administrator knows."""

    field: str
    """Of ``Answers``."""
    option: str
    text: str
    default: str = ""
    """What is proposed; empty when nothing is."""
    sure: bool = False
    """Whether the proposal may be taken without asking."""


def first_of(text: str | None) -> str | None:
    """The first of several addresses, on whose interface the others are, too."""
    return next(iter((text or "").split()), text)


def find_interface(text: str | None, host: Host) -> str:
    """The interface that an address of an answer is on or near; empty when it is not known."""
    address = _address(first_of(text))
    return host.find_interface(address.ip) if address is not None else ""


def find_questions(answers: Answers, host: Host, server: Server) -> Iterator[SetupQuestion]:
    """What is not answered, in this order; what comes later may hang on an answer."""
    yield from _ask_outside(answers, host, server)
    yield from _ask_inside(answers, host)
    yield from _ask_bcn(answers, host)
    yield from _ask_own(answers, host)


def _ask_outside(answers: Answers, host: Host, server: Server) -> Iterator[SetupQuestion]:
    route = host.default_route(4) or host.default_route(6)
    if answers.vip is None:
        local = read_address(server.word("local"))
        named = local is not None and not local.is_unspecified
        near = host.own_addresses(route.interface) if route is not None else iter(())
        guess = server.word("local") if named else str(next((one.ip for one in near), ""))
        text = "The address that clients have as `remote`, which will move between the nodes (VIP)"
        yield SetupQuestion("vip", "--vip", text, guess, sure=named)
    elif answers.outside_interface is None and not find_interface(answers.vip, host):
        text = f"The interface on which {first_of(answers.vip)} will be"
        guess = route.interface if route is not None else ""
        yield SetupQuestion("outside_interface", "--outside-interface", text, guess)


def _ask_inside(answers: Answers, host: Host) -> Iterator[SetupQuestion]:
    outside = answers.outside_interface or find_interface(answers.vip, host)
    others = host.interfaces(outside)
    if answers.inside_vip is None:
        text = (
            "The address on the inside to which the LAN routes the VPN's network, which will move"
            " as well (none: there is no such)"
        )
        yield SetupQuestion("inside_vip", "--inside-vip", text, NONE, sure=not others)
    elif (
        answers.inside_interface is None
        and answers.inside_vip != NONE
        and not find_interface(answers.inside_vip, host)
    ):
        text = f"The interface on which {answers.inside_vip} will be"
        yield SetupQuestion("inside_interface", "--inside-interface", text)


def _ask_bcn(answers: Answers, host: Host) -> Iterator[SetupQuestion]:
    others = next(iter((answers.bcn_nodes or "").split()), None)
    found = find_interface(others, host)
    if answers.bcn_interface is None and not found:
        outside = answers.outside_interface or find_interface(answers.vip, host)
        inside = answers.inside_interface or find_interface(answers.inside_vip, host)
        route = host.default_route(4) or host.default_route(6)
        left = host.interfaces(outside, inside, "" if route is None else route.interface)
        text = (
            "The interface of the back channel network (BCN), on which the nodes reach each other"
            " and no client does"
        )
        yield SetupQuestion("bcn_interface", "--bcn-interface", text, next(iter(left), ""))
    elif answers.bcn_nodes is None:
        text = "Addresses of the other nodes there (broadcast: they are all on one LAN)"
        yield SetupQuestion("bcn_nodes", "--bcn-node", text, BROADCAST, sure=True)


def _ask_own(answers: Answers, host: Host) -> Iterator[SetupQuestion]:
    words = (*(answers.vip or "").split(), answers.inside_vip)
    vips = [one.ip for one in map(_address, words) if one is not None]
    for field, option, said, vip in (
        ("own_address", "--own-address", answers.own_address, first_of(answers.vip)),
        (
            "own_inside_address",
            "--own-inside-address",
            answers.own_inside_address,
            _inside(answers),
        ),
    ):
        if said is None and lacks_own(vip, vips, host):
            text = f"{vip} is this host's own address; which one does it get instead"
            yield SetupQuestion(field, option, text)


def _inside(answers: Answers) -> str | None:
    return None if answers.inside_vip == NONE else answers.inside_vip


def lacks_own(vip: str | None, vips: list[IpAddress], host: Host) -> bool:
    """Whether the host has this address, and beside those that move none on its interface."""
    moving = _address(vip)
    if moving is None or not host.has_as_own(moving.ip):
        return False
    beside = host.own_addresses(host.find_interface(moving.ip), *vips)
    return not any(one.version == moving.version for one in beside)


def _address(text: str | None) -> IpInterface | None:
    try:
        return ipaddress.ip_interface(text or "")
    except ValueError:
        return None
