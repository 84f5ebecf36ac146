"""The commands of docs/operations.md, as the page has them: it is followed literally."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
NAME = "udp"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(step: int) -> list[list[str]]:
    """The lines of each fenced block of a step, without comments; NAME is the lab's instance."""
    return _blocks(_text(step))


def blocks_under(heading: str) -> list[list[str]]:
    """Likewise of what stands under a heading, before the next one."""
    return _blocks(_section(heading))


def _blocks(text: str) -> list[list[str]]:
    """Those that are of no language: commands, and pieces of ovpnha.toml."""
    found = (block for language, block in _BLOCK.findall(text) if not language)
    lines = ([_plain(line) for line in block.splitlines()] for block in found)
    return [[line for line in block if line] for block in lines]


def quoted(step: int) -> list[str]:
    """What the running text of a step has as code."""
    return _quoted(_text(step))


def quoted_under(heading: str) -> list[str]:
    """Likewise under a heading, before the next one."""
    return _quoted(_section(heading))


def quoted_in_row(what: str) -> list[str]:
    """Likewise in the row of a table that begins with these words."""
    found = re.search(rf"^\| {re.escape(what)} \|.*$", PAGE.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{PAGE}: no table has a row {what}")
    return _quoted(found[0])


def _quoted(text: str) -> list[str]:
    found = re.findall(r"`([^`]+)`", _BLOCK.sub("", text))
    return [one.replace("NAME", NAME) for one in found]


def _section(heading: str) -> str:
    pattern = rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ )"
    found = re.search(pattern, PAGE.read_text(), re.DOTALL | re.MULTILINE)
    if found is None:
        raise LookupError(f"{PAGE}: there is no heading {heading}")
    return found[1]


def _text(step: int) -> str:
    pattern = rf"^\*\*{step}\. .*?(?=^\*\*{step + 1}\. )"
    found = re.search(pattern, PAGE.read_text(), re.DOTALL | re.MULTILINE)
    if found is None:
        raise LookupError(f"{PAGE}: there is no step {step}")
    return found[0]


def _plain(line: str) -> str:
    return re.sub(r"\s+#.*", "", line).replace("NAME", NAME).strip()
