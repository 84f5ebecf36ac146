"""Who is heard, who is believed, and when this node says hello.

                   first hello               echoes a valid challenge of ours
    boot not known ------------> candidate ------------------------------------> believed
                                     ^                                              |  |
                                     '---- silent, or its newest proof too old -----'  |
                                                                                       |
                       never again   retired <--- a newer boot of its name, goodbye ---'

Every hello of ours has a challenge that no other has. One that comes back shows that its sender was
alive after we drew it, whatever was held back on the way, and proves nothing of any later time:

    drawn            echoed              arrives                 belief ends
      |-- on its way --|-- held back? -----|                           |
      |<------------------------ proof_timeout ----------------------->|

What can go wrong, and the rule that answers it:

* Hellos are held back, or recorded and sent again: belief lasts only while newer challenges return.
* A late hello of a dead boot would retire its successor: to replace a believed boot, another must
  echo a challenge that was drawn after that one was believed.
* Two machines have one name: the retired one answers challenges drawn since, so that is told.
* Hellos are lost: those whose proof grows old are asked, and answered, more often.
* One part of each round is dropped: only a whole round makes belief last longer.
* They hear us not, we hear them: a candidate that stays one is told of as a one-way link.

Decides which boots may speak (docs/wire.md, "Who is believed"). Never believes two boots of one
name, nor our own name. It judges nodes, not roles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter

from ovpnha.errors import RefusedDatagram
from ovpnha.model import BootId, InstanceName, InstanceState, NodeName
from ovpnha.replication.boots import Heads, HeardBoot, HeardBoots, NodeHeard, States
from ovpnha.replication.challenges import Challenge, Challenges
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import (
    Event,
    HelloReceived,
    NameConflict,
    NodeDown,
    NodeUp,
    OneWayLink,
)
from ovpnha.replication.fields import PARTS_LIMIT
from ovpnha.replication.hello import ECHO_LIMIT, KEYS_LIMIT, STATES_LIMIT, Hello, HelloState, split
from ovpnha.replication.pacing import TokenBucket
from ovpnha.replication.roundtrip import HEARD_LIMIT, SentRounds
from ovpnha.replication.sealing import BootTrust, Opened, Opener, node_tag

ANSWER_RATE = 40.0  # answering hellos a second
ANSWER_BURST = 8.0
ONE_WAY_INTERVALS = 3
CONFLICT_AGAIN = 10.0  # seconds between two alarms about the same boot


class Membership:
    """The boots around us, our challenge, and our hello."""

    def __init__(
        self,
        config: ReplicationConfig,
        opener: Opener,
        random: Callable[[int], bytes],
        emit: Callable[[Event, float], None],
        hear_whole: Callable[[HeardBoot, float], None],
        now: float,
        wall: Callable[[], float],
    ) -> None:
        self._hear_whole = hear_whole
        self._name = config.node
        self._release = config.release
        self._keys: tuple[bytes, ...] = ()
        self._wall = wall
        self._rounds = SentRounds()
        self._timings = config.timings
        self._opener = opener
        self._random = random
        self._emit = emit
        self._boots = HeardBoots()
        self._states: States = {}
        self._challenges = Challenges(random, config.timings.proof_timeout)
        self._round = 0
        self._answers = TokenBucket(ANSWER_RATE, ANSWER_BURST, now)
        self._sent = now - self._timings.hello_gap
        self._hello_at = now

    # --- who is believed

    def node_of(self, boot: BootId) -> NodeName:
        """The node of a believed boot; the opener lets no other through."""
        return self._boots[boot].node

    def heard(self, boot: BootId, now: float) -> None:
        """A believed boot has said something."""
        self._boots[boot].last_heard = now

    def last_heard(self, node: NodeName) -> float:
        """When a believed node was last heard; long ago for any other."""
        boot = self._boots.believed(node)
        return boot.last_heard if boot is not None else -math.inf

    def last_proved(self, node: NodeName) -> float:
        """When a believed node was certainly alive, by a challenge that it has answered."""
        boot = self._boots.believed(node)
        return boot.fresh if boot is not None else -math.inf

    def hear_untrusted(self, hello: Hello, opened: Opened, link: str, now: float) -> None:
        """Take in an authentic hello."""
        if node_tag(hello.name) != opened.tag:
            raise RefusedDatagram("malformed")
        boot = self._boots.find(opened.boot, hello.name, now)
        boot.last_heard = now
        boot.links[link] = now
        boot.rounds.note(link, hello.round)
        if boot.distance.arrived(hello.round, now):
            self._measure(boot, hello, now)
        if opened.sequence > boot.challenge_sequence:
            boot.challenge, boot.challenge_sequence = hello.challenge, opened.sequence
        proof = self._proof(boot, hello, now)
        if boot.trust is BootTrust.RETIRED or boot.node == self._name:
            self._check_conflict(boot, proof, now)
            return
        whole, doubted = boot.collect(hello), self._is_in_doubt(boot, proof, now)
        if proof is not None:
            self._prove(boot, proof, now, whole=whole)
        if boot.trust is BootTrust.BELIEVED:
            self._tell(boot, now, whole=whole)
        if doubted:
            self.answer(now)

    def _prove(self, boot: HeardBoot, proof: Challenge, now: float, *, whole: bool) -> None:
        """It was alive when that challenge was drawn.

        What was believed already is believed longer only by a round that has come whole: one who
        drops one of its parts must not keep what the others say believed.
        """
        boot.one_way = False
        if whole or boot.trust is BootTrust.CANDIDATE:
            boot.fresh = max(boot.fresh, proof.drawn)
        if boot.trust is BootTrust.CANDIDATE:
            self._believe(boot, now)

    def _is_in_doubt(self, boot: HeardBoot, proof: Challenge | None, now: float) -> bool:
        """Whether a boot that says hello may cease to believe us before our next one.

        An old proof shows that it has not heard us lately; whom we have not answered lately, or
        have not heard properly ourselves, waits for a word too.
        """
        oldest = now - self._timings.proof_due
        return proof is None or min(proof.drawn, boot.echoed, boot.fresh) <= oldest

    def goodbye(self, boot: BootId, now: float) -> None:
        """A believed boot has ended on purpose."""
        self._retire(self._boots[boot], "goodbye", now)

    def _proof(self, boot: HeardBoot, hello: Hello, now: float) -> Challenge | None:
        """The newest challenge of ours that it answers and that still proves anything."""
        proofs = self._challenges.proofs(hello.echoes, now)
        valid = (challenge for challenge in proofs if self._counts(boot, challenge))
        return max(valid, key=attrgetter("number"), default=None)

    def _counts(self, boot: HeardBoot, challenge: Challenge) -> bool:
        """Whether that challenge can show that this boot lives after the believed one of its name.

        A late hello of a boot that died meanwhile must not retire its successor.
        """
        rival = self._boots.believed(boot.node) if boot.trust is BootTrust.CANDIDATE else None
        return rival is None or challenge.number > rival.believed_at

    def _measure(self, boot: HeardBoot, hello: Hello, now: float) -> None:
        """How far away it is, from what it says of our hello."""
        told = zip(reversed(hello.echoes), reversed(hello.heard), strict=False)
        for echo, heard in told:
            round_trip = self._rounds.round_trip(heard, now)
            if echo in self._challenges and round_trip is not None:
                boot.distance.add(round_trip, hello.wall, self._wall())

    def _check_conflict(self, boot: HeardBoot, proof: Challenge | None, now: float) -> None:
        """Tell it again for as long as it answers: so long it is there."""
        if proof is None or proof.number <= boot.retired_at:
            return
        boot.retired_at = self._challenges.drawn
        if now >= boot.alarmed + CONFLICT_AGAIN:
            boot.alarmed = now
            self._emit(NameConflict(boot.node, boot.boot), now)

    def _believe(self, boot: HeardBoot, now: float) -> None:
        drawn = self._challenges.drawn
        for other in self._boots:
            if other.node == boot.node and other.believed_at and other is not boot:
                self._retire(other, "replaced by a newer boot", now)
        boot.trust = BootTrust.BELIEVED
        boot.believed_at = drawn
        boot.told = None
        self._opener.set_trust(boot.boot, BootTrust.BELIEVED)
        self._emit(NodeUp(boot.node, boot.boot), now)

    def _retire(self, boot: HeardBoot, reason: str, now: float) -> None:
        if boot.trust is BootTrust.RETIRED:
            return
        if boot.trust is BootTrust.BELIEVED:
            self._emit(NodeDown(boot.node, reason), now)
        boot.trust = BootTrust.RETIRED
        boot.retired_at = self._challenges.drawn
        boot.silence()
        self._opener.set_trust(boot.boot, BootTrust.RETIRED)

    def _tell(self, boot: HeardBoot, now: float, *, whole: bool) -> None:
        if boot.states is not None and boot.states != boot.told:
            boot.told = boot.states
            self._emit(HelloReceived(boot.node, dict(boot.states)), now)
        if whole:
            self._hear_whole(boot, now)

    # --- our own hello

    def announce(self, instance: InstanceName, state: InstanceState | None, now: float) -> None:
        """Say this from now on, or nothing of this instance; a change is said at once."""
        if state is None:
            if self._states.pop(instance, None) is not None:
                self.news(now)
        elif self._states.get(instance) != state:
            if len(self._states) >= STATES_LIMIT and instance not in self._states:
                raise ValueError(f"no more than {STATES_LIMIT} instances can be announced")
            self._states[instance] = state
            self.news(now)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What hello says of our cluster keys."""
        return self._keys

    def use_keys(self, numbers: tuple[bytes, ...]) -> None:
        """Say from now on that this node has these cluster keys, the first of which seals."""
        self._keys = numbers[:KEYS_LIMIT]

    def announced(self, instance: InstanceName) -> bool:
        """Whether this node speaks of that instance at all."""
        return instance in self._states

    def news(self, now: float) -> None:
        """Say hello as soon as the gap between hellos allows."""
        self._hello_at = min(self._hello_at, max(now, self._sent + self._timings.hello_gap))

    def greet(self, now: float) -> None:
        """Say hello at once, however short ago the last one was."""
        self._hello_at = now

    def answer(self, now: float) -> None:
        """Say hello to someone who does not know us, soon, but not all nodes at once."""
        jitter = self._random(1)[0] / 255 * self._timings.answer_jitter
        if self._hello_at > now + jitter and self._answers.take(1, now):
            self._hello_at = now + jitter

    def hellos(self, now: float, heads: Callable[[], Heads], history: bytes = b"") -> list[bytes]:
        """The payloads of the hello that is due, or none; ``heads`` tells how far our logs are.

        ``history`` is the digest of what this node knows of the shared history.
        """
        if now < min(self._hello_at, self._remind_at()):
            return []
        self._sent = now
        self._hello_at = now + self._timings.hello_interval
        self._round += 1
        self._rounds.note(self._round, now)
        return [hello.encode() for hello in self._parts(heads(), history, now)]

    def _remind_at(self) -> float:
        """When to say hello because a boot has not answered lately: what is lost is made up for."""
        fresh = (boot.fresh for boot in self._boots.of(BootTrust.BELIEVED))
        due = min(fresh, default=math.inf) + self._timings.proof_due
        return max(due, self._sent + self._timings.proof_retry)

    def _parts(self, heads: Heads, history: bytes, now: float) -> list[Hello]:
        boots = self._echoed(now)
        whole = Hello(
            self._name,
            self._challenges.draw(now),
            tuple(boot.challenge for boot in boots),
            self._round,
            PARTS_LIMIT,
            PARTS_LIMIT,
            (),
            self._wall(),
            tuple(boot.distance.heard(now) for boot in boots[-HEARD_LIMIT:]),
            self._release,
            self._keys,
            history,
        )
        states = sorted(self._states.items())
        return split(whole, (HelloState.of(*one, heads.get(one[0])) for one in states))

    def _echoed(self, now: float) -> list[HeardBoot]:
        """The boots whose challenges this hello echoes, those that matter most last."""
        heard = [
            boot
            for boot in self._boots
            if boot.trust is not BootTrust.RETIRED
            and now - boot.last_heard < self._timings.node_timeout
        ]
        heard.sort(key=lambda boot: (boot.trust is BootTrust.BELIEVED, boot.last_heard))
        for boot in heard[-ECHO_LIMIT:]:
            boot.echoed = now
        return heard[-ECHO_LIMIT:]

    # --- time

    def get_timer(self) -> float:
        """When ``hellos`` or ``handle_timer`` has something to do."""
        timings = self._timings
        times = [self._hello_at, self._remind_at()]
        times += [
            min(boot.last_heard + timings.node_timeout, boot.fresh + timings.proof_timeout)
            for boot in self._boots.of(BootTrust.BELIEVED)
        ]
        return min(times)

    def handle_timer(self, now: float) -> None:
        """See who has fallen silent, who answers us no more, and who does not hear us."""
        for boot in self._boots:
            if boot.trust is BootTrust.BELIEVED:
                self._check_silence(boot, now)
            elif boot.trust is BootTrust.CANDIDATE:
                self._check_one_way(boot, now)

    def _check_silence(self, boot: HeardBoot, now: float) -> None:
        """Believe it no more until it proves itself again, if it does not do so now."""
        timings = self._timings
        if now < min(boot.last_heard + timings.node_timeout, boot.fresh + timings.proof_timeout):
            return
        silent = now >= boot.last_heard + 2 * timings.hello_interval
        reason = "silent" if silent else "answers no challenge"
        boot.trust = BootTrust.CANDIDATE
        boot.first_heard = now
        boot.echoed = boot.fresh = -math.inf
        self._opener.set_trust(boot.boot, BootTrust.CANDIDATE)
        self._emit(NodeDown(boot.node, reason), now)

    def _check_one_way(self, boot: HeardBoot, now: float) -> None:
        interval = self._timings.hello_interval
        heard = now - boot.last_heard <= 2 * interval
        if boot.one_way or boot.node == self._name or self._boots.believed(boot.node) is not None:
            return
        if heard and now >= boot.first_heard + ONE_WAY_INTERVALS * interval:
            boot.one_way = True
            self._emit(OneWayLink(boot.node), now)

    def nodes(self) -> tuple[NodeHeard, ...]:
        """Every boot that is not retired."""
        return tuple(boot.describe() for boot in self._boots if boot.trust is not BootTrust.RETIRED)
