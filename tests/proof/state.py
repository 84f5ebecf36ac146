"""What the model's world is made of, and the names by which alike states become one."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tests.proof.keys import Key, Range

STANDBY, MASTER, HELD, DEAD, ABSENT = "standby", "master", "held", "dead", "absent"
NODES = 3
SIDECAR = NODES + 1  # holder id of node 0's sidecar; node n has n + 1
NOBODY = 0


class Node(NamedTuple):
    """One OpenVPN process. A dead one keeps what it last believed, for the check alone."""

    role: str
    holder: int
    keys: tuple[Key | None, ...]
    kept: tuple[Range, ...] = ()  # of each key: what a standby had stored when it dropped it


class Told(NamedTuple):
    """A grant on the network, and whether its holder has ever stored it."""

    key: int
    holder: int
    ids: Range
    stored: bool


class Kept(NamedTuple):
    """A range that node 0's sidecar holds for a restart of its OpenVPN (rule R7)."""

    key: int
    ids: Range


class State(NamedTuple):
    nodes: tuple[Node, ...]
    told: tuple[Told, ...]
    sidecar: int  # its holder id
    kept: tuple[Kept, ...]
    sent: tuple[int, ...]  # for each key, ids as bits
    rightful: tuple[int, ...]  # for each key, the node whose packets the client follows, or -1


def place(holder: int, holders: tuple[int, ...]) -> int:
    return holders.index(holder) + 1 if holder != NOBODY and holder in holders else NOBODY


@cache
def rank(node: Node) -> tuple[str, str]:
    return node.role, str((node.keys, node.kept))


@cache
def placed(node: Node, n: int, holders: tuple[int, ...], followed: tuple[bool, ...]) -> Node:
    """The node under its place's holder id; a dead one keeps what the client follows."""
    dead = node.role == DEAD
    kept = tuple(
        renamed(key, holders) if key and (not dead or followed[k]) else None
        for k, key in enumerate(node.keys)
    )
    return Node(node.role, NOBODY if dead else n + 1, kept, node.kept)


@cache
def named(told: Told, holders: tuple[int, ...]) -> Told:
    return told._replace(holder=place(told.holder, holders))


@cache
def renamed(key: Key, holders: tuple[int, ...]) -> Key:
    named = [grant._replace(holder=place(grant.holder, holders)) for grant in key.grants]
    live = tuple(sorted(grant for grant in named if grant.holder != NOBODY))
    return key._replace(grants=live, forgotten=key.forgotten + len(named) - len(live))


def with_value(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def with_node(state: State, n: int, node: Node) -> State:
    nodes = (*state.nodes[:n], node, *state.nodes[n + 1 :])
    return State(nodes, *state[1:])


def with_key(state: State, n: int, k: int, key: Key | None) -> State:
    node = state.nodes[n]
    return with_node(state, n, node._replace(keys=(*node.keys[:k], key, *node.keys[k + 1 :])))


def tell(state: State, told: Told) -> State:
    known = any(one[:3] == told[:3] for one in state.told)
    return state if known else state._replace(told=(*state.told, told))


def with_told(state: State, i: int, told: Told) -> State:
    return state._replace(told=(*state.told[:i], told, *state.told[i + 1 :]))


def forgotten(state: State, n: int) -> State:
    """What the process of this node believed is gone."""
    return state._replace(rightful=tuple(-1 if one == n else one for one in state.rightful))


def fresh(state: State) -> int:
    """A holder id that nobody has or had, until ``canonical`` names it by its place."""
    used = {SIDECAR, state.sidecar} | {node.holder for node in state.nodes}
    used |= {one.holder for one in state.told}
    for node in state.nodes:
        used |= {grant.holder for key in node.keys if key for grant in key.grants}
    return max(used) + 1


def ids_text(ids: Range) -> str:
    return f"[{ids[0]}, {ids[1]})"


def kept_text(kept: tuple[Kept, ...]) -> str:
    return " and ".join(f"{ids_text(one.ids)} of key {one.key}" for one in kept)


def holder_text(holder: int) -> str:
    return "node 0's sidecar" if holder == SIDECAR else f"node {holder - 1}"
