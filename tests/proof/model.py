"""Three nodes, one client, its keys, and everything that may happen to them.

The network is the set of all grants that were ever told: any of them may reach anybody, any number
of times, or never. A node that is frozen or cut off is one that takes no step. Crash, restart,
split brain and every order of events are ordinary steps.

Two things are checked at every step: no id of a key is sent twice (``Reuse``), and a node that is
promoted with a range that the last rightful sender called protected can send a packet that the
client accepts, whatever the client has received so far (``Refused``).

What the search may leave out (``Model.merge``): what was told to a holder id that no process has
any more (rule R4), or to one that was promoted (R5), since nobody can use it; nodes 1 and 2 are
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.proof import keys
from tests.proof.client import always_accepts
from tests.proof.keys import Grant, Key, Range
from tests.proof.rules import Defect
from tests.proof.state import (
    ABSENT,
    DEAD,
    HELD,
    MASTER,
    NOBODY,
    NODES,
    SIDECAR,
    STANDBY,
    Kept,
    Node,
    State,
    Told,
    forgotten,
    fresh,
    holder_text,
    ids_text,
    kept_text,
    named,
    placed,
    rank,
    tell,
    with_key,
    with_node,
    with_told,
    with_value,
)

# Defects by which a grant is used that is lost under the rules.
REVIVING = (Defect.R4, Defect.R4_KEEPS_ID, Defect.R5)
# What is searched for the second property.
FOLLOWING = (Defect.NONE, Defect.NO_CAP, Defect.NO_STALE, Defect.NO_MEMORY)


Step = tuple[str, State]


class Violation(Exception):
    """A property does not hold; the text says which."""


class Reuse(Violation):
    """A nonce was used twice."""


class Refused(Violation):
    """A protected client refuses its new master, or is not served at all."""


@dataclass(frozen=True)
class Model:
    """The bounds, and the rule that is broken."""

    ids: tuple[int, ...] = (5, 2)  # of each key; the second is made by a renegotiation
    sidecar: bool = True
    defect: Defect = Defect.NONE
    merge: bool = True
    nodes: int = NODES
    held_grants: bool = True  # whether a held node grants, and hears what is stored

    @property
    def follows(self) -> bool:
        """Whether the client's side is looked at; a broken rule is to show its reuse."""
        return self.defect in FOLLOWING

    def start(self) -> State:
        first = Node(MASTER, 1, (keys.generate(self.ids[0]), *self._none(1)))
        others = tuple(self._other(n) for n in range(1, NODES))
        count = len(self.ids)
        rightful = (0,) + (-1,) * (count - 1)
        return State((first, *others), (), SIDECAR, (), (0,) * count, rightful)

    def _other(self, n: int) -> Node:
        if n < self.nodes:
            return Node(STANDBY, n + 1, self._none(0), self._nothing)
        return Node(ABSENT, NOBODY, self._none(0))

    @property
    def _nothing(self) -> tuple[Range, ...]:
        return (keys.EMPTY,) * len(self.ids)

    def _none(self, made: int) -> tuple[None, ...]:
        return (None,) * (len(self.ids) - made)

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen now. Raises the violation that a step is."""
        for n, node in enumerate(state.nodes):
            if node.role == ABSENT:
                continue
            if node.role == DEAD:
                yield from self._restart(state, n)
                continue
            if node.role == MASTER:
                yield from self._send_some(state, n)
                yield from self._renegotiate(state, n)
            if node.role == MASTER or (node.role == HELD and self.held_grants):
                yield from self._serve(state, n)
            yield from self._change_role(state, n)
            yield from self._import(state, n)
        yield from self._keep(state)

    # What a master does.

    def _send_some(self, state: State, n: int) -> Iterator[Step]:
        for k, key in enumerate(state.nodes[n].keys):
            if key is not None:
                yield from self._send(state, n, k, key)

    def _serve(self, state: State, n: int) -> Iterator[Step]:
        """It grants, and hears what was stored."""
        holders = self._holders(state, n)
        for k, key in enumerate(state.nodes[n].keys):
            if key is None:
                continue
            if self.defect is Defect.R3:
                yield from self._take_back(state, n, k, key)
            for told in state.told:
                if told.key == k and told.stored:
                    after = self._acknowledge(key, told)
                    if after != key:
                        text = f"node {n} hears that {ids_text(told.ids)} of key {k} is stored"
                        yield text, with_key(state, n, k, after)
        for some in {*((one,) for one in holders), holders}:
            yield self._export(state, n, some)

    def _send(self, state: State, n: int, k: int, key: Key) -> Iterator[Step]:
        after = self._next(key)
        if after is None:
            return
        bit = 1 << after.id
        if state.sent[k] & bit:
            raise Reuse(f"node {n} sends id {after.id} of key {k}: it was sent before")
        rightful = state.rightful[k]
        if self.follows and rightful == n and not always_accepts(state.sent[k], after.id):
            raise Refused(f"node {n} sends id {after.id} of key {k}: the client may refuse it")
        state = state._replace(
            sent=with_value(state.sent, k, state.sent[k] | bit),
            rightful=state.rightful if rightful == n else with_value(state.rightful, k, -1),
        )
        yield f"node {n} sends id {after.id} of key {k}", with_key(state, n, k, after)

    def _next(self, key: Key) -> Key | None:
        """One packet; a defect is looked for first."""
        if self.defect is Defect.NO_CAP and key.limit and not keys.length(key.next):
            untold = min((g.start for g in key.grants if not g.stored), default=key.limit)
            if key.sending and key.id + 1 < max(key.limit, untold):
                return key._replace(id=key.id + 1)
        after = keys.send(key)
        if self.defect is Defect.NO_STALE and after is not None and after.limit != key.limit:
            grants = tuple(g._replace(start=max(g.start, after.limit)) for g in after.grants)
            return after._replace(grants=grants)
        return after

    def _take_back(self, state: State, n: int, k: int, key: Key) -> Iterator[Step]:
        """Defect R3: the ids behind the segment were never acknowledged, go on with them."""
        for grant in key.grants:
            if not grant.stored and grant.start == key.limit == key.id + 1:
                others = tuple(one for one in key.grants if one != grant)
                after = key._replace(limit=grant.end, grants=others)
                text = f"node {n} takes {ids_text((grant.start, grant.end))} of key {k} back"
                yield text, with_key(state, n, k, after)

    def _acknowledge(self, key: Key, told: Told) -> Key:
        if self.defect is Defect.R2 and key.sending and key.rest[0] < told.ids[1]:
            key = key._replace(rest=(told.ids[1], max(told.ids[1], key.rest[1])))
        return keys.stored(key, told.holder, told.ids[1])

    def _holders(self, state: State, n: int) -> tuple[int, ...]:
        live = {node.holder for i, node in enumerate(state.nodes) if i != n}
        return tuple(sorted((live - {NOBODY}) | ({state.sidecar} if self.sidecar else set())))

    def _export(self, state: State, n: int, holders: tuple[int, ...]) -> Step:
        """cluster-export: the grants of every key leave the process, then they are told."""
        words = []
        for k, key in enumerate(state.nodes[n].keys):
            if key is None:
                continue
            after, grants = self._grant(key, holders, self.ids[k])
            state = with_key(state, n, k, after)
            for grant in grants:
                state = tell(state, Told(k, grant.holder, (grant.start, grant.end), False))
                ids = ids_text((grant.start, grant.end))
                words.append(f"{ids} of key {k} to {holder_text(grant.holder)}")
        return f"node {n} grants {' and '.join(words) or 'nothing'}", state

    def _grant(
        self, key: Key, holders: tuple[int, ...], last: int
    ) -> tuple[Key, tuple[Grant, ...]]:
        if self.defect is Defect.R1 and key.sending and key.limit and not keys.length(key.rest):
            # It was promoted with all of its range in use: go on above what it knows.
            key = key._replace(rest=(keys.sender_top(key), last + 1))
        after, grants = keys.export(key, holders)
        if self.defect is Defect.R2 and key.limit:
            # Only the words leave; the ids stay until the acknowledgement.
            after = after._replace(next=key.next, rest=key.rest)
        return after, grants

    def _renegotiate(self, state: State, n: int) -> Iterator[Step]:
        """A fresh key: the process that makes it owns all of it (rule R1)."""
        new = next((k for k in range(len(self.ids)) if not self._is_made(state, k)), None)
        if new is None or not any(state.nodes[n].keys):
            return
        state = state._replace(rightful=with_value(state.rightful, new, n))
        key = keys.generate(self.ids[new])
        yield f"node {n} renegotiates: key {new}", with_key(state, n, new, key)

    # Roles.

    def _change_role(self, state: State, n: int) -> Iterator[Step]:
        node = state.nodes[n]
        if node.role == STANDBY:
            yield self._promote(state, n)
        if node.role == MASTER:
            yield f"node {n} is held", with_node(state, n, node._replace(role=HELD))
        if node.role == HELD:
            master = node._replace(role=MASTER)
            yield f"node {n} is promoted again", with_node(state, n, master)
        if node.role in (MASTER, HELD):
            above = tuple(key and keys.overtake(key) for key in node.keys)
            yield (
                f"node {n} jumps over its grants",
                with_node(state, n, Node(MASTER, node.holder, above)),
            )
        yield f"node {n} is demoted", self._demoted(state, n)
        yield f"node {n} crashes", with_node(state, n, Node(DEAD, NOBODY, node.keys))

    def _promote(self, state: State, n: int) -> Step:
        node = state.nodes[n]
        rightful = list(state.rightful)
        for k, key in enumerate(node.keys):
            if self.follows and key is not None and self._is_protected(state, n, k, key):
                self._check_takeover(state, n, k, key)
                rightful[k] = n
        after = tuple(key and keys.promote(key) for key in node.keys)
        state = state._replace(rightful=tuple(rightful))
        return f"node {n} is promoted", with_node(state, n, Node(MASTER, node.holder, after))

    def _is_protected(self, state: State, n: int, k: int, key: Key) -> bool:
        sender = state.rightful[k]
        theirs = state.nodes[sender].keys[k] if sender >= 0 else None
        holder = state.nodes[n].holder
        return bool(keys.length(key.rest)) and theirs is not None and keys.protects(theirs, holder)

    def _check_takeover(self, state: State, n: int, k: int, key: Key) -> None:
        after = keys.send(keys.promote(key))
        if after is None:
            raise Refused(f"node {n} was protected, is promoted and cannot send with key {k}")
        if not always_accepts(state.sent[k], after.id):
            raise Refused(
                f"node {n} was protected, is promoted, and the client may refuse id {after.id}"
                f" of key {k}"
            )

    def _demoted(self, state: State, n: int) -> State:
        holder = state.nodes[n].holder if self.defect is Defect.R4_KEEPS_ID else fresh(state)
        return with_node(
            forgotten(state, n), n, Node(STANDBY, holder, self._none(0), self._nothing)
        )

    def _restart(self, state: State, n: int) -> Iterator[Step]:
        """A new process; node 0's sidecar hands it what it has kept (rule R7)."""
        new = Node(STANDBY, fresh(state), self._none(0), self._nothing)
        state = with_node(forgotten(state, n), n, new)
        yield f"node {n} starts anew", state
        if n or not state.kept:
            return
        for kept in state.kept:
            state = self._store(state, n, kept.key, kept.ids) or state
        if self.defect is not Defect.R7:
            state = state._replace(kept=(), sidecar=fresh(state))
        yield (
            f"node {n} starts anew and gets {kept_text(state.kept) or 'what its sidecar held'}",
            state,
        )

    # What is received.

    def _import(self, state: State, n: int) -> Iterator[Step]:
        node = state.nodes[n]
        for i, told in enumerate(state.told):
            if told.holder != node.holder and self.defect is not Defect.R4:
                continue
            for k in self._meant(state, told):
                after = self._store(state, n, k, told.ids)
                if after is None:
                    continue
                if k == told.key and told.holder == node.holder:
                    after = with_told(after, i, told._replace(stored=True))
                text = f"node {n} stores {ids_text(told.ids)} of key {told.key}"
                yield text + ("" if k == told.key else f" for key {k}"), after
        if node.role == STANDBY:
            for k, key in enumerate(node.keys):
                if key is not None:
                    yield f"node {n} drops key {k}", self._dropped(state, n, k, key)

    def _dropped(self, state: State, n: int, k: int, key: Key) -> State:
        """The client goes, or its record has the key no more: what was stored is remembered."""
        after = with_key(state, n, k, None)
        if self.defect is Defect.NO_MEMORY:
            return after
        kept = (*state.nodes[n].kept[:k], key.rest, *state.nodes[n].kept[k + 1 :])
        return with_node(after, n, after.nodes[n]._replace(kept=kept))

    def _meant(self, state: State, told: Told) -> tuple[int, ...]:
        """The keys that a grant may be for; any that was made, if key ids are not unique."""
        if self.defect is Defect.R6:
            return tuple(k for k in range(len(self.ids)) if self._is_made(state, k))
        return (told.key,)

    def _is_made(self, state: State, k: int) -> bool:
        held = any(node.keys[k] for node in state.nodes) or bool(state.sent[k])
        held = held or any(told.key == k for told in state.told)
        return held or any(kept.key == k for kept in state.kept)

    def _store(self, state: State, n: int, k: int, ids: Range) -> State | None:
        """cluster-import with one grant: None when it is refused."""
        node = state.nodes[n]
        key = node.keys[k]
        if node.role == STANDBY:
            after = keys.take(key or keys.recall(node.kept[k]), ids)
        elif self.defect is Defect.R5 and key is not None and key.limit:
            after = keys.promote(keys.STANDBY._replace(rest=ids))
        else:
            after = None
        if after is None:
            return None
        kept = tuple(keys.EMPTY if i == k else one for i, one in enumerate(node.kept))
        state = with_key(state, n, k, after)
        return with_node(state, n, state.nodes[n]._replace(kept=kept))

    def _keep(self, state: State) -> Iterator[Step]:
        """Node 0's sidecar gets a grant of its own."""
        for told in state.told:
            kept = Kept(told.key, told.ids)
            if self.sidecar and told.holder == state.sidecar and kept not in state.kept:
                text = f"the sidecar of node 0 holds {ids_text(told.ids)} of key {told.key}"
                yield text, state._replace(kept=tuple(sorted((*state.kept, kept))))

    # One of all states that are alike.

    def canonical(self, state: State) -> State:
        """Holder ids by place, what no step can use left out, nodes 1 and 2 in order."""
        state = self.renumber(state)
        first, second, third = state.nodes
        if rank(second) <= rank(third):
            return state
        rightful = tuple({1: 2, 2: 1}.get(n, n) for n in state.rightful)
        return self.renumber(state._replace(nodes=(first, third, second), rightful=rightful))

    def renumber(self, state: State) -> State:
        """Holder ids by place, and what no step can use left out."""
        holders = (*(node.holder for node in state.nodes), state.sidecar)
        nodes = tuple(
            placed(node, n, holders, tuple(one == n for one in state.rightful))
            for n, node in enumerate(state.nodes)
        )
        told = {named(one, holders) for one in state.told}
        if self.merge and self.defect not in REVIVING:
            able = {n + 1 for n, node in enumerate(nodes) if node.role == STANDBY}
            told = {one for one in told if one.holder in able or self._can_keep(state, one)}
        return State(nodes, tuple(sorted(told)), SIDECAR, state.kept, state.sent, state.rightful)

    def _can_keep(self, state: State, told: Told) -> bool:
        return told.holder == SIDECAR and Kept(told.key, told.ids) not in state.kept
