"""Units of systemd, read by one call of ``systemctl``.

Decides whether systemd is in charge here at all: in a container or a lab it is not, and then nobody
is blamed for units that are not enabled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ovpnha.doctor.facts import UnitFacts, Unread
from ovpnha.runtime.programs import COMMAND_TIMEOUT, run_program

RUNNING = Path("/run/systemd/system")
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "MainPID",
    "NeedDaemonReload",
    "ExecStop",
    "Restart",
    "CapabilityBoundingSet",
    "StateChangeTimestamp",
)
RUNS = {"active", "reloading", "refreshing"}
ENABLED = {"enabled", "enabled-runtime", "static", "linked", "alias"}
Units = Mapping[str, UnitFacts | Unread | None]


def read_units(names: Iterable[str], within: float) -> Units:
    """Each unit by its name; None for all of a host that systemd does not run."""
    wanted = list(dict.fromkeys(names))
    if not RUNNING.is_dir():
        return dict.fromkeys(wanted, None)
    found = ask_units(wanted, within)
    return dict.fromkeys(wanted, found) if isinstance(found, Unread) else found


def ask_units(
    names: Iterable[str], within: float = COMMAND_TIMEOUT
) -> Mapping[str, UnitFacts] | Unread:
    """Each unit by its name, as ``systemctl`` tells."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    text, problem = run_program(
        "systemctl",
        "show",
        "--no-pager",
        "--timestamp=unix",
        f"--property={','.join(PROPERTIES)}",
        *wanted,
        within=within,
    )
    if problem:
        return Unread(problem)
    return {**{name: UnitFacts(name, present=False) for name in wanted}, **parse_units(text)}


def parse_units(text: str) -> dict[str, UnitFacts]:
    """What ``systemctl show`` prints, a paragraph a unit."""
    found = {}
    for paragraph in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in paragraph.splitlines())
        if values.get("Id"):
            found[values["Id"]] = _unit(values)
    return found


def _unit(values: Mapping[str, str]) -> UnitFacts:
    pid = values.get("MainPID", "0")
    since = values.get("StateChangeTimestamp", "").removeprefix("@")
    return UnitFacts(
        name=values["Id"],
        present=values.get("LoadState") != "not-found",
        active=values.get("ActiveState") in {*RUNS, "activating"},
        runs=values.get("ActiveState") in RUNS,
        enabled=values.get("UnitFileState") in ENABLED,
        masked=values.get("LoadState") == "masked",
        stale=values.get("NeedDaemonReload") == "yes",
        pid=int(pid) if pid.isdigit() else 0,
        hands_over="hand-over" in values.get("ExecStop", ""),
        restarts=values.get("Restart") == "always",
        since=int(since) if since.isdigit() else 0,
        may_chown="cap_chown" in values.get("CapabilityBoundingSet", "").lower(),
    )
