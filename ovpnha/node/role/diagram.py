"""Writes the role table as text for docs/roles.md: a table, and a mermaid diagram of the same.

``python -m ovpnha.node.role.diagram docs/roles.md`` renews the part between the two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ovpnha.model import Role
from ovpnha.node.role.machine import MEANING, TRANSITIONS, Trigger

BEGIN = "<!-- begin of what `python -m ovpnha.node.role.diagram` writes -->"
END = "<!-- end of what `python -m ovpnha.node.role.diagram` writes -->"


def transitions() -> Iterator[tuple[Role, Trigger, Role]]:
    """Every transition of the table, in its order."""
    for role, row in TRANSITIONS.items():
        for trigger, target in row.items():
            yield role, trigger, target


def render() -> str:
    """The generated part of docs/roles.md, with its markers."""
    lines = [BEGIN, "", "| role | trigger | new role | meaning |", "|---|---|---|---|"]
    lines += [
        f"| {role.value} | {trigger.value} | {target.value} | {MEANING[trigger]} |"
        for role, trigger, target in transitions()
    ]
    lines += ["", "```mermaid", "stateDiagram-v2", f"    [*] --> {Role.INIT.value}"]
    lines += [
        f"    {role.value} --> {target.value}: {trigger.value}"
        for role, trigger, target in transitions()
    ]
    return "\n".join([*lines, "```", "", END])


def renew(text: str) -> str:
    """The document with its generated part renewed; ValueError when a marker is missing."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the document lacks its markers; put these lines in: {BEGIN} and {END}")
    return before + render() + after


def main(arguments: list[str]) -> None:
    """Renew each document named."""
    for name in arguments:
        path = Path(name)
        path.write_text(renew(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
