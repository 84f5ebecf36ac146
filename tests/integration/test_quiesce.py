"""A while in which a server begins no handshake, and finishes those that are under way.

Ruled by docs/adr/0079-a-moment-in-which-nothing-begins.md. The test says cluster-quiesce itself;
datagrams with numbers run both ways through the tunnel of a stock client.
"""

from __future__ import annotations

import re
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.integration.pace import PATIENCE
from tests.integration.sparepair import (
    PORT,
    RUNNING,
    SERVER_ADDRESS,
    Managed,
    SparePair,
    restarts,
)
from tests.lab.clientlog import noticed
from tests.lab.openvpn import Client
from tests.lab.topology import inside
from tests.lab.waiting import wait_patiently, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

LONG = 60
"""Seconds: the test ends it before."""
SHORT = 5
"""Seconds, and up to one more: a guest is there before it ends, and tries again after it."""
WINDOW = 4
"""Seconds of a hand-window: the server asks nobody for new keys whose last ones are younger."""
AWAY = 30
"""Seconds of one that is longer than a client which says nothing is waited for."""
SOON = 8
"""Seconds after which one side wants new keys."""
LATER = 16
"""Likewise, where more is to be done before that: a client is moved, and datagrams flow."""
DOOR = 1195
ATTEMPTS = 5
TRIES = 3.0
"""Seconds in which a client tries twice."""
ROUND = 17.0
"""Seconds in which the server looks after each of its clients: every 15, if nothing comes."""
BEGUN = "TLS: soft reset sec="
UNANSWERED = re.compile(r"(\d+) packets that would have begun one were not answered")


def handshakes(one: Managed) -> int:
    return int(one.status()["handshakes"])


def unanswered(one: Managed) -> list[int]:
    """How many packets were not answered, in each while that is over."""
    return [int(count) for count in UNANSWERED.findall(one.process.log.read_text())]


def renegotiations(client: Client) -> int:
    return noticed(client.log()).renegotiations


def quiesce(one: Managed, seconds: int = LONG) -> None:
    assert one.one(f"cluster-quiesce {seconds}") == f"SUCCESS: cluster-quiesce {seconds}"


def begin_again(one: Managed) -> None:
    quiesce(one, 0)


def lose_the_sidecar(one: Managed) -> None:
    one.leave()
    one.reach()


def hold_and_go_on(one: Managed) -> None:
    """Told to fall silent, and back."""
    assert one.one("cluster-silence leave").startswith("SUCCESS")
    assert one.one("cluster-hold").startswith("SUCCESS")
    assert one.one("cluster-promote 1/a").startswith("SUCCESS")


def wait_for_the_end(one: Managed) -> None:
    """It was a short while."""


def serve(lone: SparePair, *options: str, window: int = WINDOW) -> SparePair:
    """The pair, with more lines in its configuration."""
    lone.write(change=("verb 4", "\n".join(["verb 4", f"hand-window {window}", *options])))
    lone.serve()
    return lone


def move(pair: SparePair) -> Managed:
    """The client comes to the other process, which serves now."""
    assert pair.carry(pair.a, pair.b) == 1
    pair.switch(pair.a, pair.b, "2/b")
    return pair.b


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        (LONG, begin_again),
        (LONG, lose_the_sidecar),
        (LONG, hold_and_go_on),
        (SHORT, wait_for_the_end),
    ],
)
def test_a_new_client_connects_when_it_is_over(
    pair: SparePair, seconds: int, end: Callable[[Managed], None]
) -> None:
    """By itself: nothing of its first packets was noted. Who is connected notices nothing."""
    client = pair.connect()
    with pair.streams() as streams:
        quiesce(pair.a, seconds)
        guest = pair.begin_client(name="guest")
        if seconds == LONG:
            assert not wait_patiently(lambda: handshakes(pair.a) or guest.connected(), TRIES)
        end(pair.a)
        guest.wait_connected(PATIENCE)
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert restarts(client.log()) == restarts(guest.log()) == []
    (count,) = unanswered(pair.a)
    assert count > 0


@pytest.mark.parametrize("moved", [False, True])
def test_a_renegotiation_of_the_client_waits(lone: SparePair, *, moved: bool) -> None:
    """It asks again, and goes on under its keys meanwhile."""
    pair = serve(lone)
    client = pair.connect(f"reneg-sec {LATER} {LATER}")
    serving = move(pair) if moved else pair.a
    with pair.streams() as streams:
        quiesce(serving)
        assert not renegotiations(client), "all that took longer than the client waits"
        begun = re.compile(rf"{BEGUN}\d+/{LATER}")
        wait_until(
            lambda: any(begun.search(one.text) for one in client.log()), "it begins", PATIENCE
        )
        assert not wait_patiently(lambda: handshakes(serving) or renegotiations(client), TRIES)
        begin_again(serving)
        wait_until(lambda: renegotiations(client), "it has new keys", PATIENCE)
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert restarts(client.log()) == []
    assert noticed(client.log()).hard_resets == 1
    assert unanswered(serving)[0] > 0


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_a_renegotiation_of_the_server_waits(lone: SparePair, *, asked: bool, moved: bool) -> None:
    """That of its own accord, and one that it was asked for."""
    pair = serve(lone, "reneg-sec 0" if asked else f"reneg-sec {SOON} {SOON}")
    client = pair.connect("reneg-sec 0")
    serving = move(pair) if moved else pair.a
    quiesce(serving)
    if asked:
        assert serving.one("cluster-reneg all") == "SUCCESS: cluster-reneg all instances=1"
    assert not wait_patiently(lambda: handshakes(serving) or renegotiations(client), SOON + TRIES)
    assert BEGUN not in serving.process.log.read_text()
    begin_again(serving)
    wait_until(lambda: renegotiations(client), "it has new keys", PATIENCE)
    assert restarts(client.log()) == []
    assert noticed(client.log()).hard_resets == 1


def test_a_moved_client_that_is_ended_meanwhile_is_told(pair: SparePair) -> None:
    """By the data channel: on its control channel nothing can be said without a renegotiation."""
    client = pair.connect()
    serving = move(pair)
    (cid,) = [line.split(",")[2] for line in serving.ask("cluster-list")[:-1]]
    quiesce(serving)
    assert serving.one(f"client-kill {cid}").startswith("SUCCESS")
    wait_until(lambda: restarts(client.log()), "it is told to reconnect", PATIENCE)
    assert handshakes(serving) == 0
    begin_again(serving)
    wait_until(lambda: noticed(client.log()).reconnects == 2, "it has come back", PATIENCE)


def test_what_is_under_way_goes_on(lone: SparePair) -> None:
    """One renegotiates and one connects: both finish in it, and nothing is added to them."""
    pair = serve(lone, window=AWAY)
    client = pair.connect("reneg-sec 0")
    client.process.signal(signal.SIGSTOP)
    assert pair.a.one("cluster-reneg all").startswith("SUCCESS")
    wait_until(lambda: handshakes(pair.a) == 1, "the client is asked for new keys", PATIENCE)
    assert pair.a.one(f"cluster-wait on {LONG}").startswith("SUCCESS")
    guest = pair.begin_client(name="guest")
    wait_until(lambda: handshakes(pair.a) == 2, "the guest waits to be let in", PATIENCE)
    quiesce(pair.a)
    counts = [2]

    def over() -> bool:
        counts.append(handshakes(pair.a))
        return not counts[-1]

    client.process.signal(signal.SIGCONT)
    wait_until(over, "both are done", PATIENCE)
    guest.wait_connected(PATIENCE)
    wait_until(lambda: renegotiations(client), "the client has new keys", PATIENCE)
    assert not wait_patiently(lambda: not over(), TRIES)
    assert counts == sorted(counts, reverse=True)
    assert restarts(client.log()) == restarts(guest.log()) == []


def test_a_session_that_the_server_would_begin_waits(lone: SparePair) -> None:
    """As it does when a client has not answered a renegotiation for a hand-window."""
    pair = serve(lone)
    client = pair.connect("reneg-sec 0")
    client.process.signal(signal.SIGSTOP)
    assert pair.a.one("cluster-reneg all").startswith("SUCCESS")
    wait_until(lambda: handshakes(pair.a) == 1, "the client is asked for new keys", PATIENCE)
    quiesce(pair.a)
    wait_until(lambda: not handshakes(pair.a), "the server gives it up", PATIENCE)
    assert not wait_patiently(lambda: handshakes(pair.a), ROUND)
    begin_again(pair.a)
    wait_until(lambda: handshakes(pair.a), "the server begins a session", PATIENCE)


def test_who_is_away_in_a_renegotiation_is_moved_all_the_same(lone: SparePair) -> None:
    """It has not said a word of it, and whoever serves when it comes back can answer."""
    serve(lone, window=AWAY)
    client = lone.connect("reneg-sec 0")
    client.process.signal(signal.SIGSTOP)
    assert lone.a.one("cluster-reneg all").startswith("SUCCESS")
    wait_until(lambda: handshakes(lone.a) == 1, "the client is asked for new keys", PATIENCE)
    wait_until(lambda: not handshakes(lone.a), "it is not waited for any more", PATIENCE)
    assert "TLS key negotiation failed" not in lone.a.process.log.read_text()
    serving = move(lone)
    client.process.signal(signal.SIGCONT)
    wait_until(lambda: renegotiations(client), "it has new keys", PATIENCE)
    assert serving.status()["instances"] == "1"
    assert restarts(client.log()) == []
    assert noticed(client.log()).hard_resets == 1


def test_a_client_that_begins_anew_waits(pair: SparePair) -> None:
    """Its process was killed, and the next one has its port."""
    port = "lport 1195"
    pair.connect(port).process.kill()
    quiesce(pair.a)
    again = pair.begin_client(port)
    assert not wait_patiently(lambda: handshakes(pair.a), TRIES)
    begin_again(pair.a)
    wait_until(lambda: noticed(again.log()).reconnects, "it is connected anew", PATIENCE)
    assert restarts(again.log()) == []
    assert unanswered(pair.a)[0] > 0


class Doorman:
    """Stands between a guest and the server, and passes on what it is told to, then all."""

    def __init__(self, pair: SparePair) -> None:
        with inside(pair.server):
            self._front, self._back = (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)
            )
        for one in (self._front, self._back):
            one.settimeout(PATIENCE)
        self._front.bind((SERVER_ADDRESS, DOOR))
        self._back.connect((SERVER_ADDRESS, PORT))
        self._guest = ("", 0)

    def close(self) -> None:
        """Nothing more comes through."""
        self._front.close()
        self._back.close()

    def hear(self) -> bytes:
        """What the guest says next."""
        said, self._guest = self._front.recvfrom(2048)
        return said

    def say(self, said: bytes) -> None:
        """Pass it on."""
        self._back.send(said)

    def answer(self) -> None:
        """Bring the guest the server's next word."""
        self._front.sendto(self._back.recv(2048), self._guest)

    def forget(self) -> None:
        """Drop what waits on either side."""
        while ready := select.select([self._front, self._back], [], [], 0)[0]:
            ready[0].recv(2048)

    def pass_all(self) -> None:
        """What waits on either side."""
        for ready in select.select([self._front, self._back], [], [], 0)[0]:
            if ready is self._front:
                self.say(self.hear())
            else:
                self.answer()


@pytest.fixture
def doorman(pair: SparePair) -> Iterator[Doorman]:
    with closing(Doorman(pair)) as made:
        yield made


def greet(pair: SparePair, doorman: Doorman) -> tuple[Client, bytes]:
    """A guest has been answered, and a while begins. What the guest has said then."""
    for _ in range(ATTEMPTS):
        guest = pair.begin_client(name="guest", port=DOOR)
        doorman.say(doorman.hear())
        doorman.answer()
        second = doorman.hear()
        assert handshakes(pair.a) == 0
        quiesce(pair.a)
        if handshakes(pair.a) == 1:
            return guest, second
        begin_again(pair.a)  # it was answered more than a second before
        guest.process.kill()
        guest.process.log.unlink()
        doorman.forget()
    raise AssertionError("no guest was answered just before a while")


def wait_let_in(doorman: Doorman, guest: Client) -> None:
    def is_in() -> bool:
        doorman.pass_all()
        return guest.connected()

    wait_until(is_in, "the guest is connected", PATIENCE)
    assert noticed(guest.log()).hard_resets == 1
    assert restarts(guest.log()) == []


def test_who_was_answered_just_before_is_let_in(pair: SparePair, doorman: Doorman) -> None:
    """Some say only once what they bring back."""
    guest, second = greet(pair, doorman)
    doorman.say(second)
    wait_let_in(doorman, guest)
    assert handshakes(pair.a) == 0
    begin_again(pair.a)
    assert unanswered(pair.a) == []


def test_who_brings_nothing_back_is_not_waited_for(pair: SparePair, doorman: Doorman) -> None:
    guest, second = greet(pair, doorman)
    wait_until(lambda: not handshakes(pair.a), "it is expected no more", PATIENCE)
    doorman.say(second)
    assert not wait_patiently(lambda: handshakes(pair.a), RUNNING)
    begin_again(pair.a)
    assert unanswered(pair.a) == [1]
    wait_let_in(doorman, guest)


@pytest.mark.parametrize("words", ["", " soon", " -1", " 61", " 5s"])
def test_it_needs_seconds(pair: SparePair, words: str) -> None:
    assert pair.a.one(f"cluster-quiesce{words}").startswith("ERROR: cluster-quiesce: malformed")


def test_only_who_serves_can_begin_nothing(pair: SparePair) -> None:
    refused = "ERROR: cluster-quiesce 5: wrong-role"
    assert pair.b.one("cluster-quiesce 5").startswith(refused)
    assert pair.a.one("cluster-hold").startswith("SUCCESS")
    assert pair.a.one("cluster-quiesce 5").startswith(refused)
