"""The clients of a soak: they come, stay for a while, and go, in order or without a word.

Each is a stock client with a tunnel of its own, through which ``agents/pinger.py`` asks. A client
is *there* from the end of its initialization on; before that it is in its handshake, and may retry.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.lab import plan
from tests.lab.clientlog import CONNECTED, noticed
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.traffic import agent
from tests.lab.waiting import Tail, wait_patiently, wait_until

PERIOD_MS = 200.0
HAND_WINDOW = 15
OPTIONS = (f"hand-window {HAND_WINDOW}", "connect-retry 1 2")
"""In a handshake without a server patience ends soon: the lab waits for such clients."""
POLITE = "explicit-exit-notify 1"
CONNECT_SECONDS = 180.0
GAVE_UP = "TLS key negotiation failed to occur"
STRUCK_NS = 2 * 10**9
"""A handshake that began up to so long before its master was struck may have been under way."""
CAUGHT = re.compile(r" (\S+)/\S+ CLUSTER: a handshake that cannot be finished here")


class Pings:
    """What the pinger has told so far."""

    def __init__(self, lab: Lab) -> None:
        events = lab.directory / "pinger.events"
        self.process = agent(
            "pinger",
            "pinger",
            [str(plan.TUNNEL[1]), str(PERIOD_MS), str(events)],
            namespace=lab.topology.namespace("client"),
            directory=lab.directory,
        )
        self._tail = Tail(events)
        self._heard: dict[str, int] = {}
        self._gaps: list[tuple[str, int, int]] = []

    def heard(self) -> dict[str, int]:
        """When each tunnel heard something last."""
        self._read()
        return self._heard

    def longest_ms(self, tunnels: Iterable[str], since: int) -> float:
        """The longest time without an answer in one of these tunnels that ended after ``since``."""
        self._read()
        mine = set(tunnels)
        found = [end - start for name, start, end in self._gaps if name in mine and end > since]
        self._gaps.clear()
        return max(0.0, max(found, default=0) / 1e6 - PERIOD_MS)

    def _read(self) -> None:
        for line in self._tail.lines():
            event = json.loads(line)
            if "gap" in event:
                self._gaps.append((event["gap"], event["start"], event["time"]))
            else:
                self._heard = event["heard"]


class Member:
    """One client and its tunnel."""

    def __init__(self, client: Client, tunnel: str) -> None:
        self.client = client
        self.tunnel = tunnel

    @property
    def name(self) -> str:
        """Its name in the lab."""
        return self.client.process.name

    def is_there(self) -> bool:
        """Whether its session has begun."""
        return self.client.connected()

    def gave_up(self, blows: Iterable[int]) -> int:
        """How many renegotiations it gave up by itself in which a master was struck.

        ``blows`` and the log are of the wall clock, in nanoseconds.
        """
        lines = self.client.log()
        begun = [line.time - HAND_WINDOW * 10**9 for line in lines if GAVE_UP in line.text]
        return sum(any(0 <= blow - one <= STRUCK_NS for blow in blows) for one in begun)

    def restarts(self) -> int:
        """How often it began anew since its session has begun."""
        lines = self.client.log()
        begun = [line.time for line in lines if CONNECTED in line.text]
        if not begun:
            return 0
        seen = noticed(lines, begun[0] + 1)
        return max(seen.hard_resets, seen.restarts, seen.inactive, seen.reconnects)


class Caught:
    """Clients whose master had died in their handshake: a server told them, or they gave it up.

    A server tells them when it hears them repeat it; where the next failover is sooner than that,
    their own patience ends first.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._tails: dict[str, Tail] = {}
        self._counts: Counter[str] = Counter()
        self.gave_up: Mapping[str, int] = {}

    def names(self) -> Counter[str]:
        """How often each was one."""
        for name, node in self._lab.nodes.items():
            tail = self._tails.setdefault(name, Tail(node.openvpn.log))
            said = (CAUGHT.search(line) for line in tail.lines())
            self._counts.update(match[1] for match in said if match)
        return self._counts + Counter(self.gave_up)

    def explains(self, restarts: Mapping[str, int]) -> int:
        """How many of these restarts were of such clients."""
        told = self.names()
        return sum(min(count, told[name]) for name, count in restarts.items())


class Flock:
    """All clients of a soak; ``restarts`` and ``lost`` count over its whole life."""

    def __init__(self, lab: Lab, size: int, dice: random.Random) -> None:
        self.lab = lab
        self.size = size
        self.pings = Pings(lab)
        self.members: list[Member] = []
        self.lost: set[str] = set()
        self.seen = 0
        self._gone: dict[str, int] = {}
        self._gone_gave_up: dict[str, int] = {}
        self._blows: list[int] = []
        self._dice = dice

    def gather(self) -> None:
        """The first of them, all there and answered."""
        self.lab.look_after(self.pings.process).start()
        self.come()
        self.wait_there()
        silent = self.unheard(self.members, 0, 30.0)
        wait_until(lambda: not silent, f"answers in every tunnel: {silent}", 0.0)

    def come(self) -> None:
        """Launch as many as are missing; they are in their handshake now."""
        while len(self.members) < self.size:
            self.seen += 1
            options = (*OPTIONS, *((POLITE,) if self._dice.random() < 0.5 else ()))
            client = self.lab.launch_beside(f"soak{self.seen}", options)
            self.members.append(Member(client, f"tun{len(self.lab.clients)}"))

    def go(self, most: int) -> None:
        """Some of them leave."""
        for member in self._dice.sample(self.members, self._dice.randint(0, most)):
            if count := member.restarts():
                self._gone[member.name] = count
                self._gone_gave_up[member.name] = member.gave_up(self._blows)
            self.members.remove(member)
            member.client.process.stop()

    def there(self) -> list[Member]:
        """Those whose session has begun."""
        return [member for member in self.members if member.is_there()]

    def wait_there(self) -> None:
        """Wait until nobody is in a handshake any more."""
        wait_until(
            lambda: len(self.there()) == len(self.members), "every client is there", CONNECT_SECONDS
        )

    def unheard(self, members: Iterable[Member], since: int, seconds: float) -> list[str]:
        """Who has no answer that came after a moment, as long as we wait for them."""

        def silent() -> list[str]:
            heard = self.pings.heard()
            return [one.name for one in members if heard.get(one.tunnel, 0) <= since]

        wait_patiently(lambda: not silent(), seconds)
        return silent()

    def struck(self, wall: int) -> None:
        """Their master is struck now."""
        self._blows.append(wall)

    def gave_up(self, restarts: Mapping[str, int]) -> dict[str, int]:
        """Of those that restarted, who gave up a handshake in which a master was struck."""
        now = {one.name: one.gave_up(self._blows) for one in self.members if one.name in restarts}
        return self._gone_gave_up | now

    def restarts(self) -> dict[str, int]:
        """Of all that ever were there, whoever did."""
        now = {member.name: member.restarts() for member in self.members}
        return {name: count for name, count in (self._gone | now).items() if count}
