"""Two OpenVPN processes of one server on one machine, led by the test: nothing is lost in between.

Ruled by docs/adr/0068-one-socket-two-processes.md. Datagrams with numbers run both ways through the
tunnel of a stock client, 500 a second.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.integration.sparepair import (
    ADDED,
    RUNNING,
    UP,
    Managed,
    SparePair,
    expect_untouched,
    restarts,
)
from tests.integration.sparestreams import RATE
from tests.lab.topology import inside
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SWITCHES = 4
HOLDS = 400
TAKEN = 20
"""Datagrams, each way, that show who reads beside another: which of the two gets one is chance."""
BREATH = 0.004
"""Two datagrams each way: who only holds and promotes has no time for the tun."""
RECEIVE_BUFFER = 4 << 20


def test_a_planned_change_loses_nothing(pair: SparePair) -> None:
    """There and back, again and again; each time who is held is emptied and filled anew."""
    client = pair.connect()
    old, new = pair.a, pair.b
    pair.carry(old, new)
    with pair.streams() as streams:
        for number in range(SWITCHES):
            streams.linger(RUNNING)
            pair.switch(old, new, f"{number + 2}/x")
            assert old.one("cluster-demote").startswith("SUCCESS")
            pair.carry(new, old)
            old, new = new, old
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert restarts(client.log()) == []
    assert pair.scripts("learn") == ADDED
    assert pair.scripts("up") == UP
    assert pair.scripts("down") == []


def test_a_killed_process_is_followed_by_the_other(pair: SparePair) -> None:
    """What was inside the dead process is lost, and nothing else."""
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        streams.linger(RUNNING)
        pair.a.process.kill()
        assert pair.b.one("cluster-promote 2/b").startswith("SUCCESS")
        streams.linger(RUNNING)
    assert all(len(one.missing) <= 1 for one in streams.counted), streams.counted
    assert restarts(client.log()) == []
    assert pair.tun() == (True, True)
    assert pair.pid_file() == pair.b.process.pid


def test_who_retires_leaves_everything(pair: SparePair) -> None:
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    assert pair.a.one("cluster-retire").startswith("ERROR: cluster-retire: wrong-role")
    with pair.streams() as streams:
        pair.switch(pair.a, pair.b, "2/b")
        assert pair.a.one("cluster-retire") == "SUCCESS: cluster-retire"
        assert pair.a.ends() == 0
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    expect_untouched(pair)
    assert restarts(client.log()) == []


def test_who_was_held_can_go_on_at_once(pair: SparePair) -> None:
    """The change is given up: with the epoch it has, the old one goes on where it was.

    So often that some packets have been read and not sent yet, and some are there to be read.
    """
    client = pair.connect()
    assert pair.a.one("cluster-silence leave") == "SUCCESS: cluster-silence leave"
    with pair.streams() as streams:
        for _ in range(HOLDS):
            assert pair.a.one("cluster-hold").startswith("SUCCESS")
            assert pair.a.one("cluster-promote 1/a").startswith("SUCCESS")
            streams.linger(BREATH)
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert restarts(client.log()) == []


def turns(one: Managed) -> int:
    """How often a process has gone to sleep so far."""
    status = Path(f"/proc/{one.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("voluntary_ctxt_switches")]
    return int(line.split()[1])


def test_who_is_aside_sleeps(pair: SparePair) -> None:
    """It is not woken by what it does not read."""
    pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        pair.switch(pair.a, pair.b, "2/b")
        before = turns(pair.a)
        streams.linger(RUNNING)
        woken = turns(pair.a) - before
    assert woken < RATE * RUNNING / 10


def test_one_that_drains_takes_packets_away(pair: SparePair) -> None:
    """The control run: silence on another node is not silence here."""
    pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        pair.switch(pair.a, pair.b, "2/b")
        assert pair.a.one("cluster-silence drain").startswith("SUCCESS")
        streams.wait_lacking(TAKEN)
    assert all(len(one.missing) > TAKEN for one in streams.counted)


def test_status_says_what_it_is(pair: SparePair) -> None:
    a, b = pair.a.status(), pair.b.status()
    words = ("descriptors", "silence", "pid", "handshakes")
    assert [a[word] for word in words] == ["own", "drain", str(pair.a.process.pid), "0"]
    assert [b[word] for word in words] == ["taken", "leave", str(pair.b.process.pid), "0"]
    assert pair.a.one("cluster-silence loud").startswith("ERROR: cluster-silence: malformed")
    assert pair.b.one("cluster-take").startswith("ERROR: cluster-take: wrong-role")


def test_the_socket_has_room_for_what_nobody_reads(pair: SparePair) -> None:
    fds = opened(pair.a)
    with socket.socket(fileno=fds[0]) as link:
        room = link.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    os.close(fds[1])
    assert room >= 2 * RECEIVE_BUFFER


def opened(one: Managed) -> list[int]:
    """Its descriptors, which the caller closes."""
    one.descriptors()
    return one.take_given()


def test_descriptors_come_with_their_line_and_with_no_other(pair: SparePair) -> None:
    """Commands of one message are answered in order."""
    pair.a.send("cluster-list\ncluster-descriptors\ncluster-list\n")
    answers = [pair.a.answer() for _ in range(3)]
    assert answers == [["END"], ["SUCCESS: cluster-descriptors"], ["END"]]
    fds = pair.a.take_given()
    assert len(fds) == 2
    for one in fds:
        os.close(one)


def test_who_waits_takes_what_suits_alone(lone: SparePair) -> None:
    lone.a.start()
    lone.a.status()
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    assert lone.b.one("cluster-status").startswith("ERROR: cluster-status: not-ready")
    assert lone.b.one("cluster-take").startswith("ERROR: cluster-take: malformed")
    link, tun = opened(lone.a)
    with inside(lone.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 1194))
        for fds in ([tun, link], [link, link], [other.fileno(), tun]):
            answer = lone.b.one("cluster-take", fds)
            assert answer.startswith("ERROR: cluster-take: unsuitable"), answer
        assert lone.b.one("cluster-take", [link]).startswith("ERROR: cluster-take: malformed")
    lone.b.reach()
    lone.b.expect(">CLUSTER:WAITING")
    assert lone.b.one("cluster-take", [link, tun]) == "SUCCESS: cluster-take"
    for one in (link, tun):
        os.close(one)
    assert lone.b.status()["descriptors"] == "taken"


def test_a_device_of_another_name_is_refused(lone: SparePair) -> None:
    lone.write(change=("dev tun0", "dev tun7"), name="other.conf")
    other = lone.process("other", "other.conf")
    lone.a.start()
    lone.a.status()
    other.start()
    lone.expect_refused(lone.a, other, "dev differs: the device is tun0")
    assert other.one("cluster-retire") == "SUCCESS: cluster-retire"
    assert other.ends() == 0


def test_who_waits_opens_its_own_when_nobody_has_the_port(lone: SparePair) -> None:
    lone.a.start()
    lone.a.status()
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    lone.a.process.kill()
    assert lone.b.status()["descriptors"] == "own"
    assert lone.pid_file() == lone.b.process.pid
    assert lone.tun() == (True, True)


def test_who_waits_ends_by_a_signal_and_leaves_everything(lone: SparePair) -> None:
    """SIGHUP says nothing to it yet, as to every OpenVPN that starts."""
    lone.a.start()
    lone.a.status()
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    lone.b.process.signal(signal.SIGHUP)
    assert "not-ready" in lone.b.one("cluster-status")
    lone.b.process.signal(signal.SIGTERM)
    assert lone.b.ends() == 0
    assert lone.pid_file() == lone.a.process.pid
    assert lone.tun() == (True, True)


def test_without_the_option_nothing_is_given(lone: SparePair) -> None:
    lone.write(change=("cluster-spare\n", ""))
    lone.a.start()
    assert "descriptors" not in lone.a.status()
    for command in ("cluster-descriptors", "cluster-silence leave", "cluster-retire"):
        assert lone.a.one(command).startswith(f"ERROR: {command.split()[0]}: failed")
    lone.b.process.start()  # its management interface is gone again at once
    wait_until(lambda: not lone.b.process.running, "the second one ends", PATIENCE)
    assert lone.b.process.wait() == 1
