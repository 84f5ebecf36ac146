"""``ovpnha clients`` for the eye: who is connected, since when, and whether another node has it.

Decides only words. Names and addresses come from certificates and from the network; what a terminal
would obey in them was written out before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS = ("B", "kB", "MB", "GB", "TB")
ROLES = {
    "master": "master, serves them",
    "held": "held: silent since the VIP left",
    "standby": "standby, has a copy of each",
}

Plain = Mapping[str, Any]


def show_clients(answer: Plain, console: Console) -> None:
    """Print the answer to the ``clients`` command."""
    clients: Sequence[Plain] = answer["clients"]
    role = ROLES.get(answer["role"], answer["role"])
    console.print(Text(f"{answer['instance']}: {len(clients)} clients; this node is {role}"))
    if clients:
        console.print(_table(sorted(clients, key=lambda one: one["name"]), answer["role"]))


def _table(clients: Sequence[Plain], role: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "address", "in the tunnel", "connected since", "received", "sent"):
        table.add_column(title, justify="right" if title in {"received", "sent"} else "left")
    for title in ("another node has it", "came from", "uid"):
        table.add_column(title)
    for one in clients:
        name = one["name"] + (f" ({one['user']})" if one["user"] else "")
        row = (
            name,
            one["address"],
            " ".join(one["virtual"]),
            _moment(one["since"]),
            _size(one["received"]),
            _size(one["sent"]),
            _protection(one, role),
            _origin(one),
            one["uid"] or "-",
        )
        table.add_row(*(Text(word) for word in row))
    return table


def _protection(one: Plain, role: str) -> str:
    if role == "standby":
        return "this is the copy"
    if one["uid"] is None:
        return "no: OpenVPN without the patch"
    wait = one["unprotected"]
    return "yes" if wait is None else f"no, for {wait:.1f} s"


def _origin(one: Plain) -> str:
    if not one["moved"]:
        return "connected here"
    return f"node {one['origin']}" if one["origin"] else "another node"


def _moment(since: int | None) -> str:
    if since is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))


def _size(count: float) -> str:
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"
