"""Where a host's own address is written down, which becomes one that moves.

Decides what of that is changed: one line in one file whose form is known. Everything else is told,
with file and line, and left to whoever knows that network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ovpnha.setup.cluster import MovingAddress
from ovpnha.setup.refusals import read_address

FORMS = {
    "/etc/network/": r"^\s*address\s+{ip}(/\d+)?\s*$",
    "/etc/systemd/network/": r"^\s*Address\s*=\s*{ip}(/\d+)?\s*$",
}
"""A line that is nothing but the address, by where the file is."""
WORD = re.compile(r"[0-9A-Fa-f:.]+")
REMOVABLE = "/etc/systemd/network/"
"""Where such a line may be left out, when the interface has another address."""
GENERATED = ("cloud-init", "will not persist")
"""What stands in the name or text of a file that a program makes anew at every boot."""
IN_TIME = "before the next boot or loss of the link"
"""After either of them whatever manages the network gives the interface what it knows."""


@dataclass(frozen=True)
class Mention:
    """A line that has the address."""

    path: str
    line: int
    simple: bool


def find_mentions(files: Mapping[str, str], place: MovingAddress) -> tuple[Mention, ...]:
    """Where the address stands, in files of the network's configuration."""
    found = (
        Mention(path, number, _is_simple(path, line, place) and not _find_maker(path, text))
        for path, text in files.items()
        for number, line in enumerate(text.split("\n"), start=1)
        if _mentions(line, place)
    )
    return tuple(found)


def edit_network(
    files: Mapping[str, str], place: MovingAddress
) -> tuple[dict[str, str], list[str]]:
    """The files that change, with their new texts; and what somebody must change by hand."""
    mentions = find_mentions(files, place)
    instead = f"{place.own} instead" if place.own is not None else "take it out"
    if not mentions:
        return {}, [
            f"{place.ip} is this host's own address on {place.interface}, and no file is known that"
            f" says so (DHCP?): {instead}, where that is decided, {IN_TIME}"
        ]
    path = mentions[0].path
    known = place.own is not None or path.startswith(REMOVABLE)
    if len(mentions) == 1 and mentions[0].simple and known:
        return {path: _replace(files[path], mentions[0].line, place)}, []
    return {}, [
        f"{one.path}:{one.line}: has {place.ip}, which moves from now on: {instead}, {IN_TIME}"
        f"{_find_maker(one.path, files[one.path])}"
        for one in mentions
    ]


def _replace(text: str, number: int, place: MovingAddress) -> str:
    lines = text.split("\n")
    if place.own is None:
        lines[number - 1] = f"#{lines[number - 1]}"
        return "\n".join(lines)
    own = place.own if f"{place.ip}/" in lines[number - 1] else place.own.ip
    pattern = rf"{re.escape(str(place.ip))}(/\d+)?"
    lines[number - 1] = re.sub(pattern, str(own), lines[number - 1])
    return "\n".join(lines)


def _find_maker(path: str, text: str) -> str:
    """What is said of a file whose change would not last; empty for any other."""
    if not any(one in path or one in text for one in GENERATED):
        return ""
    return "; a program (cloud-init?) makes this file anew at boot: change it where that reads it"


def _mentions(line: str, place: MovingAddress) -> bool:
    """Whether it has the address, however that is spelt."""
    plain = re.split("[#;]", line, maxsplit=1)[0]
    return any(read_address(word) == place.ip for word in WORD.findall(plain))


def _is_simple(path: str, line: str, place: MovingAddress) -> bool:
    form = next((form for start, form in FORMS.items() if path.startswith(start)), None)
    return form is not None and bool(re.match(form.format(ip=re.escape(str(place.ip))), line))


def take_own(place: MovingAddress) -> Iterator[tuple[str, ...]]:
    """What gives a running host its other address, beside the one that will move."""
    if place.own is not None:
        yield ("ip", "address", "replace", str(place.own), "dev", place.interface)
    if place.ip.version == 4:
        yield ("sysctl", "--quiet", promoting(place.interface))


def give_up(place: MovingAddress, source: bool, gateway: str) -> Iterator[tuple[str, ...]]:
    """What makes it give that one up, without losing its way out.

    Args:
        place: The address.
        source: Whether the default route names the address as this host's, and goes with it.
        gateway: Of the default route.
    """
    yield ("ip", "address", "del", str(place.address), "dev", place.interface)
    if source:
        via = ("via", gateway) if gateway else ()
        version = f"-{place.ip.version}"
        yield ("ip", version, "route", "replace", "default", *via, "dev", place.interface)


def read_again(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """What makes systemd-networkd know what its files say, if it runs.

    By what it has read before it would give the interface its earlier addresses again as soon as a
    link comes back, beside another host that has them by then.
    """
    if any(one.startswith(REMOVABLE) for one in paths):
        yield ("systemctl", "try-reload-or-restart", "systemd-networkd")


def promoting(interface: str) -> str:
    """Without it the kernel takes the other addresses of a network away with the first one."""
    return f"net/ipv4/conf/{interface}/promote_secondaries=1"
