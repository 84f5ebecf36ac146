"""Imports go one way (docs/architecture.md, "Parts, and who may import whom")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ovpnha"

# Lowest first. A part imports itself and what stands in the rows above it, never its neighbours.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"model"}),
    frozenset({"role", "management", "replication", "store"}),
    frozenset({"coordinator", "config"}),
    frozenset({"runtime"}),
    frozenset({"daemon"}),
    frozenset({"lab"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

# The pure parts get time, randomness, bytes and events as arguments and return commands.
PURE = frozenset({"errors", "model", "role", "management", "replication", "store", "coordinator"})
IMPURE_MODULES = """
    asyncio concurrent ctypes datetime fcntl io logging multiprocessing os random secrets
    select selectors shutil signal socket socketserver ssl subprocess tempfile threading time
    uuid anyio prometheus_client pyroute2 rich sdnotify structlog typer uvloop
"""
IMPURE = frozenset(IMPURE_MODULES.split())
# Its parsers are fed by our own channel; whatever else it can do needs a socket that it never gets.
PARSERS = {"openvpn_api": "management"}
# The lab drives the daemon that users run, from outside: it starts it, it does not call it.
FORBIDDEN = {"lab": frozenset({"daemon", "coordinator"})}


@dataclass(frozen=True)
class Import:
    """One import of one file: who, where, and the dotted name that it asks for."""

    part: str
    place: str
    target: str

    @property
    def target_part(self) -> str | None:
        """The part of ovpnha that is imported; None for other packages and for `ovpnha` itself."""
        head, _, rest = self.target.partition(".")
        return rest.partition(".")[0] or None if head == "ovpnha" else None


def targets(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that an import statement asks for, relative ones made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, base]).strip(".")
        # `from ovpnha import role` names a part in its last word.
        yield from (f"{base}.{alias.name}" if base == "ovpnha" else base for alias in node.names)


def imports_of(source: str, path: Path) -> Iterator[Import]:
    """Every import of one file, also those inside functions and for the type checker only."""
    inner = path.relative_to(PACKAGE.parent)
    package = ".".join(inner.parent.parts)
    part = inner.parts[1].removesuffix(".py")
    for node in ast.walk(ast.parse(source)):
        for target in targets(node, package):
            yield Import(part, f"{inner}:{getattr(node, 'lineno', 0)}", target)


def all_imports() -> list[Import]:
    """Every import of every file of ovpnha."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [found for path in files for found in imports_of(path.read_text(), path)]


def objection(found: Import) -> str | None:
    """Why an import may not be, or None."""
    head = found.target.partition(".")[0]
    if found.part in PURE and head in IMPURE:
        return f"{found.place}: {found.part} is pure and imports {head}; take it as an argument"
    if found.part in PURE and PARSERS.get(head, found.part) != found.part:
        return f"{found.place}: only {PARSERS[head]} feeds the parsers of {head}"
    wanted = found.target_part
    if wanted is None or wanted == found.part or wanted not in RANK:
        return None
    if RANK[wanted] >= RANK[found.part]:
        return f"{found.place}: {found.part} imports {wanted}, which is not below it"
    if wanted in FORBIDDEN.get(found.part, ()):
        return f"{found.place}: {found.part} imports {wanted}; it drives the daemon from outside"
    return None


def test_every_part_has_a_place() -> None:
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix != ".typed"}
    assert parts - {"__init__", "__pycache__"} <= set(RANK)


def test_imports_go_one_way() -> None:
    objections = [text for text in map(objection, all_imports()) if text]
    assert not objections, "\n".join(objections)


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("role/machine.py", "import asyncio"),
        ("store/table.py", "from time import monotonic"),
        ("coordinator/node.py", "from openvpn_api.vpn import VPN"),
        ("replication/wire.py", "def f() -> None:\n    import os.path"),
        ("role/machine.py", "from ovpnha.store import table"),
        ("role/machine.py", "from ovpnha import store"),
        ("role/machine.py", "from ..store import table"),
        ("model.py", "from ovpnha.role import machine"),
        ("coordinator/node.py", "from ovpnha.config import Config"),
        ("runtime/bcn.py", "import ovpnha.daemon"),
        ("lab/scenario.py", "from ovpnha.daemon import run"),
    ],
)
def test_a_wrong_import_is_found(file: str, statement: str) -> None:
    assert any(map(objection, imports_of(statement, PACKAGE / file)))


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("role/machine.py", "from ovpnha.model import Role"),
        ("role/machine.py", "from . import diagram"),
        ("coordinator/node.py", "from ovpnha.role.machine import Trigger"),
        ("runtime/bcn.py", "import asyncio\nimport time"),
        ("cli/app.py", "from ovpnha import __version__, daemon"),
    ],
)
def test_a_right_import_is_let_through(file: str, statement: str) -> None:
    assert not any(map(objection, imports_of(statement, PACKAGE / file)))
