"""The packet filter of this host: reads it for ``check-config``, and keeps a table of our own.

Decides nothing about rules (``ovpnha.firewall`` does). It says what it could not read. Must never
touch a table that is not ours, nor anything at all unless ``[firewall] manage`` says so. The table
stays when the sidecar ends: a restart leaves no hole. Rules: docs/adr/0034-a-table-of-its-own.md.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovpnha.errors import OvpnhaError
from ovpnha.firewall.findings import LIBERAL, LOOSE
from ovpnha.firewall.iptables import is_nft, read_iptables
from ovpnha.firewall.nft import read_nft
from ovpnha.firewall.rules import Ruleset, UnreadableRules
from ovpnha.firewall.table import FAMILY, NOTE, TABLE, Plan, render_table
from ovpnha.runtime.programs import COMMAND_TIMEOUT, no_program, run_program
from ovpnha.runtime.replacing import replacing

SYSCTLS = Path("/proc/sys")
LIBERAL_DEFAULT = 0
DEFAULT_DIRECTORY = Path("/run/ovpnha")
NOTE_NAME = "tcp_be_liberal"
"""Of the file beside the control socket with what the tunable was before we set it."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/net")
DROP_IN = "deploy/systemd/ovpnha.service.d/firewall.conf"


class FirewallError(OvpnhaError):
    """The table of our own could not be set or removed."""


@dataclass(frozen=True)
class Reading:
    """What was read of this host's packet filter, and a line for each thing that was not."""

    rules: Ruleset
    unread: tuple[str, ...]


def read_rules(within: float = COMMAND_TIMEOUT) -> Reading:
    """Read nftables and iptables, each in so many seconds."""
    unread: list[str] = []
    rules = Ruleset()
    text, problem = run_program("nft", "-j", "list", "ruleset", within=within)
    if problem:
        unread.append(f"nftables was not looked at: {problem}")
    else:
        try:
            shown, _ = run_program("nft", "-a", "list", "ruleset", within=within)
            rules = read_nft(text, shown)
        except UnreadableRules as error:
            unread.append(f"nftables was not looked at: {error}")
    for tool in ("iptables", "ip6tables"):
        saved, problem = run_program(f"{tool}-save", within=within)
        if problem == no_program(f"{tool}-save") and not unread and '"xt"' not in text:
            continue  # nft shows all there is
        if problem:
            unread.append(f"{tool} was not looked at: {problem}")
            continue
        try:
            more = read_iptables(saved, tool)
        except UnreadableRules as error:
            unread.append(f"{tool} was not looked at: {error}")
            continue
        if is_nft(saved):  # the same rules, which nft shows in part only
            for chain in more.chains:
                rules = rules.without(chain.family, chain.table)
        rules = rules.joined(more)
    return Reading(rules, tuple(unread))


def set_table(plan: Plan, directory: Path) -> None:
    """Set the table, in one step; it notes what the tunable was before, as a file does.

    Args:
        plan: What it does.
        directory: Where the file is.

    Raises:
        FirewallError: With the reason.
    """
    before = _note_liberal(directory)
    _, problem = run_program("nft", "-f", "-", given=render_table(plan, before))
    if problem:
        raise FirewallError(f"the table {FAMILY} {TABLE} was not set: {problem}")


def remove_table(directory: Path) -> bool:
    """Take the table away and restore the tunable; returns whether there was a table.

    One that was flushed has left the tunable behind, and the file. That goes last, so that whoever
    is interrupted can begin again.

    Raises:
        FirewallError: With the reason.
    """
    before = find_liberal_before(directory)
    had = read_table() is not None
    if had:
        _, problem = run_program("nft", "delete", "table", FAMILY, TABLE)
        if problem:
            raise FirewallError(f"the table {FAMILY} {TABLE} was not removed: {problem}")
    if before is not None:
        _write_liberal(before)
        with contextlib.suppress(OSError):
            _note_of(directory).unlink(missing_ok=True)
    return had


def is_table_left(directory: Path) -> bool:
    """Whether there is anything to remove; not where nobody can tell."""
    try:
        return read_note(directory) is not None or read_table() is not None
    except FirewallError:
        return False


def set_liberal(directory: Path) -> None:
    """Set the tunable, when it is noted what it was.

    Raises:
        FirewallError: With the reason and what to do.
    """
    _note_liberal(directory)
    _write_liberal(1)


def find_liberal_before(directory: Path) -> int | None:
    """What the tunable was before we set it; None when we have not.

    The file outlives a flush of the table, and the table a container's directory.

    Raises:
        FirewallError: Nobody can tell.
    """
    noted = read_note(directory)
    if noted is not None:
        return noted
    match = re.search(rf"{NOTE} (\d)", read_table() or "")
    return int(match[1]) if match else None


def _note_liberal(directory: Path) -> int:
    """What the tunable was before we set it, noted if it was not yet."""
    before = find_liberal_before(directory)
    if before is None:
        before = dict(read_tunables()).get(LIBERAL, LIBERAL_DEFAULT)
    if read_note(directory) is None:
        # Where it cannot be written, the table still has it.
        with contextlib.suppress(OSError), replacing(_note_of(directory), 0o644) as file:
            file.write(f"{before} {_life()}\n".encode())
    return before


def _note_of(directory: Path) -> Path:
    return directory / NOTE_NAME


def read_note(directory: Path) -> int | None:
    """What the file notes; nothing when it is of an earlier life of this tunable."""
    try:
        value, _, life = _note_of(directory).read_text().strip().partition(" ")
    except (OSError, ValueError):
        return None
    return int(value) if value in {"0", "1"} and life == _life() else None


def _life() -> str:
    """Names what the tunable lives as long as: a network namespace of this boot."""
    try:
        return f"{BOOT.read_text().strip()} {NAMESPACE.stat().st_ino}"
    except OSError:
        return "unknown"


def read_table() -> str | None:
    """The table of our own as the kernel has it, without counters; None when there is none.

    Raises:
        FirewallError: Nobody can tell.
    """
    text, problem = run_program("nft", "-s", "list", "table", FAMILY, TABLE)
    if not problem:
        return text
    if "No such file or directory" in problem:
        return None
    raise FirewallError(f"nftables cannot be read: {problem}")


def read_liberal() -> int | None:
    """The tunable as it is; None while connection tracking is not loaded."""
    return dict(read_tunables()).get(LIBERAL)


def _write_liberal(value: int) -> None:
    path = _path(LIBERAL)
    try:
        if path.read_text().strip() != str(value):
            path.write_text(str(value))
    except OSError as error:
        raise FirewallError(
            f"{LIBERAL} = {value} was not set: {error.strerror}; install {DROP_IN}, or set it:"
            f" sysctl -w {LIBERAL}={value}"
        ) from None


def _path(tunable: str) -> Path:
    return SYSCTLS / tunable.replace(".", "/")


def read_tunables() -> Iterator[tuple[str, int]]:
    """Connection tracking's tunables; one that cannot be read is left out."""
    for name in (LIBERAL, LOOSE):
        value = read_number(_path(name))
        if value is not None:
            yield name, value


def read_number(path: Path) -> int | None:
    """The number in a file; None when there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
