"""docs/configuration.md, generated from the fields of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ovpnha.config import BcnLink, Config, SnatConfig
from ovpnha.config.problems import toml_value

HEAD = """# Configuration

`/etc/ovpnha/ovpnha.toml`, in [TOML](https://toml.io). The same file may serve all nodes. Unknown \
keys are refused; `ovpnha check-config` says what is wrong, and what is only a warning. \
[deploy/ovpnha.toml](../deploy/ovpnha.toml) is an example to start from. This page is made from \
the program by `ovpnha reference`.
"""

NODE_SECTION = """
## [node.NAME]
What differs on one node: any key of `bcn`, `conntrack`, `control`, `firewall`, `hooks`, `http` \
and `log`, and of an instance by its name. It is laid over the rest on the node of that name; all \
nodes' views are checked wherever the file is read.

```toml
[node.vpn-a.instance.udp]
vip_interface = "ens3"

[node.vpn-b.http]
listen = "10.0.0.2:9594"
```
"""


def render_reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD, *_sections(), NODE_SECTION])


def _sections() -> Iterator[str]:
    for name, field in Config.model_fields.items():
        model = _model_of(field)
        title = f"[[{name}]]" if name == "instance" else f"[{name}]"
        yield _table(title, model)
        if name == "bcn":
            yield _table("bcn.links", BcnLink)
        if name == "firewall":
            yield _table("firewall.snat", SnatConfig)


def _model_of(field: FieldInfo) -> type[BaseModel]:
    for one in (field.annotation, *get_args(field.annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    raise TypeError("a field of Config that is no section")


def _table(title: str, model: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {_default(name, one)} | {_text(one)} |" for name, one in _fields(model)]
    head = ["| key | default | meaning |", "|---|---|---|"]
    return "\n".join([f"## {title}", f"{model.__doc__}", "", *head, *rows, ""])


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    yield from model.model_fields.items()


def _text(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
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
