"""Every step that the search makes on a key's ids is the step of the real cluster_range.c."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof import keys
from tests.proof.__main__ import BOUNDS
from tests.proof.keys import Grant, Key
from tests.proof.search import search

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "openvpn"
UNITS = BUILD / "tree" / "tests" / "unit_tests" / "openvpn"
COMMON = ROOT / "openvpn-patches" / "common"
SOURCES = ("buffer.c", "otime.c", "packet_id.c", "platform.c")
BOUNDS_IN_C = {"FIRST": keys.SIZE, "LAST": keys.SIZE, "MIN": keys.LEAST, "END": 1000}

# Given to C, and what the model says.
Line = tuple[str, str]


@pytest.mark.integration
def test_every_step_of_the_model_is_one_of_cluster_range_c(tmp_path: Path) -> None:
    lines = sorted(set(_steps("ids")) | set(_steps("sidecar")))
    program = _compile(tmp_path / "step")
    answer = subprocess.run(
        [program],
        input="\n".join(asked for asked, _ in lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    assert len(lines) > 1000
    assert len(answer) == len(lines)
    for (asked, expected), said in zip(lines, answer, strict=True):
        assert _in_order(said) == _in_order(expected), f"after {asked}"


def _compile(program: Path) -> Path:
    source = BUILD / "tree" / "src"
    mocks = [UNITS / "mock_msg.c", UNITS / "mock_get_random.c"]
    subprocess.run(
        [
            *(
                "gcc",
                "-w",
                "-O1",
                "-g",
                "-fsanitize=address,undefined",
                "-DHAVE_CONFIG_H",
                f"-I{COMMON}",
            ),
            *(f"-DCLUSTER_RANGE_{name}={value}u" for name, value in BOUNDS_IN_C.items()),
            *(f"-I{one}" for one in (BUILD / "on", BUILD / "on" / "include")),
            *(f"-I{one}" for one in (source.parent / "include", source / "compat", UNITS)),
            *(f"-I{source / 'openvpn'}", "-o", program),
            *(COMMON / "test_cluster_step.c", COMMON / "cluster_range.c"),
            *(source / "openvpn" / one for one in SOURCES),
            *mocks,
            *("-I/usr/include/libnl3", "-lcmocka", "-lcap-ng"),
        ],
        check=True,
    )
    return program


def _steps(bounds: str) -> Iterator[Line]:
    """Each operation on each key that a search of these bounds comes across, once."""
    model = BOUNDS[bounds]
    known: set[Key] = {keys.STANDBY}
    told: set[Grant] = set()
    for state in search(model).came:
        for node in state.nodes:
            known |= {key for key in node.keys if key is not None}
    for key in known:
        told |= set(key.grants)
    for key in known:
        yield from _of_key(key, told)


def _of_key(key: Key, told: set[Grant]) -> Iterator[Line]:
    after = keys.send(key)
    if key.limit or after is not None:  # the model ends where a key without a cap does
        yield f"send {_text(key)}", f"{_text(after or key)} | {after.id if after else 0}"
    yield f"promote {_text(key)}", _text(keys.promote(key))
    yield f"overtake {_text(key)}", _text(keys.overtake(key))
    for holders in ((1,), (2,), (3,), (1, 2), (2, 3), (1, 3, 4)):
        after, grants = keys.export(key, holders)
        asked = f"{len(holders)} {' '.join(map(str, holders))}"
        order = sorted(grants, key=lambda grant: holders.index(grant.holder))
        said = "".join(f" {one.holder} {one.start} {one.end}" for one in order)
        yield f"export {_text(key)} {asked}", f"{_text(after)} | {len(grants)}{said}"
    for grant in told:
        acknowledged = keys.stored(key, grant.holder, grant.end)
        yield f"stored {_text(key)} {grant.holder} {grant.end}", _text(acknowledged)
        taken = keys.take(key, (grant.start, grant.end))
        text = f"{_text(key if taken is None else taken)} | {int(taken is not None)}"
        yield f"take {_text(key)} {grant.start} {grant.end}", text


def _in_order(said: str) -> str:
    """C keeps grants in the order they were made, the model by holder."""
    state, bar, rest = said.partition(" | ")
    words = state.split()
    if words[4] == words[5]:  # wherever an empty segment lies
        words[4:6] = "0", "0"
    grants = sorted(tuple(map(int, words[i : i + 4])) for i in range(10, len(words), 4))
    return (
        " ".join(words[:10]) + "".join(" {} {} {} {}".format(*one) for one in grants) + bar + rest
    )


def _text(key: Key) -> str:
    """As test_cluster_step.c has it."""
    head = (int(key.sending), key.id, key.limit, key.segment_start, *key.next, *key.rest)
    grants = "".join(f" {g.holder} {g.start} {g.end} {int(g.stored)}" for g in key.grants)
    return f"{' '.join(map(str, head))} {key.forgotten} {len(key.grants)}{grants}"
