"""docs/configuration.md, generated from the fields of the configuration.

`keys` and `sections` are what the manual page (`manual`) is made from, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ovpnha.config import BcnLink, Config, SnatConfig
from ovpnha.config.fence import FenceSection, render_fence
from ovpnha.config.hook import HookSection, render_events
from ovpnha.config.problems import toml_value

HEAD = """# Configuration

`/etc/ovpnha/ovpnha.toml`, in [TOML](https://toml.io). The same file may serve all nodes. Unknown \
keys are refused; `ovpnha check-config` says what is wrong, and what is only a warning. \
[deploy/ovpnha.toml](../deploy/ovpnha.toml) is an example to start from. This page is made from \
the program by `ovpnha reference`.
"""

NODE_TEXT = """\
What differs on one node: any key of `bcn`, `conntrack`, `control`, `fence`, `firewall`, \
`hooks`, `http` and `log`, and of an instance or a check by its name. It is laid over the rest on \
the node of that name; all nodes' views are checked wherever the file is read.
"""

NODE_EXAMPLE = """\
[node.vpn-a.instance.udp]
vip_interface = "ens3"

[node.vpn-b.http]
listen = "10.0.0.2:9594"
"""


@dataclass(frozen=True)
class Key:
    """One key of the configuration, in words."""

    name: str
    default: str
    text: str


def render_reference() -> str:
    """The whole page, as Markdown."""
    tables = (_table(title, model) for title, model in sections())
    node = f"\n## [node.NAME]\n{NODE_TEXT}\n```toml\n{NODE_EXAMPLE}```\n"
    return "\n".join([HEAD, *tables, node])


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section, and the tables within some, by title."""
    for name, field in Config.model_fields.items():
        listed = name in ("check", "hook", "instance")
        yield f"[[{name}]]" if listed else f"[{name}]", _model_of(field)
        if name == "bcn":
            yield "bcn.links", BcnLink
        if name == "firewall":
            yield "firewall.snat", SnatConfig


def keys(model: type[BaseModel]) -> Iterator[Key]:
    """Every key of a section."""
    for name, field in model.model_fields.items():
        yield Key(name, _default(name, field), _text(field))


def _model_of(field: FieldInfo) -> type[BaseModel]:
    for one in (field.annotation, *get_args(field.annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    raise TypeError("a field of Config that is no section")


def _table(title: str, model: type[BaseModel]) -> str:
    rows = [f"| `{one.name}` | {one.default} | {_cell(one.text)} |" for one in keys(model)]
    head = ["| key | default | meaning |", "|---|---|---|"]
    more = ["", MORE[model]()] if model in MORE else [""]
    return "\n".join([f"## {title}", f"{model.__doc__}", "", *head, *rows, *more])


MORE: Mapping[type[BaseModel], Callable[[], str]] = {
    HookSection: render_events,
    FenceSection: render_fence,
}
"""What stands below the keys of a section."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(field: FieldInfo) -> str:
    text = field.description or ""
    example = _toml(field.examples[0]) if field.examples else ""
    if not example or example == _toml(field.default):
        return text
    return f"{text} Example: `{example}`."


def _default(name: str, field: FieldInfo) -> str:
    if name == "node":
        return "host name"
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or field.default == ():
        return "none"
    return f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    plain = value if isinstance(value, int | float | list | dict) else str(value)
    return toml_value(plain)
