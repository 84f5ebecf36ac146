"""``ovpnha status`` and ``ovpnha clients`` on a terminal.

Decides the layout: what is said, and to whom it is good news, is in ``ovpnha/runtime/rows.py``.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovpnha.runtime.historypage import HistoryPage
from ovpnha.runtime.nodespage import NodesAnswer, describe_nodes
from ovpnha.runtime.rows import Cell, ClientsPage, Grid, Level, StatusPage

STYLES = {Level.PLAIN: "", Level.GOOD: "green", Level.FAIR: "yellow", Level.BAD: "red"}


def show_status(page: StatusPage, console: Console) -> None:
    """Print the page about a node; a problem is told whole, however narrow the terminal."""
    console.print(Text(page.heading, "bold"))
    for part in (page.instances, page.nodes, page.links):
        console.print(_table(part) if isinstance(part, Grid) else _text(part))
    console.print(_text(page.verdict))
    for line in page.problems:
        console.print(Text(f"- {line}"))


def show_part(part: Grid | Cell, console: Console) -> None:
    """Print a table, or that there is none."""
    console.print(_table(part) if isinstance(part, Grid) else _text(part))


def show_clients(page: ClientsPage, console: Console) -> None:
    """Print the list of clients."""
    console.print(Text(page.heading))
    if page.clients is not None:
        console.print(_table(page.clients))


def show_nodes(answer: NodesAnswer, console: Console) -> None:
    """Print all nodes."""
    instances, heard, problems = describe_nodes(answer)
    for grid in (instances, heard):
        console.print(_table(grid))
    console.print(Text("Problems:" if problems else "No problems."))
    for line in problems:
        console.print(Text(f"- {line}"))


def show_history(page: HistoryPage, console: Console) -> None:
    """Print the changes of roles; what a line has no room for goes on in the next one."""
    console.print(Text(page.heading))
    if page.changes is not None:
        console.print(_table(page.changes))
    for note in page.notes:
        console.print(Text(note))


def _table(grid: Grid) -> Table:
    """With a title it has lines, without one it has none."""
    table = Table(title=grid.title or None, title_justify="left", show_edge=False, pad_edge=False)
    if not grid.title:
        table.box = None
    for column in grid.columns:
        table.add_column(Text(column), justify="right" if column in grid.numbers else "left")
    for row in grid.rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: Cell) -> Text:
    """Nothing that is shown is markup."""
    return Text(cell.text, STYLES[cell.level])
