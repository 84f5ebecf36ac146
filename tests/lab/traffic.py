"""The traffic that a lab watches: probe streams and a TCP session, each in processes of its own."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab import plan
from tests.lab.measure import Gap, Probe, longest_gap
from tests.lab.process import Process
from tests.lab.waiting import Tail, wait_until

AGENTS = Path(__file__).parent / "agents"
INTERVAL_MS = 10.0
TCP_PORT = 5001
TCP_BYTES_PER_SECOND = 250_000


def agent(
    name: str, label: str, arguments: list[str], *, namespace: str, directory: Path
) -> Process:
    """One of the programs in ``agents``, not started yet."""
    return Process(
        [sys.executable, "-P", AGENTS / f"{name}.py", *arguments],
        namespace=namespace,
        directory=directory,
        log=directory / f"{label}.log",
    )


class ProbeStream:
    """Numbered echo requests from one namespace to one address, and the answers so far."""

    def __init__(self, label: str, namespace: str, target: str, directory: Path) -> None:
        events = directory / f"{label}.events"
        arguments = [target, str(INTERVAL_MS), str(events)]
        self.process = agent("prober", label, arguments, namespace=namespace, directory=directory)
        self._tail = Tail(events)
        self._sent: dict[int, int] = {}
        self._answered: dict[int, int] = {}

    def start(self) -> ProbeStream:
        """Start probing and wait for the first answer."""
        self.process.start()
        wait_until(lambda: self.answered_since(0), f"{self.process.name}: a first answer", 20)
        return self

    def stop(self) -> None:
        """Stop probing."""
        self.process.stop()

    def probes(self) -> list[Probe]:
        """Every probe so far, in the order of sending."""
        self._read()
        return [
            Probe(number, sent, self._answered.get(number)) for number, sent in self._sent.items()
        ]

    def gap(self, since: int) -> Gap:
        """The longest gap in the answers that ends after ``since``; an open one ends now.

        Now is when the last request was sent: what was not asked is not missing, and how long this
        process takes to read what the other one wrote is no gap.
        """
        probes = self.probes()
        return longest_gap(probes, since, max(since + 1, *(one.sent for one in probes[-1:])))

    def answered_since(self, since: int) -> int:
        """How many probes that were sent after ``since`` (nanoseconds) have been answered."""
        self.process.expect_running()
        self._read()
        return sum(self._sent[number] > since for number in self._answered)

    def _read(self) -> None:
        for line in self._tail.lines():
            event, number, time = line.split()
            table = self._sent if event == "sent" else self._answered
            table.setdefault(int(number), int(time))


@dataclass(frozen=True)
class StreamEnd:
    """What one end of the TCP session last said."""

    sent: int
    received: int
    error: str
    final: bool


class TcpSession:
    """A session between the client and the LAN host with data flowing both ways, at this rate."""

    def __init__(
        self,
        client: str,
        server: str,
        directory: Path,
        address: str = plan.LAN.address(100),
        *,
        name: str = "tcp",
        rate: int = TCP_BYTES_PER_SECOND,
    ) -> None:
        self._address = address
        self._name = name
        self._rate = rate
        self._ends = {
            "listen": self._end("listen", server, directory),
            "connect": self._end("connect", client, directory),
        }
        self._tails = {role: Tail(directory / f"{name}-{role}.events") for role in self._ends}
        self._last = dict.fromkeys(self._ends, StreamEnd(0, 0, "", final=False))

    def _end(self, role: str, namespace: str, directory: Path) -> Process:
        label = f"{self._name}-{role}"
        arguments = [
            *(role, self._address, str(TCP_PORT)),
            *(str(self._rate), str(directory / f"{label}.events")),
        ]
        return agent("tcpstream", label, arguments, namespace=namespace, directory=directory)

    def start(self) -> TcpSession:
        """Connect and wait until bytes flow both ways."""
        self._ends["listen"].start()
        self._ends["connect"].start()
        wait_until(self._flows, "bytes of the TCP session both ways", 20)
        return self

    @property
    def processes(self) -> list[Process]:
        """Both ends."""
        return list(self._ends.values())

    def _flows(self) -> bool:
        for process in self._ends.values():
            process.expect_running()
        return all(end.received for end in self.ends().values())

    def ends(self) -> dict[str, StreamEnd]:
        """The last report of each end."""
        for role, tail in self._tails.items():
            if lines := tail.lines():
                event = json.loads(lines[-1])
                event.pop("time")
                self._last[role] = StreamEnd(**event)
        return self._last

    def received(self) -> int:
        """The bytes that the slower direction has delivered."""
        return min(end.received for end in self.ends().values())

    def finish(self) -> str:
        """End in good order; what is wrong with the session, or "" when every byte arrived."""
        for process in self._ends.values():
            process.signal(signal.SIGTERM)
        for process in self._ends.values():
            process.wait(30)
        listen, connect = (self.ends()[role] for role in ("listen", "connect"))
        if error := listen.error or connect.error:
            return error
        if (listen.sent, connect.sent) != (connect.received, listen.received):
            return f"bytes are missing: {listen} {connect}"
        return ""
