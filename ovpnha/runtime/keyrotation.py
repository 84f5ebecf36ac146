"""The steps of a rotation of the cluster key, in place of an editor in a secret file.

    --add         a fresh key at the end     every node opens with it
    --use-newest  the last key to the front  every node seals with it
    --drop-old    all but the first one go   nobody needs them any more

Each step is made on every node and followed by a reload; the next one may begin when all nodes have
made the last. Decides whether that is so, from what the sidecar of this node hears of the others:
what is not known stands against it. Must never let a key into an exception or an output; keys are
named by their numbers, which every datagram shows. Rules: docs/operations.md, "Planned moves".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovpnha.errors import ConfigError
from ovpnha.node.statistics import NodeStatistics
from ovpnha.replication.sealing import ClusterKey, cluster_tag
from ovpnha.runtime.keyfile import IN_USE, WAITING, is_key_line, parse_keys, read_private
from ovpnha.runtime.replacing import replace_file


def name_keys(keys: tuple[bytes, ...], cluster: str) -> tuple[str, ...]:
    """The numbers of these keys, as hello and ``ovpnha nodes`` have them."""
    return tuple(ClusterKey.create(key, cluster_tag(cluster)).name.hex() for key in keys)


def use_newest(path: Path) -> None:
    """Let the last key of the file seal: it comes to the front, and nothing else changes.

    Once: a second time the last one is the old one, and would seal again.
    """
    lines = read_private(path).splitlines()
    at = _find_keys(lines, path)
    if len(at) < 2:
        raise ConfigError(f"{path}: has one key only; add one first: ovpnha keygen --add {path}")
    if IN_USE in lines:
        if WAITING not in lines:
            raise ConfigError(
                f"{path}: the newest key is in use already; when it is so on every node: ovpnha"
                f" keygen --drop-old {path} (of a key added by hand: remove the line that says so)"
            )
        lines.remove(IN_USE)
        at = _find_keys(lines, path)
    newest = lines.pop(at[-1])
    if lines[at[-1] - 1] == WAITING:
        lines.pop(at[-1] - 1)
    front = at[0] - (at[0] > 0 and lines[at[0] - 1] == WAITING)
    lines[front:front] = newest, IN_USE
    replace_file(path, "".join(f"{line}\n" for line in lines))


def drop_old(path: Path, *, force: bool = False) -> int:
    """Keep the key that seals and no other; returns how many went."""
    lines = read_private(path).splitlines()
    at = _find_keys(lines, path)
    if len(at) < 2:
        raise ConfigError(f"{path}: has one key only; there is no old one")
    if WAITING in lines and not force:
        raise ConfigError(
            f"{path}: the last key is not in use yet, and would be dropped; first, on every node:"
            f" ovpnha keygen --use-newest {path}"
        )
    marks = {number for number, line in enumerate(lines) if line in (WAITING, IN_USE)}
    gone = marks.union(at[1:])
    kept = [line for number, line in enumerate(lines) if number not in gone]
    replace_file(path, "".join(f"{line}\n" for line in kept))
    return len(at) - 1


def _find_keys(lines: list[str], path: Path) -> list[int]:
    """Where the keys are; ConfigError when the file is not good."""
    parse_keys("\n".join(lines), path)
    return [number for number, line in enumerate(lines) if is_key_line(line)]


def find_objections(
    status: NodeStatistics, keys: tuple[str, ...], *, dropping: bool
) -> Iterator[str]:
    """What stands against the next step, from the key file's keys and what the nodes say."""
    wanted = keys[0] if dropping else keys[-1]
    if not _is_ready(status.keys, wanted, dropping=dropping):
        yield "the sidecar here has not read the key file as it is now: systemctl reload ovpnha"
    named = {node.name for one in status.instances for node in one.nodes}
    for name in sorted(named - {one.name for one in status.heard}):
        yield f"node {name} is not heard: whether it has the key is not known"
    for node in status.heard:
        if not node.believed:
            yield f"node {node.name} is not heard: whether it has the key is not known"
        elif not node.keys:
            yield f"node {node.name} does not tell its keys: its ovpnha is older than this one"
        elif not _is_ready(node.keys, wanted, dropping=dropping):
            lacks = f"seals with {node.keys[0]} still" if dropping else "has not got it yet"
            yield f"node {node.name} {lacks}: make that step there, and systemctl reload ovpnha"


def _is_ready(keys: tuple[str, ...], wanted: str, *, dropping: bool) -> bool:
    return keys[:1] == (wanted,) if dropping else wanted in keys
