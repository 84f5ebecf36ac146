"""Which OpenVPN is installed, from which source the patched one is, and which Debian offers.

Reads dpkg's status file, not its database programs: the sidecar reads it, too, once an hour, and
starts no program for that. What apt knows is asked by doctor only.
"""

from __future__ import annotations

import email.utils
import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovpnha.doctor.facts import PackageFacts, Unread
from ovpnha.doctor.versions import OURS, source_version
from ovpnha.runtime.programs import run_program

DPKG_STATUS = Path("/var/lib/dpkg/status")
BUILT_FROM = Path("/usr/share/openvpn-cluster/built-from")
CHANGELOGS = Path("/usr/share/doc")
BESIDE = "openvpn-cluster"
UPGRADED = 500
"""Priority of what apt upgrades to; backports have 100."""


def read_packages(root: Path = Path("/")) -> PackageFacts | Unread:
    """What is installed; nothing is asked of apt."""
    path = root / DPKG_STATUS.relative_to("/")
    try:
        found = list(read_installed(path, {"openvpn", BESIDE}))
    except OSError as error:
        return Unread(f"{path}: {error.strerror}; is this a Debian?")
    installed = {one.name: one.version for one in found}
    stock = installed.get("openvpn", "")
    beside = installed.get(BESIDE, "")
    patched = beside or (stock if OURS in stock else "")
    built_from = _first_line(root / BUILT_FROM.relative_to("/")) if beside else ""
    built_from = built_from or source_version(patched)
    return PackageFacts(
        patched=patched,
        built_from=built_from,
        built_from_date=_read_date(root, BESIDE if beside else "openvpn", built_from),
        beside=bool(beside),
        held=any(one.held for one in found if one.name == "openvpn"),
        stock="" if OURS in stock else stock,
    )


@dataclass(frozen=True)
class ListedPackage:
    """A package of this host, with the version of its source."""

    name: str
    version: str
    held: bool = False


def read_installed(path: Path, names: set[str]) -> Iterator[ListedPackage]:
    """These packages, as far as they are installed.

    The file is searched, not read line by line: the sidecar must not be kept from its work.
    """
    text = b"\n" + path.read_bytes()
    for name in sorted(names):
        at = text.find(f"\nPackage: {name}\n".encode())
        if at >= 0:
            paragraph = text[at + 1 :].partition(b"\n\n")[0].decode(errors="replace")
            yield from _installed(name, dict(_fields(paragraph)))


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    for line in paragraph.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith(" "):
            yield name, value.strip()


def _installed(name: str, fields: Mapping[str, str]) -> Iterator[ListedPackage]:
    """A source of another version is named in brackets."""
    status, version = fields.get("Status", ""), fields.get("Version", "")
    if status.endswith(" installed"):
        source = re.search(r"\(([^)]+)\)", fields.get("Source", ""))
        plain = source[1] if source else re.sub(r"\+b\d+$", "", version)
        yield ListedPackage(name, plain, status.startswith("hold "))


def read_available(within: float) -> tuple[str, ...] | Unread:
    """The versions of Debian's ``openvpn`` that apt knows, without asking any server."""
    text, problem = run_program("apt-cache", "policy", "openvpn", within=within)
    return Unread(problem) if problem else parse_policy(text)


def parse_policy(text: str) -> tuple[str, ...]:
    """The versions of ``apt-cache policy`` that an upgrade would take.

    Not what only dpkg's status knows, nor what is pinned below that, as backports are.
    """
    _, _, table = text.partition("Version table:")
    found: list[str] = []
    version = ""
    for line in table.splitlines():
        if row := re.match(r"^ (?:\*\*\*|   ) (\S+)", line):
            version = row[1]
        elif version and (row := re.match(r"^ +(-?\d+) (?!/var/lib/dpkg/)\S", line)):
            found += [version] if int(row[1]) >= UPGRADED else []
    return tuple(dict.fromkeys(found))


def _first_line(path: Path) -> str:
    try:
        return next(iter(path.read_text().split()), "")
    except OSError:
        return ""


def _read_date(root: Path, package: str, version: str) -> float | None:
    """When a source version was made, as the package's changelog has it; None: it does not say."""
    directory = root / CHANGELOGS.relative_to("/") / package
    for name in ("changelog.Debian.gz", "changelog.gz"):
        try:
            with gzip.open(directory / name, "rt", encoding="utf-8", errors="replace") as file:
                return parse_changelog(file.read(), version)
        except (OSError, EOFError):
            continue
    return None


def parse_changelog(text: str, version: str) -> float | None:
    """The date below the entry of a version."""
    entry = re.search(rf"^\S+ \({re.escape(version)}\).*?^ -- .*?>  (.+?)$", text, re.M | re.S)
    try:
        return email.utils.parsedate_to_datetime(entry[1]).timestamp() if entry else None
    except ValueError:
        return None
