"""``ovpnha status`` for the eye: instances, nodes and links as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

GOOD, FAIR, BAD = "green", "yellow", "red"
ROLE_STYLES = {"master": GOOD, "standby": GOOD, "held": FAIR, "init": FAIR, "fault": BAD}

CLOCK_NOTABLE = 1.0  # seconds
SILENT = 5.0  # seconds without a hello; they come several times a second

Plain = Mapping[str, Any]


def show_status(status: Plain, console: Console) -> None:
    """Print the answer to the ``status`` command."""
    console.print(f"node [bold]{status['node']}[/bold], up {_duration(status['uptime'])}")
    console.print(_instances(status["instances"]))
    console.print(_nodes(status["instances"]))
    for line in _problems(status["instances"]):
        console.print(line)
    console.print(_links(status))


def _instances(instances: Sequence[Plain]) -> Table:
    """One column for each instance."""
    table = _table("Instances", "", *(one["name"] for one in instances))
    rows: tuple[tuple[str, Callable[[Plain], Text | str]], ...] = (
        ("role", _role),
        ("epoch", lambda one: str(one["epoch"])),
        ("VIP", lambda one: "here" if one["vip"] else "not here"),
        ("OpenVPN", _openvpn),
        ("seamless", lambda one: Text("yes", GOOD) if one["seamless"] else Text("no", BAD)),
        ("clients", lambda one: str(one["clients"])),
        ("protected", _protected),
        ("sync", _sync),
        ("grade", lambda one: f"{one['grade']} ({one['grade_reason']})"),
        ("last promotion", _promotion),
        ("rekeyed since", _rekey),
    )
    for title, read in rows:
        table.add_row(title, *(read(one) for one in instances))
    return table


def _role(one: Plain) -> Text:
    return Text(one["role"], ROLE_STYLES.get(one["role"], ""))


def _openvpn(one: Plain) -> Text:
    return Text(one["openvpn"] or "?", GOOD) if one["management_up"] else Text("down", BAD)


def _protected(one: Plain) -> Text | str:
    """As master: how many clients would survive now. As standby: how many we have."""
    if one["role"] not in {"master", "held"}:
        text = f"{one['records']} imported, {one['stale']} stale"
        return Text(text, FAIR if one["stale"] else "")
    text = f"{one['protected']} of {one['clients']}"
    if one["protected"] >= one["clients"]:
        return Text(text, GOOD)
    return Text(f"{text}, oldest {_duration(one['oldest_unprotected'])}", BAD)


def _sync(one: Plain) -> Text | str:
    """A copy stays whole when its master falls silent, but nobody knows what has changed since."""
    if one["role"] in {"master", "held"}:
        return "-"
    if one["sync"] != "in_sync" or one["following"]:
        return str(one["sync"])
    return Text("in_sync (master not heard)", FAIR)


def _promotion(one: Plain) -> str:
    phases = one["last_promotion_phases"]
    if not one["promotions"]:
        return "never"
    took = f", {max(phases.values()) * 1000:.1f} ms" if phases else ""
    return f"#{one['promotions']}{took}"


def _rekey(one: Plain) -> str:
    rekey = one["rekey"]
    if not any(rekey.values()):
        return "-"
    left = f", {rekey['left']} left by policy" if rekey["left"] else ""
    return f"{rekey['done']} of {rekey['done'] + rekey['pending']}{left}"


def _nodes(instances: Sequence[Plain]) -> Table | Text:
    """The instance is told where there are several; the problems have lines of their own."""
    if not any(one["nodes"] for one in instances):
        return Text("Other nodes: none is heard", FAIR)
    table = _table("Other nodes", "node", "role", "VIP", "epoch", "sync", "grade", "clients")
    table.add_column("heard")
    if len(instances) > 1:
        table.add_column("instance")
    for one in instances:
        for node in one["nodes"]:
            table.add_row(
                node["name"],
                _role(node),
                "has it" if node["vip"] else "",
                node["epoch"],
                _sync_of(node),
                str(node["grade"]),
                str(node["clients"]),
                _duration(node["age"]),
                *([one["name"]] if len(instances) > 1 else []),
            )
    return table


def _sync_of(node: Plain) -> str:
    return "-" if node["role"] in {"master", "held"} else str(node["sync"])


def _problems(instances: Sequence[Plain]) -> Iterator[Text]:
    """A line for each node with which something is wrong: they are too long for a column."""
    for one in instances:
        for node in one["nodes"]:
            problem = node["problem"] or _doubt(node) or _clock(node["clock_offset"])
            if problem:
                yield Text(f"{node['name']}, {one['name']}: {problem}", BAD)


def _doubt(node: Plain) -> str:
    if node["believed"]:
        return ""
    return "not believed yet" if node["age"] < SILENT else "not heard any more"


def _links(status: Plain) -> Table:
    table = _table("Back channel network", "link", "state", "received", "sent", "refused")
    for name, up in status["links"].items():
        table.add_row(name, Text("up", GOOD) if up else Text("down", BAD), "", "", "")
    refused = ", ".join(f"{reason} {count}" for reason, count in status["refused"].items())
    received, sent = sum(status["received"].values()), sum(status["sent"].values())
    table.add_row("all", "", str(received), str(sent), refused or "0")
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", show_edge=False, pad_edge=False)


def _clock(offset: float | None) -> str:
    if offset is None or abs(offset) < CLOCK_NOTABLE:
        return ""
    return f"clock {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
