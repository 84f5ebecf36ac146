"""Whatever stands in a configuration: it is taken, or refused in lines that can be printed."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.config import parse_config
from ovpnha.errors import ConfigError

EXAMPLE = tomllib.loads((Path(__file__).parents[2] / "deploy/ovpnha.toml").read_text())
EXAMPLE.setdefault("node", {}).setdefault("b", {"http": {"listen": ""}})
EXAMPLE["node"]["b"]["instance"] = {EXAMPLE["instance"][0]["name"]: {"vip_interface": "eth1"}}

LEAVES = (
    st.text(max_size=300)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from(["", "/", "::", "0.0.0.0", "a" * 300, "/" + "x/" * 200, "\0", "[::1]:9"])  # noqa: S104
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place of a document, the inner ones too."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


def written(value: Any) -> str:
    """A value as TOML, whatever its keys are."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(k, ensure_ascii=False)} = {written(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(one) for one in value) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


PLACES = places(EXAMPLE)


def take(text: str) -> None:
    try:
        parse_config(text, "f", node="b")
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines
        for line in lines:
            assert line.isprintable(), line
            assert line.startswith("f: ")


@given(place=st.sampled_from(PLACES), value=VALUES, key=st.text(max_size=20) | st.none())
def test_any_value_at_any_place(place: tuple[str | int, ...], value: Any, key: str | None) -> None:
    document = copy.deepcopy(EXAMPLE)
    target: Any = document
    for part in place[:-1]:
        target = target[part]
    if key is not None and isinstance(target, dict):
        target[key] = value
    else:
        target[place[-1]] = value
    take("\n".join(f"{written(name)} = {written(one)}" for name, one in document.items()))


@given(text=st.text(max_size=200))
def test_any_text(text: str) -> None:
    take(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a." * 3000 + "a = 1", "[" * 9000])
def test_depths(text: str) -> None:
    take(text)
