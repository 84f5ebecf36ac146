"""The host itself: tunables, the clock, users, a reboot that is wanted, permissions.

Decides nothing, asks no program, and needs no rights.
"""

from __future__ import annotations

import ctypes
import platform
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ovpnha.config import Config
from ovpnha.doctor.facts import HostFacts, Unread
from ovpnha.runtime.firewall import SYSCTLS, read_number
from ovpnha.runtime.hostservers import SIDECAR_USER

TUNABLES = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.ip_nonlocal_bind")
CONNTRACK = SYSCTLS / "net" / "netfilter"
REBOOT = Path("/run/reboot-required")
STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """The head of the kernel's ``struct timex``, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_host(config: Config | None, versions: Iterable[int]) -> HostFacts:
    """All of it; ``versions`` are the IP versions of the tunnels' networks."""
    return HostFacts(
        tunables=dict(_read_tunables()),
        tunnel_versions=frozenset(versions) or frozenset({4}),
        user=_has_user(),
        clock_kept=read_clock(),
        reboot=read_reboot(),
        tracked=read_number(CONNTRACK / "nf_conntrack_count"),
        tracked_limit=read_number(CONNTRACK / "nf_conntrack_max"),
        directories=dict(_read_directories(config)),
        control=dict(_read_modes([config.control.socket] if config is not None else [])),
        system=read_system(),
        machine=platform.machine(),
    )


def _read_tunables() -> Iterator[tuple[str, int]]:
    for name in TUNABLES:
        value = read_number(SYSCTLS / name.replace(".", "/"))
        if value is not None:
            yield name, value


def _has_user() -> bool:
    try:
        pwd.getpwnam(SIDECAR_USER)
    except KeyError:
        return False
    return True


def read_clock() -> bool | Unread:
    """Whether the kernel's clock is kept by somebody who asks a time server (adjtimex(2))."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        return Unread("the kernel does not tell (adjtimex)")
    return not timex.status & STA_UNSYNC


def read_reboot() -> str:
    """Why a reboot is wanted; "" when none is."""
    try:
        if not REBOOT.exists():
            return ""
        packages = REBOOT.with_name(f"{REBOOT.name}.pkgs")
        names = sorted(set(packages.read_text().split())) if packages.exists() else []
    except OSError:
        return ""
    which = f" ({', '.join(names)})" if names else ""
    return f"an update asks for a reboot{which}"


def _read_directories(config: Config | None) -> Iterator[tuple[str, int]]:
    """Where the sidecar and OpenVPN put what others trust."""
    if config is None:
        return
    paths = [config.control.socket, config.cluster.key_file]
    for one in config.instance:
        paths += [one.management, *([one.track_file] if one.track_file is not None else [])]
    yield from _read_modes(dict.fromkeys(path.parent for path in paths))


def _read_modes(paths: Iterable[Path]) -> Iterator[tuple[str, int]]:
    """Permissions of what is there and may be looked at."""
    for path in paths:
        try:
            yield str(path), stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue


def read_system() -> str:
    """Distribution and version; "" when the host does not say."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()
