"""Imports go one way (docs/architecture.md, "Parts, and who may import whom")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ovpnha"

# Lowest first. A part imports itself and what stands in the rows above it, never its neighbours.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"model", "problems"}),
    frozenset({"machines"}),
    frozenset({"management", "replication", "firewall", "checks"}),
    frozenset({"node", "config", "doctor"}),
    frozenset({"setup"}),
    frozenset({"runtime"}),
    frozenset({"daemon"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

# The same inside of the node: rooms, and the files between them.
ROOMS: tuple[frozenset[str], ...] = (
    frozenset({"memory"}),
    frozenset({"carried", "config", "outputs", "part", "tracking"}),
    frozenset({"role", "openvpn"}),
    frozenset({"cluster"}),
    frozenset({"master", "standby", "stock"}),
    frozenset({"statistics"}),
    frozenset({"assembly"}),
    frozenset({"arbiter", "parts"}),
    frozenset({"moving", "sides", "pairproblems"}),
    frozenset({"change"}),
    frozenset({"steps", "stocksteps"}),
    frozenset({"verbs"}),
    frozenset({"instance"}),
    frozenset({"chronicle", "dispatch"}),
    frozenset({"asked"}),
    frozenset({"node"}),
    frozenset({"slotview", "voice"}),
    frozenset({"slot"}),
    frozenset({"delegating"}),
    frozenset({"pair"}),
)
ROOM_RANK = {room: rank for rank, row in enumerate(ROOMS) for room in row}

# The pure parts get time, randomness, bytes and events as arguments and return commands.
PURE_PARTS = """
    errors model machines problems checks management replication firewall node setup doctor
"""
PURE = frozenset(PURE_PARTS.split())
IMPURE_MODULES = """
    asyncio concurrent ctypes datetime fcntl io logging multiprocessing os random secrets
    select selectors shutil signal socket socketserver ssl subprocess tempfile threading time
    uuid anyio prometheus_client pyroute2 rich sdnotify structlog typer uvloop
"""
IMPURE = frozenset(IMPURE_MODULES.split())
# Its parsers are fed by our own channel; whatever else it can do needs a socket that it never gets.
PARSERS = {"openvpn_api": "management"}
# What is installed knows nothing of the tests, nor of the lab among them.
OUTSIDE = frozenset({"tests"})
# The lab drives the daemon that users run, from outside: it starts it, it does not call it.
LAB = PACKAGE.parent / "tests" / "lab"
FORBIDDEN_IN_LAB = re.compile(r"ovpnha\.(daemon|node)\b")


@dataclass(frozen=True)
class Import:
    """One import of one file: who, where, and the dotted name that it asks for."""

    part: str
    room: str  # within the part
    place: str
    target: str

    @property
    def target_part(self) -> str | None:
        """The part of ovpnha that is imported; None for other packages and for `ovpnha` itself."""
        head, _, rest = self.target.partition(".")
        return rest.partition(".")[0] or None if head == "ovpnha" else None

    @property
    def target_room(self) -> str:
        """The room within the part that is imported; "" for the part itself."""
        return (*self.target.split("."), "", "")[2]


def targets(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that an import statement asks for, relative ones made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, base]).strip(".")
        # `from ovpnha import node` names a part in its last word, `from ovpnha.node import` a room.
        last = base in ("ovpnha", "ovpnha.node")
        yield from (f"{base}.{alias.name}" if last else base for alias in node.names)


def imports_of(source: str, path: Path) -> Iterator[Import]:
    """Every import of one file, also those inside functions and for the type checker only."""
    inner = path.relative_to(PACKAGE.parent)
    package = ".".join(inner.parent.parts)
    part, room = ((*inner.parts, "")[at].removesuffix(".py") for at in (1, 2))
    for node in ast.walk(ast.parse(source)):
        for target in targets(node, package):
            yield Import(part, room, f"{inner}:{getattr(node, 'lineno', 0)}", target)


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
    if head in OUTSIDE:
        return f"{found.place}: {found.part} imports {found.target}, which is not installed"
    wanted = found.target_part
    if found.part == wanted == "node":
        return room_objection(found)
    if wanted is None or wanted == found.part or wanted not in RANK:
        return None
    if RANK[wanted] >= RANK[found.part]:
        return f"{found.place}: {found.part} imports {wanted}, which is not below it"
    return None


def room_objection(found: Import) -> str | None:
    """Why an import within the node may not be, or None."""
    room, wanted = found.room, found.target_room
    if wanted == room or ROOM_RANK.get(wanted, len(ROOMS)) < ROOM_RANK[room]:
        return None
    return f"{found.place}: {room} imports {found.target}, which is not below it"


def test_every_part_has_a_place() -> None:
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix != ".typed"}
    assert parts - {"__init__", "__pycache__"} <= set(RANK)
    rooms = {path.name.removesuffix(".py") for path in (PACKAGE / "node").iterdir()}
    assert rooms - {"__init__", "__pycache__"} == set(ROOM_RANK)


def test_imports_go_one_way() -> None:
    objections = [text for text in map(objection, all_imports()) if text]
    assert not objections, "\n".join(objections)


def test_the_lab_drives_the_daemon_from_outside() -> None:
    files = sorted(LAB.rglob("*.py"))
    assert files
    found = [one for path in files for one in imports_of(path.read_text(), path)]
    assert not [one.place for one in found if FORBIDDEN_IN_LAB.match(one.target)]


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("node/role/machine.py", "import asyncio"),
        ("node/master/table.py", "from time import monotonic"),
        ("node/node.py", "from openvpn_api.vpn import VPN"),
        ("replication/wire.py", "def f() -> None:\n    import os.path"),
        ("management/lines.py", "from ovpnha.replication import log"),
        ("management/lines.py", "from ovpnha import replication"),
        ("management/lines.py", "from ..replication import log"),
        ("model.py", "from ovpnha.node.role import machine"),
        ("node/node.py", "from ovpnha.config import Config"),
        ("node/role/machine.py", "from ovpnha.node.openvpn import pipeline"),
        ("node/role/machine.py", "from ovpnha.node import cluster"),
        ("node/master/rekey.py", "from ovpnha.node.standby.table import StandbyTable"),
        ("node/standby/importer.py", "from ..instance import Instance"),
        ("node/outputs.py", "from ovpnha.node.role.succession import Step"),
        ("runtime/bcn.py", "import ovpnha.daemon"),
        ("runtime/bcn.py", "from tests.lab import plan"),
    ],
)
def test_a_wrong_import_is_found(file: str, statement: str) -> None:
    assert any(map(objection, imports_of(statement, PACKAGE / file)))


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("node/role/machine.py", "from ovpnha.model import Role"),
        ("node/role/machine.py", "from . import diagram"),
        ("node/node.py", "from ovpnha.management.commands import Hold"),
        ("node/cluster/view.py", "from ovpnha.node.role.lineage import Lineage"),
        ("node/instance.py", "from ovpnha.node.master.exporter import Exporter"),
        ("runtime/bcn.py", "import asyncio\nimport time"),
        ("cli/app.py", "from ovpnha import __version__, daemon"),
    ],
)
def test_a_right_import_is_let_through(file: str, statement: str) -> None:
    assert not any(map(objection, imports_of(statement, PACKAGE / file)))
