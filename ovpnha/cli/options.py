"""A command whose options are the fields of one record: each is documented where it is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

Record = TypeVar("Record")


def takes(kind: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Let a command that takes a record of this kind be called with its fields."""
    hints = get_type_hints(kind, include_extras=True)

    def decorate(command: Callable[[Record], None]) -> Callable[..., None]:
        def call(**given: Any) -> None:
            command(kind(**given))

        parameters = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=hints[one.name],
                default=_default(one),
            )
            for one in fields(kind)  # type: ignore[arg-type]
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        call.__doc__ = command.__doc__
        call.__name__ = command.__name__
        return call

    return decorate


def _default(one: Any) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default
