"""Every kind of connection of one lab, and how each of them fared since a moment.

How soon a session that lives is heard is the machine's business: it may stand still for seconds,
and TCP's own retransmission backs off. So nothing is judged at a set time: every session is waited
for, and one that is not heard until the patience ends is dead. That lets no dead one pass: nobody
speaks for it, and what its own end repeats is what a live one would have repeated.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.measure import MS, outage_ms
from tests.lab.nat.rows import ICMP, Fate, Traffic
from tests.lab.process import Process
from tests.lab.traffic import INTERVAL_MS, ProbeStream, agent
from tests.lab.waiting import Tail, wait_patiently, wait_until

START_SECONDS = 60.0
FRESH = 1_500 * MS
"""Nanoseconds within which a session that lives has heard something."""

INTERVAL = {Traffic.MANY: 500 * MS}
HEARD_BY = {Traffic.DOWNLOAD: ("use",), Traffic.UPLOAD: ("serve",), Traffic.UDP: ("use",)}
ENDS = ("serve", "use")


@dataclass
class End:
    """What one of the two agents has said so far."""

    process: Process
    tail: Tail
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    time: int = 0

    def read(self) -> None:
        """Take in what is new."""
        self.process.expect_running()
        for line in self.tail.lines():
            event = json.loads(line)
            if "groups" in event:
                self.groups, self.time = event["groups"], event["time"]
            else:
                self.gaps.setdefault(event["gap"], []).append((event["start"], event["time"]))


class Flows:
    """All kinds of connections between the client and the LAN host, in each family."""

    def __init__(self, lab: Lab, families: Sequence[str], sessions: int) -> None:
        self._lab = lab
        self._sessions = sessions
        self._addresses = {
            family: plan.LAN.address6(100) if family == "ipv6" else plan.LAN.address(100)
            for family in families
        }
        self._ends = {
            "serve": self._end("serve", lab.topology.namespace("lan")),
            "use": self._end("use", lab.topology.namespace("client")),
        }
        self._probes = {family: self._prober(family) for family in families}

    def _end(self, role: str, namespace: str) -> End:
        home = self._lab.directory
        events = home / f"flows-{role}.events"
        arguments = [role, str(events), str(self._sessions), *self._addresses.values()]
        process = agent("flows", f"flows-{role}", arguments, namespace=namespace, directory=home)
        return End(self._lab.look_after(process), Tail(events))

    def _prober(self, family: str) -> ProbeStream:
        client, home = self._lab.topology.namespace("client"), self._lab.directory
        stream = ProbeStream(f"icmp-{family}", client, self._addresses[family], home)
        self._lab.look_after(stream.process)
        return stream

    def start(self) -> None:
        """Begin everything; on return every session has its other end."""
        for end in ("serve", "use"):
            self._ends[end].process.start()
            wait_until(lambda end=end: self._reports(end), f"flows-{end} runs", START_SECONDS)  # type: ignore[misc]
        for stream in self._probes.values():
            stream.start()
        wait_until(self._complete, "every session at both ends", START_SECONDS)

    def _reports(self, end: str) -> bool:
        self._ends[end].read()
        return self._ends[end].time > 0

    def _complete(self) -> bool:
        self._read()
        counts = {
            name: {group: one["sessions"] for group, one in end.groups.items()}
            for name, end in self._ends.items()
        }
        return counts["serve"] == counts["use"] and len(counts["use"]) > 0

    def judge(self, moment: int, patience: float) -> dict[tuple[Traffic, str], Fate]:
        """Speak in the idle sessions, and tell how every kind has fared since a moment.

        ``patience`` in seconds is for those who talk, and again for those who were spoken to.
        """
        wait_patiently(self.all_heard, patience)
        spoken = self.speak()
        wait_patiently(lambda: self.idle_heard(spoken), patience)
        return self.fates(moment, spoken, time.monotonic_ns())

    def speak(self) -> int:
        """Break the silence of the idle sessions, from both sides; returns when that began.

        The clock is read before the first signal: an end may answer before we have our turn again.
        """
        spoken = time.monotonic_ns()
        for end in self._ends.values():
            end.process.signal(signal.SIGUSR1)
        return spoken

    def all_heard(self) -> bool:
        """Whether every session lives in which something is said all the time."""
        self._read()
        now = time.monotonic_ns()
        return all(
            self._lives(traffic, address, now)
            for address in self._addresses.values()
            for traffic in Traffic
            if traffic not in {ICMP, Traffic.IDLE}
        )

    def idle_heard(self, spoken: int) -> bool:
        """Whether the idle sessions have been answered since they were spoken to."""
        self._read()
        addresses = self._addresses.values()
        return all(self._fate_of_idle(address, spoken).alive for address in addresses)

    def _lives(self, traffic: Traffic, address: str, now: int) -> bool:
        group = f"{traffic} {address}"
        return not self._errors(group) and self._earliest(traffic, address) > now - FRESH

    def _earliest(self, traffic: Traffic, address: str) -> int:
        """When the session that is silent for longest was last heard."""
        ends = HEARD_BY.get(traffic, ENDS)
        return min(int(self._ends[end].groups[f"{traffic} {address}"]["earliest"]) for end in ends)

    def _read(self) -> None:
        for end in self._ends.values():
            end.read()

    def fates(self, moment: int, spoken: int, now: int) -> dict[tuple[Traffic, str], Fate]:
        """How every kind in every family fared between two times; idle ones were spoken to."""
        wait_until(lambda: self._reported_after(now), "a report of both ends", START_SECONDS)
        found = {}
        for family, address in self._addresses.items():
            for traffic in Traffic:
                if traffic is ICMP:
                    fate = self._fate_of_probes(family, moment, now)
                elif traffic is Traffic.IDLE:
                    fate = self._fate_of_idle(address, spoken)
                else:
                    fate = self._fate(traffic, address, moment, now)
                found[traffic, family] = fate
        return found

    def _reported_after(self, moment: int) -> bool:
        self._read()
        return all(end.time > moment for end in self._ends.values())

    def _fate(self, traffic: Traffic, address: str, moment: int, now: int) -> Fate:
        group = f"{traffic} {address}"
        ends = [self._ends[name] for name in HEARD_BY.get(traffic, ENDS)]
        gaps = [
            over - start for end in ends for start, over in end.gaps.get(group, []) if over > moment
        ]
        alive = self._lives(traffic, address, now)
        still = [] if alive else [now - self._earliest(traffic, address)]
        longest = max([*gaps, *still], default=0)
        return Fate(alive, _beyond(longest, traffic), self._errors(group))

    def _fate_of_idle(self, address: str, spoken: int) -> Fate:
        group = f"{Traffic.IDLE} {address}"
        ends = [end.groups[group] for end in self._ends.values()]
        alive = not self._errors(group) and all(end["earliest"] > spoken for end in ends)
        latest = max(end["latest"] for end in ends)
        return Fate(alive, max(latest - spoken, 0) / MS, self._errors(group))

    def _fate_of_probes(self, family: str, moment: int, now: int) -> Fate:
        stream = self._probes[family]
        gap = stream.gap(moment)
        return Fate(stream.answered_since(now - FRESH) > 0, outage_ms(gap, INTERVAL_MS), ())

    def _errors(self, group: str) -> tuple[str, ...]:
        return tuple(error for end in self._ends.values() for error in end.groups[group]["errors"])


def _beyond(length: int, traffic: Traffic) -> float:
    """Milliseconds of a silence beyond the one that its kind always has."""
    return max(0.0, (length - INTERVAL.get(traffic, int(INTERVAL_MS * MS))) / MS)
