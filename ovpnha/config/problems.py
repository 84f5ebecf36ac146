"""Says what is wrong with a configuration: one line for each problem, naming the key and the fix.

Decides the wording. Must never show the value of an unknown key: it may be a secret put in the
wrong file.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ovpnha.config.fields import Config

SHOWN_VALUE_LIMIT = 40
EXAMPLES = {"cluster": "[cluster]"} | {
    name: f"[[{name}]]" for name in ("check", "hook", "instance")
}

Table = Mapping[str, Any]
Location = tuple[int | str, ...]


def find_problems(view: Table, node: str, override: Table) -> Iterator[str]:
    """Check one node's view; ``override`` is what ``[node.NAME]`` says, to name the right place."""
    try:
        Config.model_validate(view)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            location = details["loc"]
            yield f"{_where(location, view, node, override)}: {_what(location, details)}"


def known_keys(key: str, known: Iterable[str]) -> str:
    """The fix for a key nobody knows: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    return f'did you mean "{near[0]}"?' if near else f"keys here: {', '.join(names)}"


def printable(text: str) -> str:
    """A text of the file as it may be shown: what a terminal would obey is written out."""
    return text if text.isprintable() else repr(text)[1:-1]


def _where(location: Location, view: Table, node: str, override: Table) -> str:
    if not location:
        return "the file"
    words: list[str] = []
    value: Any = view
    for part in location:
        value = _child(value, part)
        if isinstance(part, int):
            name = value.get("name", part) if isinstance(value, dict) else part
            words[-1] += f"[{printable(str(name))[:SHOWN_VALUE_LIMIT]}]"
        else:
            words.append(printable(part))
    overridden = _overrides(override, location, view)
    return ".".join([f"node.{node}", *words] if overridden else words)


def _overrides(override: Table, location: Location, view: Table) -> bool:
    """Whether ``[node.NAME]`` is where this place is written."""
    table: Any = override
    value: Any = view
    for part in location[:3] if location[0] in ("check", "instance") else location[:2]:
        value = _child(value, part)
        key = str(value.get("name")) if isinstance(part, int) and isinstance(value, dict) else part
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def _child(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _what(location: Location, details: ErrorDetails) -> str:
    model, field = _field_at(location)
    kind = details["type"]
    if kind == "extra_forbidden":
        return f"unknown key; {known_keys(str(location[-1]), model.model_fields)}"
    example = _example(location, field)
    if kind == "missing":
        return f"is missing; add {example or 'it'}"
    shown = _shown(details["input"]) if field is not None else ""
    return f"{_message(details)}{shown}{f'; for example {example}' if example else ''}"


def _message(details: ErrorDetails) -> str:
    if details["type"] == "model_type":
        return "must be a table"
    message = details["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input (should be|is not) ", "must be ", message)
    return message.replace("valid tuple", "list").replace(
        "valid path for <class 'pathlib.Path'>", "path"
    )


def _field_at(location: Location) -> tuple[type[BaseModel], FieldInfo | None]:
    model: type[BaseModel] = Config
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is not None:
            model, field = inner, None
    return model, field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, also within a list."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _example(location: Location, field: FieldInfo | None) -> str:
    if field is None:
        inner = str(location[-1]) if location else ""
        return {
            "cluster": "[cluster]",
            "instance": "[[instance]]",
            "check": "[[check]]",
            "hook": "[[hook]]",
        }.get(inner, "")
    return f"{location[-1]} = {toml_value(field.examples[0])}" if field.examples else ""


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return ""
    text = repr(value)
    return f" (it is {text[:SHOWN_VALUE_LIMIT]}{'…' if len(text) > SHOWN_VALUE_LIMIT else ''})"
