"""Who is heard, who is believed, and when this node says hello.

Decides which boots may speak (docs/wire.md, "Who is believed"): a boot is believed only while it
answers a challenge of ours that is still valid. Never believes two boots of one name, never our own
name, and never brings back a boot that was retired. It judges nodes, not roles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ovpnha.errors import RefusedDatagram
from ovpnha.model import BootId, InstanceName, InstanceState, NodeName
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import (
    Event,
    HelloReceived,
    NameConflict,
    NodeDown,
    NodeUp,
    OneWayLink,
)
from ovpnha.replication.messages import (
    CHALLENGE_SIZE,
    ECHO_LIMIT,
    PARTS_LIMIT,
    STATES_LIMIT,
    Hello,
)
from ovpnha.replication.pacing import TokenBucket
from ovpnha.replication.roundtrip import HEARD_LIMIT, Peer, Sample, SentRounds
from ovpnha.replication.sealing import (
    CANDIDATE_LIMIT,
    PAYLOAD_LIMIT,
    RETIRED_LIMIT,
    Opened,
    Opener,
    Standing,
    node_tag,
)

ANSWER_RATE = 40.0  # answering hellos a second
ANSWER_BURST = 8.0
ONE_WAY_INTERVALS = 3
VALID_CHALLENGES = 4

States = dict[InstanceName, InstanceState]


@dataclass(frozen=True)
class NodeHeard:
    """One boot as membership sees it, for statistics."""

    node: NodeName
    boot: BootId
    believed: bool
    hears_us: bool
    last_heard: float
    links: Mapping[str, float]  # when a hello last came over each link
    states: Mapping[InstanceName, InstanceState]
    distance: Sample | None


@dataclass
class _Boot:
    boot: BootId
    node: NodeName
    first_heard: float
    last_heard: float
    standing: Standing = Standing.CANDIDATE
    challenge: bytes = b""
    challenge_sequence: int = 0
    echoed: bytes = b""  # the challenge of this boot that our last hello carried
    proved: float | None = None
    retired_at: int = 0  # how many challenges we had drawn when it was retired, or last alarmed
    believed_at: int = 0  # and when it was believed; 0: never
    one_way: bool = False
    links: dict[str, float] = field(default_factory=dict)
    round: int = -1
    parts: dict[int, States] = field(default_factory=dict)
    states: States | None = None
    told: States | None = None
    peer: Peer = field(default_factory=Peer)


@dataclass(frozen=True)
class _Challenge:
    value: bytes = field(repr=False)
    number: int
    drawn: float


class Membership:
    """The boots around us, our challenge, and our hello."""

    def __init__(
        self,
        config: ReplicationConfig,
        opener: Opener,
        random: Callable[[int], bytes],
        emit: Callable[[Event, float], None],
        now: float,
        wall: Callable[[], float],
    ) -> None:
        self._name = config.node
        self._wall = wall
        self._rounds = SentRounds()
        self._timings = config.timings
        self._opener = opener
        self._random = random
        self._emit = emit
        self._boots: dict[BootId, _Boot] = {}
        self._states: States = {}
        self._challenges: list[_Challenge] = []
        self._drawn = 0
        self._superseded: dict[int, float] = {}
        self._round = 0
        self._answers = TokenBucket(ANSWER_RATE, ANSWER_BURST, now)
        self._sent = now - self._timings.hello_gap
        self._hello_at = now
        self._draw_challenge(now)

    # --- who is believed

    def node_of(self, boot: BootId) -> NodeName:
        """The node of a believed boot; the opener lets no other through."""
        return self._boots[boot].node

    def heard(self, boot: BootId, now: float) -> None:
        """A believed boot has said something."""
        self._boots[boot].last_heard = now

    def hear_untrusted(self, hello: Hello, opened: Opened, link: str, now: float) -> None:
        """Take in an authentic hello."""
        if node_tag(hello.name) != opened.tag:
            raise RefusedDatagram("malformed")
        boot = self._boots.get(opened.boot) or self._remember(opened.boot, hello.name, now)
        boot.last_heard = now
        boot.links[link] = now
        if boot.peer.arrived(hello.round, now):
            self._measure(boot, hello, now)
        if opened.sequence > boot.challenge_sequence:
            boot.challenge, boot.challenge_sequence = hello.challenge, opened.sequence
        proof = self._proof(hello, now)
        if boot.standing is Standing.CANDIDATE and proof:
            proof = self._outlives(boot, proof, now)
        if boot.standing is Standing.RETIRED or boot.node == self._name:
            self._check_conflict(boot, proof, now)
            return
        if proof:
            boot.proved, boot.one_way = now, False
        self._collect(boot, hello)
        if proof and boot.standing is Standing.CANDIDATE:
            self._believe(boot, now)
        if boot.standing is Standing.BELIEVED:
            self._tell(boot, now)
        if not proof or boot.challenge != boot.echoed:
            self.answer(now)

    def goodbye(self, boot: BootId, now: float) -> None:
        """A believed boot has ended on purpose."""
        self._retire(self._boots[boot], "goodbye", now)

    def _remember(self, boot: BootId, name: str, now: float) -> _Boot:
        for standing, limit in (
            (Standing.CANDIDATE, CANDIDATE_LIMIT),
            (Standing.RETIRED, RETIRED_LIMIT),
        ):
            same = [one for one in self._boots.values() if one.standing is standing]
            for oldest in same[: max(0, len(same) - limit + 1)]:
                del self._boots[oldest.boot]
        known = _Boot(boot, NodeName(name), now, now)
        self._boots[boot] = known
        return known

    def _proof(self, hello: Hello, now: float) -> int:
        """The number of the newest valid challenge that was echoed, or 0."""
        echoes = set(hello.echoes)
        numbers = [one.number for one in self._valid_challenges(now) if one.value in echoes]
        return max(numbers, default=0)

    def _measure(self, boot: _Boot, hello: Hello, now: float) -> None:
        """How far away it is, from what it says of our hello."""
        challenges = {one.value for one in self._challenges}
        told = zip(reversed(hello.echoes), reversed(hello.heard), strict=False)
        for echo, heard in told:
            round_trip = self._rounds.round_trip(heard, now)
            if echo in challenges and round_trip is not None:
                boot.peer.add(round_trip, hello.wall, self._wall())

    def _outlives(self, boot: _Boot, proof: int, now: float) -> int:
        """The proof, or 0 when it does not show that this boot lives after the believed one.

        A late hello of a boot that died meanwhile must not retire its successor.
        """
        rival = self._believed(boot.node)
        if rival is None or proof > rival.believed_at:
            return proof
        if self._drawn == rival.believed_at:
            self._draw_challenge(now)
        return 0

    def _check_conflict(self, boot: _Boot, proof: int, now: float) -> None:
        """Tell it again with each challenge that it answers: so long it is there."""
        if proof > boot.retired_at:
            boot.retired_at = self._drawn
            self._emit(NameConflict(boot.node, boot.boot), now)

    def _believe(self, boot: _Boot, now: float) -> None:
        drawn = self._drawn
        for other in list(self._boots.values()):
            if other.node == boot.node and other.believed_at and other is not boot:
                self._retire(other, "replaced by a newer boot", now)
        boot.standing = Standing.BELIEVED
        boot.believed_at = drawn
        boot.told = None
        self._opener.set_standing(boot.boot, Standing.BELIEVED)
        self._emit(NodeUp(boot.node, boot.boot), now)

    def _retire(self, boot: _Boot, reason: str, now: float) -> None:
        if boot.standing is Standing.RETIRED:
            return
        if boot.standing is Standing.BELIEVED:
            self._emit(NodeDown(boot.node, reason), now)
        boot.standing = Standing.RETIRED
        boot.retired_at = self._drawn
        boot.parts, boot.states, boot.told = {}, None, None
        self._opener.set_standing(boot.boot, Standing.RETIRED)
        self._draw_challenge(now)

    def _collect(self, boot: _Boot, hello: Hello) -> None:
        if hello.round < boot.round:
            return
        if hello.round > boot.round:
            boot.round, boot.parts = hello.round, {}
        boot.parts[hello.part] = dict(hello.states)
        if len(boot.parts) == hello.parts:
            boot.states = {k: v for part in boot.parts.values() for k, v in part.items()}

    def _tell(self, boot: _Boot, now: float) -> None:
        if boot.states is not None and boot.states != boot.told:
            boot.told = boot.states
            self._emit(HelloReceived(boot.node, dict(boot.states)), now)

    # --- our own hello

    def announce(self, instance: InstanceName, state: InstanceState, now: float) -> None:
        """Say this from now on; a change is said at once."""
        if self._states.get(instance) != state:
            if len(self._states) >= STATES_LIMIT and instance not in self._states:
                raise ValueError(f"no more than {STATES_LIMIT} instances can be announced")
            self._states[instance] = state
            self.news(now)

    def announced(self, instance: InstanceName) -> bool:
        """Whether this node speaks of that instance at all."""
        return instance in self._states

    def news(self, now: float) -> None:
        """Say hello as soon as the gap between hellos allows."""
        self._hello_at = min(self._hello_at, max(now, self._sent + self._timings.hello_gap))

    def answer(self, now: float) -> None:
        """Say hello to someone who does not know us, soon, but not all nodes at once."""
        jitter = self._random(1)[0] / 255 * self._timings.answer_jitter
        if self._hello_at > now + jitter and self._answers.take(1, now):
            self._hello_at = now + jitter

    def hellos(self, now: float) -> list[bytes]:
        """The payloads of the hello that is due, or none."""
        if now < self._hello_at:
            return []
        self._sent = now
        self._hello_at = now + self._timings.hello_interval
        self._round += 1
        self._rounds.note(self._round, now)
        return [hello.encode() for hello in self._parts(now)]

    def _parts(self, now: float) -> list[Hello]:
        boots = self._echoed(now)
        whole = Hello(
            self._name,
            self._challenges[-1].value,
            tuple(boot.challenge for boot in boots),
            self._round,
            PARTS_LIMIT,
            PARTS_LIMIT,
            (),
            self._wall(),
            tuple(boot.peer.heard(now) for boot in boots[-HEARD_LIMIT:]),
        )
        groups: list[list[tuple[InstanceName, InstanceState]]] = [[]]
        for item in sorted(self._states.items()):
            trial = replace(whole, states=(*groups[-1], item))
            if groups[-1] and len(trial.encode()) > PAYLOAD_LIMIT:
                groups.append([])
            groups[-1].append(item)
        return [
            replace(whole, part=part, parts=len(groups), states=tuple(group))
            for part, group in enumerate(groups)
        ]

    def _echoed(self, now: float) -> list[_Boot]:
        """The boots whose challenges this hello echoes, those that matter most last."""
        heard = [
            boot
            for boot in self._boots.values()
            if boot.standing is not Standing.RETIRED
            and now - boot.last_heard < self._timings.node_timeout
        ]
        heard.sort(key=lambda boot: (boot.standing is Standing.BELIEVED, boot.last_heard))
        for boot in heard[-ECHO_LIMIT:]:
            boot.echoed = boot.challenge
        return heard[-ECHO_LIMIT:]

    # --- challenges and time

    def _draw_challenge(self, now: float) -> None:
        self._drawn += 1
        if self._challenges:
            grace = now + self._timings.challenge_grace
            self._superseded.setdefault(self._challenges[-1].number, grace)
        self._challenges.append(_Challenge(self._random(CHALLENGE_SIZE), self._drawn, now))
        for old in self._challenges[:-VALID_CHALLENGES]:
            del self._superseded[old.number]
        self._challenges = self._challenges[-VALID_CHALLENGES:]

    def _valid_challenges(self, now: float) -> list[_Challenge]:
        return [
            one
            for one in self._challenges
            if one.number not in self._superseded or now < self._superseded[one.number]
        ]

    def get_timer(self) -> float:
        """When ``hellos`` or ``handle_timer`` has something to do."""
        timings = self._timings
        times = [self._hello_at, self._challenges[-1].drawn + timings.challenge_life]
        times += [
            boot.last_heard + timings.node_timeout
            for boot in self._boots.values()
            if boot.standing is Standing.BELIEVED
        ]
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Draw a new challenge when the old one is stale; see who has fallen silent."""
        if now >= self._challenges[-1].drawn + self._timings.challenge_life:
            self._draw_challenge(now)
        for boot in self._boots.values():
            if boot.standing is Standing.BELIEVED:
                self._check_silence(boot, now)
            if boot.standing is not Standing.RETIRED:
                self._check_one_way(boot, now)

    def _check_silence(self, boot: _Boot, now: float) -> None:
        if now >= boot.last_heard + self._timings.node_timeout:
            boot.standing = Standing.CANDIDATE
            boot.first_heard = now
            boot.proved = None
            boot.echoed = b""
            self._opener.set_standing(boot.boot, Standing.CANDIDATE)
            self._emit(NodeDown(boot.node, "silent"), now)

    def _check_one_way(self, boot: _Boot, now: float) -> None:
        interval = self._timings.hello_interval
        since = boot.first_heard if boot.proved is None else boot.proved
        mute = now - since < ONE_WAY_INTERVALS * interval or now - boot.last_heard > 2 * interval
        if mute or boot.one_way or boot.node == self._name:
            return
        if boot.standing is Standing.BELIEVED or self._believed(boot.node) is None:
            boot.one_way = True
            self._emit(OneWayLink(boot.node), now)

    def _believed(self, node: NodeName) -> _Boot | None:
        believed = (boot for boot in self._boots.values() if boot.standing is Standing.BELIEVED)
        return next((boot for boot in believed if boot.node == node), None)

    def nodes(self) -> tuple[NodeHeard, ...]:
        """Every boot that is not retired."""
        return tuple(
            NodeHeard(
                boot.node,
                boot.boot,
                boot.standing is Standing.BELIEVED,
                boot.proved is not None and not boot.one_way,
                boot.last_heard,
                dict(boot.links),
                dict(boot.states or {}),
                boot.peer.best,
            )
            for boot in self._boots.values()
            if boot.standing is not Standing.RETIRED
        )
