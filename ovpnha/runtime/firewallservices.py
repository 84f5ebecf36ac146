"""Reads who else loads rules of a packet filter on this host, and what ``nftables.service`` loads.

Decides nothing about them (``ovpnha.firewall.services`` does), and changes nothing. Without systemd
nobody is known to load any. Includes are filled in as nft(8) does it.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from pathlib import Path

from ovpnha.doctor.facts import UnitFacts, Unread
from ovpnha.firewall.services import NFTABLES_FILE, SPARING, FirewallServices
from ovpnha.runtime.hostunits import read_units

NFTABLES = "nftables.service"
PLACE = Path("/etc")
"""Where nft looks for what an include names by a relative path."""
SIZE_LIMIT = 4 << 20
WITHIN = 2.5
_INCLUDE = re.compile(r'^[ \t]*include[ \t]+"([^"\n]+)"', re.MULTILINE)


def read_services(file: Path = Path(NFTABLES_FILE)) -> FirewallServices:
    """Services that load rules, as systemd knows them."""
    units = read_units([NFTABLES, *SPARING], WITHIN)
    unread = {one.why for one in units.values() if isinstance(one, Unread)}
    if unread:
        return FirewallServices(
            unread=tuple(f"{NFTABLES} was not looked at: {why}" for why in unread)
        )
    known = {name: one for name, one in units.items() if isinstance(one, UnitFacts)}
    sparing = tuple(name for unit, name in SPARING.items() if unit in known and known[unit].active)
    unit = known.get(NFTABLES)
    if unit is None or not unit.present:
        return FirewallServices(sparing=sparing)
    try:
        text = read_with_includes(file)
    except FileNotFoundError:
        text = ""
    except OSError as error:
        lack = f"{NFTABLES} was not looked at: {error.filename}: {error.strerror}; run as root"
        return FirewallServices(sparing=sparing, unread=(lack,))
    return FirewallServices(text, unit.enabled or unit.active, unit.masked, sparing)


def read_with_includes(path: Path) -> str:
    """A file of nft's, what it includes in its place.

    Raises:
        OSError: Something cannot be read, or is larger than anybody writes.
    """
    return _filled(path, ())


def _filled(path: Path, above: tuple[Path, ...]) -> str:
    """A file that includes itself, which nft refuses, is read once."""
    if path in above:
        return ""
    with path.open("rb") as file:
        text = file.read(SIZE_LIMIT + 1)
    if len(text) > SIZE_LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    within = (*above, path)
    return _INCLUDE.sub(
        lambda found: "\n".join(_filled(one, within) for one in _included(found[1])),
        text.decode(errors="replace"),
    )


def _included(name: str) -> list[Path]:
    """A name without wildcards must be there; of a pattern nothing need be."""
    if not glob.has_magic(name):
        return [PLACE / name]
    return [Path(one) for one in sorted(glob.glob(str(PLACE / name)))]
