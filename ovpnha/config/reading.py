"""Reads the file: one text for all nodes in, this node's checked view out.

Decides how ``[node.NAME]`` is laid over the rest. Every node's view is checked wherever the file
is read, so that a problem for another node is found before it is copied there.
"""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovpnha.config.fields import Config
from ovpnha.config.problems import find_problems, known_keys, printable
from ovpnha.config.values import NAME_PATTERN
from ovpnha.errors import ConfigError

COMMON = (("bcn", "mode"), ("bcn", "port"), ("conntrack", "mode"), ("conntrack", "port"))
"""Section and key of what is of no use unless it is the same on all nodes."""
NAMED = ("check", "instance")
"""Lists of tables, which are told apart by their names."""
OVERRIDABLE = (
    *("bcn", "conntrack", "control", "fence", "firewall", "history", "hooks", "http", "log"),
    *NAMED,
)

Table = Mapping[str, Any]


def load_config(path: Path, node: str | None = None) -> Config:
    """Read and check the file; give this node's view of it.

    Args:
        path: The TOML file.
        node: Name of this node; else what the file says, else the short host name.

    Raises:
        ConfigError: With one line for every problem.
    """
    return parse_config(_read(path), str(path), node)


def parse_config(text: str, source: str, node: str | None = None) -> Config:
    """Check the text of a configuration; ``source`` names it in errors (see ``load_config``)."""
    raw = _parse_toml(text, source)
    try:
        overrides = _take_overrides(raw)
        name = _name_node(raw, node)
        views = {each: _overlay(raw, each, overrides) for each in (name, *overrides)}
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    problems: dict[str, None] = {}
    for each, view in views.items():
        problems |= dict.fromkeys(find_problems(view, each, overrides.get(each, {})))
    if problems:
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in problems))
    configs = {each: Config.model_validate(view) for each, view in views.items()}
    if differences := list(_find_differences(configs)):
        raise ConfigError("\n".join(f"{source}: {one}" for one in differences))
    return configs[name]


def _find_differences(configs: Mapping[str, Config]) -> Iterator[str]:
    """What an override makes different that nodes must agree on to hear each other."""
    for section, key in COMMON:
        values = {node: getattr(getattr(one, section), key) for node, one in configs.items()}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value} on {node}" for node, value in values.items())
            yield f"{section}.{key}: must be the same on all nodes (it is {told}); correct [node.…]"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        hint = "; name another with --config" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{path}: cannot be read: {error.strerror}{hint}") from None


def _parse_toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: is not valid TOML: {printable(str(error))}") from None
    except ValueError:  # Python's own limit on the digits of a number
        raise ConfigError(f"{source}: has a number with too many digits; correct it") from None
    except RecursionError:
        raise ConfigError(f"{source}: lists or tables are nested too deeply; correct it") from None


def _name_node(raw: dict[str, Any], node: str | None) -> str:
    """Write this node's name into the cluster section, and return it."""
    cluster = raw.get("cluster")
    section = cluster if isinstance(cluster, dict) else {}
    name = node or section.get("node", socket.gethostname().partition(".")[0])
    section["node"] = name
    return str(name)


def _take_overrides(raw: dict[str, Any]) -> dict[str, Table]:
    overrides = raw.pop("node", {})
    if not isinstance(overrides, dict):
        raise ConfigError('node: must be tables [node.NAME]; this node\'s name is "cluster.node"')
    for name, tables in overrides.items():
        _check_override(name, tables)
    return overrides


def _check_override(name: str, tables: object) -> None:
    if not re.match(NAME_PATTERN, name) or not isinstance(tables, dict):
        where = f"node.{printable(name)}"
        raise ConfigError(f"{where}: must be a table [node.NAME] with the name of a node")
    for key, table in tables.items():
        if key not in OVERRIDABLE:
            known = known_keys(key, OVERRIDABLE)
            raise ConfigError(f"node.{name}.{printable(key)}: cannot differ between nodes; {known}")
        if not isinstance(table, dict):
            raise ConfigError(f"node.{name}.{key}: must be a table; write [node.{name}.{key}]")


def _overlay(raw: Table, node: str, overrides: Mapping[str, Table]) -> dict[str, Any]:
    """The base with one node's differences laid over it; lists are matched by name."""
    view = dict(raw)
    for key, table in overrides.get(node, {}).items():
        if key in NAMED:
            view[key] = _overlay_named(key, raw.get(key), node, table)
        else:
            base = raw.get(key, {})
            view[key] = {**base, **table} if isinstance(base, dict) else base
    return view


def _overlay_named(key: str, base: object, node: str, table: Table) -> list[Any]:
    given = base if isinstance(base, list) else []
    entries = [dict(one) if isinstance(one, dict) else one for one in given]
    by_name = {str(one.get("name")): one for one in entries if isinstance(one, dict)}
    for name, changes in table.items():
        where = f"node.{node}.{key}.{printable(name)}"
        if name not in by_name:
            raise ConfigError(f"{where}: there is no [[{key}]] of this name; correct the name")
        if not isinstance(changes, dict):
            raise ConfigError(f"{where}: must be a table; write [{where}]")
        if "name" in changes:
            raise ConfigError(f"{where}.name: {CANNOT_DIFFER[key]}; remove it")
        by_name[name].update(changes)
    return entries


CANNOT_DIFFER = {
    "check": "cannot differ between nodes: it names the check that is meant",
    "instance": "cannot differ between nodes: records travel between instances of one name",
}
