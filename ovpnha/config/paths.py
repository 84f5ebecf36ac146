"""The files that a configuration names, or that follow from it: each is one thing only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ovpnha.machines import SPARE_SUFFIX, SparePolicy

if TYPE_CHECKING:
    from ovpnha.config.fields import Config


def check_paths(config: Config) -> None:
    """No file is two things at once: the track file would overwrite the key, say."""
    seen: dict[Path, str] = {}
    for what, path in _paths(config):
        if path in seen:
            raise ValueError(f"{what} and {seen[path]} are both {path}; each needs its own")
        seen[path] = what


def _paths(config: Config) -> Iterator[tuple[str, Path]]:
    yield "cluster.key_file", config.cluster.key_file
    yield "control.socket", config.control.socket
    yield "conntrack.socket", config.conntrack.socket
    yield "history.file", config.history.file
    yield from _spare_paths(config)
    for one in config.instance:
        yield f"instance[{one.name}].management", one.management
        if one.track_file is not None:
            yield f"instance[{one.name}].track_file", one.track_file
        if one.pool_file is not None:
            yield f"instance[{one.name}].pool_file", one.pool_file
        memory = config.control.memory(one.name)
        yield f"the memory of instance[{one.name}]", memory
        yield f"the memory of instance[{one.name}] while it is written", draft_of(memory)


def _spare_paths(config: Config) -> Iterator[tuple[str, Path]]:
    for one in config.instance:
        if config.spare_of(one) is not SparePolicy.NEVER:
            yield f"instance[{one.name}].spare_management", one.spare_socket
            memory = config.control.memory(f"{one.name}{SPARE_SUFFIX}")
            yield f"the memory of the spare of instance[{one.name}]", memory
            yield f"the memory of the spare of instance[{one.name}] while written", draft_of(memory)


def draft_of(path: Path) -> Path:
    """The file that is renamed to this one when all of it is written."""
    return path.with_name(f".{path.name}.new")
