"""What a host has that the tree it was made from has not: what a removal must leave as it found it.

Files are those of the overlay's upper layer, which is all that the host has ever written; beside
them packages, users, units, packet filter, addresses, and what lies in /run. What the system itself
notes (logs, caches, dpkg's books) is left out, and so is the home of root, where this lab works.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.host import Host

_NOISE = re.compile(
    r"(?:var/log|var/cache|var/tmp|tmp|root|run|var/lib/dpkg|var/lib/apt)(?:/|$)"
    r"|var/lib/systemd/(?:random-seed|timers|timesync|catalog|coredump|network|rfkill|linger)(?:/|$)"
    r"|etc/(?:passwd|group|shadow|gshadow)-?$|etc/\.pwd\.lock$|etc/ld\.so\.cache$"
    r"|etc/openvpn/(?:server/)?ipp\.txt$"
)
# docs/operations.md, "And back again", says so: the user stays, what somebody had changed, and what
# keepalived, which stays as well, has noted for `ip`.
_DOCUMENTED = re.compile(
    r"new: (?:(?:user|group) ovpnha:|file /var/lib/ovpnha(?:/kept(?:/|\s)|\s)"
    r"|file /etc/iproute2(?:/rt_addrprotos\.d(?:/keepalived\.conf)?)? )"
)
_OURS = "ovpnha|openvpn-cluster|keepalived|conntrackd"
_QUESTIONS = {
    "package": "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n'",
    "user": "getent passwd",
    "group": "getent group",
    "unit": "systemctl list-unit-files --plain --no-legend | awk '{print $1, $2}'",
    "loaded": "systemctl list-units --all --plain --no-legend 'ovpnha*' 'openvpn-cluster*'",
    "failed": "systemctl list-units --failed --plain --no-legend | awk '{print $1}'",
    "table": "nft list tables",
    "address": "ip -4 -o address show | awk '{print $2, $4}'",
    "process": f"ps -e -o comm= | grep -E '^({_OURS})' | sort -u",
    "runtime": "find /run -mindepth 1 -maxdepth 1",
    "inside of runtime": f"find /run -mindepth 1 | grep -E '{_OURS}' | grep -v '^/run/systemd'",
}


@dataclass(frozen=True)
class Difference:
    """What is otherwise than it was, and what of it the documents announce."""

    left: list[str]
    documented: list[str]


def take(host: Host) -> frozenset[str]:
    """One line for each thing that there is now."""
    lines = [f"file {one}" for one in find_files(host.upper, host.base.tree)]
    for kind, command in _QUESTIONS.items():
        lines += [f"{kind} {line}" for line in host.ask(command).splitlines()]
    return frozenset(lines)


def compare(before: frozenset[str], after: frozenset[str]) -> Difference:
    """What has come, and what has gone."""
    found = [f"new: {one}" for one in sorted(after - before)]
    found += [f"gone: {one}" for one in sorted(before - after)]
    documented = [one for one in found if _DOCUMENTED.match(one)]
    return Difference([one for one in found if one not in documented], documented)


def find_files(upper: Path, tree: Path) -> Iterator[str]:
    """What differs from the tree; a file that was removed from it has a device in its place."""
    for directory, directories, files in os.walk(upper):
        for name in (*directories, *files):
            path = Path(directory, name)
            relative = path.relative_to(upper)
            if _NOISE.match(str(relative)):
                continue
            said = describe(path)
            if said != describe(tree / relative):
                yield f"/{relative} {said}"


def describe(path: Path) -> str:
    """Kind, mode, owner and content; nothing of times."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        return "absent"
    content = ""
    if stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    elif stat.S_ISLNK(found.st_mode):
        content = str(path.readlink())
    return f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {content}".rstrip()
