"""The clients beside the one that is watched: they come and go, renegotiate, or are only there.

A client that comes must be connected by its first attempt; one that stays must neither restart nor
fail a renegotiation. What a client calls a failure, OpenVPN's "TLS Error", counts as one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable

from tests.lab.clientlog import CONNECTED, HARD_RESET, noticed
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.waiting import wait_patiently

FAILED = "TLS Error"
RENEWING, COMING = 6, 2
"""How many renegotiate, and how many come and go at a time."""
RENEG_SECONDS = 30
HAND_WINDOW = 20
"""Seconds until a client gives a handshake up, which is a failure; usual are 60."""
OPTIONS = (f"hand-window {HAND_WINDOW}", "connect-retry 1 2", "explicit-exit-notify 1")
STAY_SECONDS = 3.0
"""Seconds that one stays, and until the next one comes, at most."""
BATCH = 40
BATCH_SECONDS = 120.0


class Guests:
    """Clients that renegotiate all the time, and others that come and go. A context manager."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.staying: list[Client] = []
        self.come = 0
        self.problems: list[str] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Guests:
        options = (*OPTIONS, f"reneg-sec {RENEG_SECONDS} {RENEG_SECONDS // 2}")
        self.staying = [self._launch(f"stay{index}", options) for index in range(RENEWING)]
        for client in self.staying:
            client.wait_connected(BATCH_SECONDS)
        for index in range(COMING):
            self._threads.append(threading.Thread(target=self._come_and_go, args=[index]))
            self._threads[-1].start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for one in self._threads:
            one.join()

    def renegotiations(self) -> int:
        """How many of those that stay have succeeded."""
        return sum(noticed(one.log()).renegotiations for one in self.staying)

    def failures(self) -> list[str]:
        """What has failed so far, of all that ever came."""
        with self._lock:
            found = list(self.problems)
        return [*found, *(text for one in self.staying for text in failures_of(one))]

    def _launch(self, name: str, options: Iterable[str]) -> Client:
        with self._lock:
            return self._lab.launch_beside(name, tuple(options))

    def _come_and_go(self, lane: int) -> None:
        dice = random.Random(lane)  # noqa: S311 - no secret
        while not self._ended.is_set():
            with self._lock:
                self.come += 1
                number = self.come
            client = self._launch(f"guest{number}", OPTIONS)
            found = self._attend(client, dice.uniform(0.0, STAY_SECONDS))
            with self._lock:
                self.problems += found
            self._ended.wait(dice.uniform(0.0, STAY_SECONDS))

    def _attend(self, client: Client, seconds: float) -> list[str]:
        """The whole life of one of them; what went wrong in it."""
        try:
            wait_patiently(client.connected, 2.0 * HAND_WINDOW)
        except LabError as error:
            return [str(error)]
        self._ended.wait(seconds)
        client.process.stop()
        return failures_of(client)


def failures_of(client: Client) -> list[str]:
    """What went wrong with a client since its start, in words."""
    lines = client.log()
    name = client.process.name
    found = [f"{name}: {line.text}" for line in lines if FAILED in line.text]
    begun = [line for line in lines if HARD_RESET in line.text]
    there = [line for line in lines if CONNECTED in line.text]
    if len(there) != 1 or len(begun) > 1:
        found.append(f"{name}: began {len(begun)} times, was connected {len(there)} times")
    return found


def gather(lab: Lab, count: int) -> list[Client]:
    """So many clients that are only there, each with a certificate and a session of its own."""
    clients: list[Client] = []
    while len(clients) < count:
        batch = [
            lab.launch_beside(f"crowd{number}", ("dev null", "ifconfig-noexec", "hand-window 120"))
            for number in range(len(clients), min(len(clients) + BATCH, count))
        ]
        for client in batch:
            client.wait_connected(BATCH_SECONDS)
        clients += batch
        lab.say(f"{len(clients)} clients")
    return clients


def restarted(clients: Iterable[Client], since: int) -> int:
    """How many of these clients noticed something since that time of the wall clock."""
    return sum(not noticed(client.log(), since).nothing for client in clients)


def check(guests: Guests) -> None:
    """LabError unless some have come and some have renegotiated: else nothing was tried."""
    if not (guests.come and guests.renegotiations()):
        raise LabError("no client has come, or none has renegotiated")
