"""Includes of the C files go one way (openvpn-patches/README.md, "Floors")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PATCHES = Path(__file__).parents[2] / "openvpn-patches"
INCLUDE = re.compile(r'^#include "(cluster\w*\.h)"', re.M)
DEFINITION = re.compile(r"^(?!static\b)[a-z][\w ]*\*?\n\*?(cluster_\w+)\(", re.M)

Room = frozenset[str]


def read_rooms(readme: str) -> list[Room]:
    """The files of each row of the table, the lowest first."""
    table = readme.partition("## Floors")[2].partition("\n## ")[0]
    rows = [row.split("|")[2] for row in re.findall(r"^\|.*\|$", table, re.M)[2:]]
    return [frozenset(expand(re.findall(r"`(.*?)`", row))) for row in rows]


def expand(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        stem, both, _ = name.partition(".[ch]")
        yield from (f"{stem}.h", f"{stem}.c") if both else (name,)


def read_files() -> dict[str, str]:
    files = sorted((PATCHES / "common").glob("cluster*.[ch]"))
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def find_problems(rooms: Sequence[Room], files: Mapping[str, str]) -> list[str]:
    """What of the files breaks the rules of the floors."""
    floors = {name: floor for floor, room in enumerate(rooms) for name in room}
    return [
        *(f"{name} has no floor" for name in files if name not in floors),
        *(f"{name} is not there" for name in floors if name not in files),
        *(
            f"{name} includes {other}, which is above it"
            for name, text in files.items()
            for other in INCLUDE.findall(text)
            if floors.get(other, 0) > floors.get(name, len(rooms))
        ),
        *find_circles(files),
        *(problem for room in rooms for problem in find_strangers(room, files)),
    ]


def find_circles(files: Mapping[str, str]) -> Iterator[str]:
    """Headers that get themselves back by what they include."""
    for name in files:
        reached: set[str] = set()
        waiting = INCLUDE.findall(files[name])
        while waiting:
            other = waiting.pop()
            if other not in reached:
                reached.add(other)
                waiting += INCLUDE.findall(files.get(other, ""))
        if name in reached:
            yield f"{name} includes itself in a circle"


def find_strangers(room: Room, files: Mapping[str, str]) -> Iterator[str]:
    """Functions that are declared elsewhere: who calls them would not be seen to include them."""
    headers = "".join(files.get(name, "") for name in room if name.endswith(".h"))
    for name in sorted(room):
        for function in DEFINITION.findall(files.get(name, "") if name.endswith(".c") else ""):
            if not re.search(rf"\b{function}\(", headers):
                yield f"{function} of {name} is declared in another room"


def test_the_files_keep_to_their_floors() -> None:
    rooms = read_rooms((PATCHES / "README.md").read_text(encoding="utf-8"))
    files = read_files()
    assert len(rooms) > 10
    assert sum(len(DEFINITION.findall(text)) for text in files.values()) > 100
    assert find_problems(rooms, files) == []


LOW = frozenset({"cluster_low.h", "cluster_low.c"})
HIGH = frozenset({"cluster.h", "cluster.c", "cluster_inner.h"})
GOOD = {
    "cluster_low.h": "void cluster_low(void);\n",
    "cluster_low.c": '#include "cluster_low.h"\nvoid\ncluster_low(void)\n{\n}\n',
    "cluster.h": '#include "cluster_low.h"\n#include "cluster_inner.h"\n',
    "cluster_inner.h": "",
    "cluster.c": '#include "cluster.h"\n',
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"cluster_low.c": '#include "cluster.h"\n'}, "cluster_low.c includes cluster.h, which"),
        ({"cluster_inner.h": '#include "cluster.h"\n'}, "cluster.h includes itself in a circle"),
        ({"cluster_more.c": ""}, "cluster_more.c has no floor"),
        ({"cluster_low.h": ""}, "cluster_low of cluster_low.c is declared in another room"),
    ],
)
def test_what_goes_wrong_is_found(change: Mapping[str, str], problem: str | None) -> None:
    problems = find_problems([LOW, HIGH], {**GOOD, **change})
    assert not problems if problem is None else any(one.startswith(problem) for one in problems)


def test_a_file_that_is_gone_is_missed() -> None:
    files = {name: text for name, text in GOOD.items() if name != "cluster.c"}
    assert find_problems([LOW, HIGH], files) == ["cluster.c is not there"]
