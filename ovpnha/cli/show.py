"""``ovpnha status`` for the eye: instances, nodes and links as tables, and what is to be mended.

Decides only words. They are for somebody who sees this page for the first time; docs/operations.md
explains each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

GOOD, FAIR, BAD = "green", "yellow", "red"
SOURCES = {"master", "held"}
ROLES = {
    "master": ("serves the clients", GOOD),
    "standby": ("silent, ready to take over", GOOD),
    "held": ("silent since the VIP left, keeps its clients", FAIR),
    "init": ("has not heard from OpenVPN yet", FAIR),
    "fault": ("cannot do its part, see below", BAD),
}
FAULT_GRADE = -254

CLOCK_NOTABLE = 1.0  # seconds

Plain = Mapping[str, Any]


def show_status(status: Plain, console: Console) -> None:
    """Print the answer to the ``status`` command."""
    console.print(f"node [bold]{status['node']}[/bold], sidecar up {_duration(status['uptime'])}")
    console.print(_instances(status["instances"]))
    console.print(_nodes(status["instances"]))
    console.print(_links(status))
    problems = list(_problems(status))
    console.print(Text("To mend:", BAD) if problems else Text("Nothing to mend.", GOOD))
    for line in problems:
        console.print(Text(f"- {line}"))


def _instances(instances: Sequence[Plain]) -> Table:
    """One column for each instance."""
    table = _table("Instances of this node", "", *(one["name"] for one in instances))
    rows: tuple[tuple[str, Callable[[Plain], Text | str]], ...] = (
        ("role", _role),
        ("VIP", _vip),
        ("OpenVPN", _openvpn),
        ("clients", _clients),
        ("copy", _copy),
        ("grade", _grade),
        ("epoch", _epoch),
        ("promotions", _promotion),
        ("new keys", _rekey),
    )
    for title, read in rows:
        table.add_row(title, *(_text(read(one)) for one in instances))
    return table


def _text(cell: Text | str) -> Text:
    """Nothing that is shown is markup."""
    return cell if isinstance(cell, Text) else Text(cell)


def _role(one: Plain) -> Text:
    meaning, style = ROLES[one["role"]]
    if one["role"] == "init" and one["openvpn"]:
        meaning = "OpenVPN without cluster serves by itself"
    if one["role"] == "standby" and one["grade"] == FAULT_GRADE:
        meaning, style = "silent, and must not take over", BAD
    return Text(f"{one['role']}: {meaning}", style)


def _vip(one: Plain) -> Text | str:
    if one["vip"]:
        return "here"
    others = ", ".join(_with_vip(one))
    return f"not here, {others} has it" if others else Text("no node that is heard has it", BAD)


def _with_vip(one: Plain) -> list[str]:
    """The other nodes that have the VIP."""
    return [node["name"] for node in one["nodes"] if node["vip"] and node["believed"]]


def _openvpn(one: Plain) -> Text:
    if not one["management_up"]:
        return Text("not connected", BAD)
    if not one["openvpn"]:
        return Text("connected, has not answered yet", FAIR)
    if not one["seamless"]:
        return Text(f"{one['openvpn']}, clients reconnect at a takeover", BAD)
    return Text(f"{one['openvpn']}, takeovers are seamless", GOOD)


def _clients(one: Plain) -> Text | str:
    """As master: how many clients would survive now. As standby: how many we have."""
    if one["role"] == "init":
        return str(one["clients"])
    if one["role"] not in SOURCES:
        outdated = f", {one['stale']} missing or outdated" if one["stale"] else ""
        return Text(f"{one['records']} copied here{outdated}", FAIR if outdated else "")
    count, safe = one["clients"], one["protected"]
    if safe >= count:
        return Text(f"{count}, all protected" if count else "none", GOOD)
    since = _duration(one["oldest_unprotected"])
    some = f"only {safe}" if safe else "none"
    return Text(f"{count}, {some} protected (one has waited for {since})", BAD)


def _copy(one: Plain) -> Text | str:
    """A copy stays whole when its master falls silent, but nobody knows what has changed since."""
    if one["role"] in SOURCES:
        return "- (this node has the originals)"
    if one["sync"] == "none":
        return Text("none: no master is heard" if one["role"] == "standby" else "none", FAIR)
    master = one["following"]
    if one["sync"] == "syncing":
        return Text(f"being made of {master or 'a master that is not heard'}", FAIR)
    if one["sync"] == "partial":
        some = f"{one['refused']} clients that OpenVPN refuses"
        return Text(f"in sync, but for {some} (see below)", BAD)
    if master:
        return Text(f"in sync with {master}", GOOD)
    return Text("was in sync; the master is not heard any more", FAIR)


def _grade(one: Plain) -> Text | str:
    """What the VIP manager reads. The long reason of a fault has a line of its own."""
    if one["grade"] == FAULT_GRADE:
        return Text("-254, refuses the VIP (see below)" if one["problems"] else "-254", BAD)
    return f"{one['grade']}, {one['grade_reason']}"


def _epoch(one: Plain) -> str:
    counter, _, node = str(one["epoch"]).partition("/")
    return f"{counter} (begun by {node})" if node else "none: no node has ever been promoted"


def _promotion(one: Plain) -> str:
    """Since the sidecar started."""
    if not one["promotions"]:
        return "none of this node"
    phases = one["last_promotion_phases"]
    took = f", the last took {max(phases.values()) * 1000:.1f} ms" if phases else ""
    return f"{one['promotions']} of this node{took}"


def _rekey(one: Plain) -> str:
    """After a promotion: of the clients that came from another node."""
    rekey = one["rekey"]
    if not any(rekey.values()):
        return "-"
    left = f", {rekey['left']} keep theirs by policy" if rekey["left"] else ""
    return f"{rekey['done']} of {rekey['done'] + rekey['pending']} clients that moved here{left}"


def _nodes(instances: Sequence[Plain]) -> Table | Text:
    """The instance is told where there are several; the problems have lines of their own."""
    if not any(one["nodes"] for one in instances):
        return Text("Other nodes: none is heard", FAIR)
    table = _table("Other nodes", "node", "role", "VIP", "copy", "grade", "clients", "heard")
    if len(instances) > 1:
        table.add_column("instance")
    for one in instances:
        for node in one["nodes"]:
            cells = _cells(node) if node["has_instance"] else ("-", "", "-", "-", "-")
            where = [one["name"]] if len(instances) > 1 else []
            heard = f"{_duration(node['age'])} ago"
            table.add_row(*map(_text, (node["name"], *cells, heard, *where)))
    return table


def _cells(node: Plain) -> tuple[Text | str, ...]:
    if node["lost"]:
        return f"was {node['role']}", "had it" if node["vip"] else "", "-", "-", "-"
    if not node["believed"]:
        return "-", "", "-", "-", "-"  # what it says is not heard yet
    style = ROLES[node["role"]][1]
    copy = "-" if node["role"] in SOURCES else node["sync"].replace("_", " ")
    vip = "has it" if node["vip"] else ""
    return Text(node["role"], style), vip, copy, str(node["grade"]), str(node["clients"])


def _problems(status: Plain) -> Iterator[str]:
    """A line for each: they are too long for a column."""
    for name, up in status["links"].items():
        if not up:
            yield f"BCN link {name} is down: no carrier, switched off, or not there"
    if (status.get("tracking") or {}).get("problem"):  # a daemon may be older than this command
        yield f"{status['tracking']['problem']}. Connections behind NAT would break at a takeover"
    if status.get("firewall"):
        yield f"{status['firewall']}. Connections behind NAT would break at a takeover"
    for name, nodes in status["lacking"].items():
        yield (
            f"{', '.join(nodes)}: has an instance {name}, which this node lacks; write the same"
            " [[instance]] on all nodes"
        )
    for one in status["instances"]:
        yield from (f"{one['name']}: {problem}" for problem in one["problems"])
        if not one["vip"] and not _with_vip(one):
            yield f"{one['name']}: no node that is heard has the VIP; {_why_none(one)}"
        for node in one["nodes"]:
            problem = node["problem"] or _doubt(node, one["name"]) or _clock(node["clock_offset"])
            if problem:
                yield f"{one['name']}, node {node['name']}: {problem}"


def _why_none(one: Plain) -> str:
    """A VIP manager that everybody refuses is not to blame."""
    heard = [one, *(node for node in one["nodes"] if node["believed"] and node["has_instance"])]
    if all(node["grade"] == FAULT_GRADE for node in heard):
        return "each refuses it (grade -254)"
    return "does the VIP manager run?"


def _doubt(node: Plain, instance: str) -> str:
    if not node["has_instance"]:
        return f"has no instance {instance}; write the same [[instance]] on all nodes"
    if node["believed"]:
        if node["grade"] == FAULT_GRADE:
            return "refuses the VIP (grade -254); ovpnha status there says why"
        managed = node.get("managed", True)  # a daemon that is older than this command
        return "" if managed else "cannot take the VIP: no VIP manager reads its grade"
    if node["lost"]:
        return "not heard any more; it is down, or the BCN is"
    return "heard, but not believed yet; if that lasts, it does not hear this node"


def _links(status: Plain) -> Table:
    table = _table("Back channel network (BCN), in datagrams", "link", "state", "received", "sent")
    table.add_column("refused, by reason")
    for name, up in status["links"].items():
        table.add_row(Text(name), Text("up", GOOD) if up else Text("down", BAD), "", "", "")
    refused = ", ".join(f"{reason} {count}" for reason, count in status["refused"].items())
    received, sent = sum(status["received"].values()), sum(status["sent"].values())
    table.add_row("all", "", str(received), str(sent), refused or "none")
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", show_edge=False, pad_edge=False)


def _clock(offset: float | None) -> str:
    if offset is None or abs(offset) < CLOCK_NOTABLE:
        return ""
    return f"its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}; keep it by NTP"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
