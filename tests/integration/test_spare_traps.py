"""What two processes of one server have in common is changed by one of them, whatever happens.

Ruled by docs/adr/0068-one-socket-two-processes.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.integration.sparepair import (
    ADDED,
    RUNNING,
    TELL,
    UP,
    Managed,
    SparePair,
    expect_untouched,
    restarts,
    switched,
)
from tests.integration.sparestreams import RATE, Wire
from tests.lab.nonces import count
from tests.lab.openvpn import READY
from tests.lab.processes import is_stopped
from tests.lab.splitbrain import TRACED
from tests.lab.waiting import wait_patiently, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_held_process_that_is_told_to_end_or_to_start_anew_ends(
    pair: SparePair, number: signal.Signals
) -> None:
    """What it opened belongs to the one that serves now."""
    switched(pair)
    with pair.streams() as streams:
        pair.a.process.signal(number)
        assert pair.a.ends() == 0
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    expect_untouched(pair)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_master_refuses_to_start_anew(pair: SparePair, number: signal.Signals) -> None:
    pair.connect()
    with pair.streams() as streams:
        pair.a.process.signal(number)
        said = "use 'ovpnha restart-openvpn'"
        wait_until(lambda: said in pair.a.process.log.read_text(), "it is refused", PATIENCE)
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert pair.a.status()["role"] == "master"


def test_whoever_ends_last_takes_everything_down(pair: SparePair) -> None:
    switched(pair)
    pair.b.process.signal(signal.SIGTERM)
    assert pair.b.ends() == 0
    assert pair.tun() == (True, True)
    assert pair.scripts("down") == []
    pair.a.process.signal(signal.SIGTERM)
    assert pair.a.ends() == 0
    assert pair.tun() == (False, False)
    assert pair.scripts("down") == UP
    assert pair.scripts("learn") == [*ADDED, "delete 10.8.0.2"]
    assert pair.pid_file() is None


def test_a_master_that_ends_while_a_spare_is_ready_says_nothing(pair: SparePair) -> None:
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        assert pair.a.one("cluster-wait on 3").startswith("SUCCESS")
        pair.a.process.signal(signal.SIGTERM)
        assert pair.a.ends() == 0
        assert pair.b.one("cluster-promote 2/b").startswith("SUCCESS")
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert pair.tun() == (True, True)
    assert pair.pid_file() == pair.b.process.pid
    assert pair.scripts("learn") == ADDED
    assert restarts(client.log()) == []


def test_the_end_of_the_connection_is_no_end_of_the_process(pair: SparePair) -> None:
    pair.connect()
    with pair.streams() as streams:
        pair.a.leave()
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    pair.a.reach()
    assert pair.a.status()["role"] == "master"


def test_any_other_process_waits_too(pair: SparePair) -> None:
    """What systemd starts in the place of a dead one must not fail, nor serve."""
    switched(pair)
    pair.a.process.kill()
    third = pair.process("third").start()
    third.expect(">CLUSTER:WAITING")
    pair.share(pair.b, third)
    pair.carry(pair.b, third)
    with pair.streams() as streams:
        streams.linger(RUNNING)
        pair.switch(pair.b, third, "3/third")
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert pair.pid_file() == third.process.pid


def test_another_start_leaves_the_management_socket_to_who_has_it(lone: SparePair) -> None:
    """By hand, of the same configuration: else nobody could reach the one that serves any more."""
    lone.a.start()
    assert lone.a.status()["role"] == "standby"
    tried = lone.process("a").process
    tried.log = lone.home / "tried.log"
    tried.start()
    assert tried.wait(PATIENCE) == 1
    (told,) = [line for line in tried.log.read_text().splitlines() if "MANAGEMENT" in line]
    assert f"another process has the socket {lone.a.path} open" in told
    lone.a.reach()  # nobody has waited there meanwhile, and the path is where it was
    assert lone.a.status()["role"] == "standby"
    lone.a.process.kill()  # what it leaves behind is nobody's
    assert lone.a.path.exists()
    tried.start()
    lone.a.reach()
    assert lone.a.status()["descriptors"] == "own"


GATE = TELL + "read -r _ <{gate}\n"
"""A script that goes on when somebody writes into a pipe."""


def opening(pair: SparePair) -> Path:
    """``a`` is about to open the port: it has its tun, and its script ``up`` waits for the pipe."""
    pair.write(change=("dev tun0\n", "dev tun\n"))
    gate = pair.home / "gate"
    os.mkfifo(gate)
    script = GATE.format(word="up", log=pair.home / "scripts.log", gate=gate)
    (pair.home / "up.sh").write_text(script)
    pair.a.start()
    wait_until(lambda: pair.scripts("up"), "it has its tun", PATIENCE)
    return gate


def test_who_starts_while_another_one_opens_its_port_waits(lone: SparePair) -> None:
    """At boot: else both have a tun, and the one that comes too late takes down what both need."""
    gate = opening(lone)
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    assert not wait_patiently(lambda: not lone.b.process.running, INTERVALS)
    assert len(lone.scripts("up")) == 1
    gate.write_text("\n")
    assert lone.a.status()["descriptors"] == "own"
    assert lone.a.one("cluster-promote 1/a").startswith("SUCCESS")
    lone.share(lone.a, lone.b)
    lone.connect()
    assert (lone.scripts("down"), lone.tun()) == ([], (True, True))


def test_one_that_dies_while_it_opens_is_not_waited_for(lone: SparePair) -> None:
    gate = opening(lone)
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    lone.a.process.kill()
    wait_until(lambda: len(lone.scripts("up")) == 2, "the other one opens its own", PATIENCE)
    with gate.open("r+b", buffering=0) as both:  # each of the two scripts reads a line
        both.write(b"\n\n")
        assert lone.b.status()["descriptors"] == "own"


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (
            "port 1194",
            "port 1195",
            "port differs: the socket has 1194, the configuration says 1195",
        ),
        ("local 10.99.0.1", "local 10.99.0.3", "local differs: the socket has 10.99.0.1"),
        (
            "local 10.99.0.1",
            "local 10.99.0.1\nbind-dev veth0",
            "bind-dev differs: the socket has none",
        ),
        ("proto udp4", "proto udp6", "proto or local differs: the socket is bound to 10.99.0.1"),
    ],
)
def test_whose_address_was_changed_opens_nothing_beside_the_one_that_serves(
    lone: SparePair, before: str, after: str, named: str
) -> None:
    """Its port is free; a second tun beside the first would have the same address and routes."""
    lone.write(change=("dev tun0\n", "dev tun\n"))
    lone.serve_alone()
    lone.connect()
    config = lone.home / "server.conf"
    changed = config.read_text().replace(before, after)
    if "udp6" in after:
        changed = changed.replace("local 10.99.0.1", "local ::1")
    (lone.home / "edited").write_text(changed)
    (lone.home / "edited").rename(config)  # as an editor does: it is another file
    with lone.streams() as streams:
        lone.b.start()
        lone.expect_refused(lone.a, lone.b, named)
        assert not wait_patiently(lambda: len(lone.scripts("up")) > 1, INTERVALS)
    assert [one.missing for one in streams.counted] == [(), ()]
    lone.a.leave()
    lone.a.process.kill()
    wait_until(lambda: len(lone.scripts("up")) == 2, "it opens its own now", PATIENCE)
    assert lone.b.status()["descriptors"] == "own"


def test_who_has_taken_them_is_known_likewise(pair: SparePair) -> None:
    """When the one that had opened them is dead."""
    switched(pair)
    pair.a.process.kill()
    pair.write(change=("port 1194", "port 1195"))
    third = pair.process("third").start()
    third.expect(">CLUSTER:WAITING")
    assert not wait_patiently(lambda: len(pair.scripts("up")) > 1, INTERVALS)
    pair.b.process.kill()
    wait_until(lambda: len(pair.scripts("up")) == 2, "it opens its own now", PATIENCE)


INTERVALS = 2.5
"""Seconds in which files that are written every second are written twice."""


def test_files_are_written_by_whom_they_concern(pair: SparePair) -> None:
    """Status and pool: not by the held one, while the one that serves is stopped."""
    switched(pair)
    files = [pair.home / name for name in ("openvpn.status", "pool")]
    wait_until(lambda: all("client" in one.read_text() for one in files), "they are", PATIENCE)
    pair.b.process.signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(pair.b.process.pid), "it is stopped", PATIENCE)
    before = [one.stat().st_mtime_ns for one in files]

    def written() -> bool:
        pair.a.status()
        return [one.stat().st_mtime_ns for one in files] != before

    assert not wait_patiently(written, INTERVALS)
    pair.b.process.signal(signal.SIGCONT)
    wait_until(written, "they are written by the one that serves", PATIENCE)


def test_a_spare_that_starts_leaves_the_files_as_they_are(lone: SparePair) -> None:
    """They are never empty, however often somebody looks."""
    lone.serve_alone()
    lone.connect()
    status = lone.home / "openvpn.status"
    wait_until(lambda: "client" in status.read_text(), "the client is in the file", PATIENCE)
    inode = status.stat().st_ino
    lone.a.process.signal(signal.SIGSTOP)
    lone.b.start()
    lone.b.expect(">CLUSTER:WAITING")
    lone.a.process.signal(signal.SIGCONT)
    lone.a.descriptors()
    fds = lone.a.take_given()
    lone.a.process.signal(signal.SIGSTOP)
    assert lone.b.one("cluster-take", fds) == "SUCCESS: cluster-take"
    for one in fds:
        os.close(one)
    lone.b.status()
    assert "client" in status.read_text()
    assert status.stat().st_ino == inode
    assert lone.pid_file() == lone.a.process.pid
    lone.a.process.signal(signal.SIGCONT)


def test_an_address_is_added_once_and_deleted_once(pair: SparePair) -> None:
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    pair.switch(pair.a, pair.b, "2/b")
    assert pair.a.one("cluster-demote").startswith("SUCCESS")
    pair.carry(pair.b, pair.a)
    (uid,) = [line.split(",")[0] for line in pair.b.ask("cluster-list")[:-1]]
    client.process.stop()
    assert pair.a.one(f"cluster-drop {uid}").startswith("SUCCESS")
    assert pair.b.one("kill client").startswith("SUCCESS")
    gone = [*ADDED, "delete 10.8.0.2"]
    wait_until(lambda: pair.scripts("learn") == gone, "the address is deleted", PATIENCE)
    assert not wait_patiently(lambda: pair.scripts("learn") != gone, INTERVALS)


def test_what_only_this_process_can_finish_is_counted(pair: SparePair) -> None:
    """A client that connects, and one that renegotiates."""

    def handshakes() -> int:
        return int(pair.a.status()["handshakes"])

    assert pair.a.one("cluster-wait on 30").startswith("SUCCESS")
    connecting = pair.begin_client()
    wait_until(lambda: handshakes() == 1, "the client connects", PATIENCE)
    assert pair.a.one("cluster-wait off").startswith("SUCCESS")
    connecting.wait_connected(PATIENCE)
    wait_until(lambda: handshakes() == 0, "it is connected", PATIENCE)
    assert pair.carry(pair.a, pair.b) == 1
    (uid,) = [line.split(",")[0] for line in pair.a.ask("cluster-list")[:-1]]
    connecting.process.signal(signal.SIGSTOP)
    assert pair.a.one(f"cluster-reneg {uid}").startswith("SUCCESS")
    wait_until(lambda: handshakes() == 1, "it is asked for new keys", PATIENCE)
    assert pair.b.status()["handshakes"] == "0"
    connecting.process.signal(signal.SIGCONT)
    wait_until(lambda: handshakes() == 0, "it has new keys", PATIENCE)


def test_systemd_is_told_that_it_is_ready(lone: SparePair) -> None:
    """While it waits, and again when it goes on: a unit that waited would be ended."""
    path = lone.home / "notify.sock"
    lone.a.start()
    lone.a.status()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(PATIENCE)
        waiting = lone.process("b", environment={"NOTIFY_SOCKET": str(path)}).start()
        told = ""
        while "READY=1" not in told:
            told = notify.recv(4096).decode()
        waiting.expect(">CLUSTER:WAITING")
        assert f"MAINPID={waiting.process.pid}" in told


def test_a_spare_needs_no_rights(lone: SparePair) -> None:
    """It drops them as soon as it has the descriptors."""
    lone.write(change=("learn-address", "user nobody\nmark 7\n;learn-address"))
    lone.serve()
    lone.connect()
    lone.carry(lone.a, lone.b)
    with lone.streams() as streams:
        streams.linger(RUNNING)
        lone.switch(lone.a, lone.b, "2/b")
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert Path(f"/proc/{lone.b.process.pid}").stat().st_uid != 0
    assert lone.pid_file() == lone.b.process.pid


def test_behind_a_chroot_the_pid_file_is_the_one_outside(lone: SparePair) -> None:
    """Its path is another file's there."""
    jail = lone.home / "jail"
    (jail / "tmp").mkdir(parents=True)
    lone.write(change=("learn-address", "chroot jail\n;learn-address"))
    lone.serve()
    assert lone.pid_file() == lone.a.process.pid
    lone.connect()
    lone.carry(lone.a, lone.b)
    lone.switch(lone.a, lone.b, "2/b")
    assert lone.pid_file() == lone.b.process.pid
    assert not (jail / "openvpn.pid").exists()
    lone.a.process.signal(signal.SIGTERM)
    assert lone.a.ends() == 0
    assert lone.pid_file() == lone.b.process.pid


MANY = 20
LOW = 100_000
SHORT = ("keepalive 10 60\n", "keepalive 10 60\nhand-window 2\n")


def room(serving: Managed) -> int:
    return int(serving.one("cluster-room").rpartition("=")[2])


def test_many_changes_in_a_row_use_no_packet_id_twice(lone: SparePair) -> None:
    """Each eats packet ids of a key; new keys come before they run low, and nothing is lost."""
    lone.write(change=SHORT)
    lone.serve()
    client = lone.connect()
    old, new = lone.a, lone.b
    rooms = []
    with closing(Wire(lone.client)) as wire:
        with lone.streams() as streams:
            for number in range(MANY):
                lone.carry(old, new)
                streams.linger(RUNNING / 5)
                lone.switch(old, new, f"{number + 2}/x")
                assert old.one("cluster-demote").startswith("SUCCESS")
                old, new = new, old
                rooms.append(room(old))
                if rooms[-1] < LOW:
                    lone.renew(old)
        came = wire.came()
    assert [one.missing for one in streams.counted] == [(), ()]
    assert len(came) > MANY * RATE * RUNNING / 5
    assert len(came) == len(set(came))
    assert min(rooms) > 0
    assert rooms[3] < rooms[2] < rooms[1]  # or there would be nothing to look after
    assert restarts(client.log()) == []


USED = 200
"""Packet ids between two changes: ranges of the traced build have tens of them."""


def use_some(pair: SparePair, serving: Managed, spare: Managed) -> None:
    """Packet ids of the one that serves, with the rounds of ranges that this needs."""

    def used() -> int:
        path = pair.nonces / f"nonces.{serving.process.pid}"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    goal = used() + USED
    wait_until(lambda: pair.carry(serving, spare) and used() > goal, "ids are used", PATIENCE)


def test_no_nonce_is_used_twice_over_many_changes(tmp_path: Path) -> None:
    """The traced build writes down every packet id that a process has used, sent or not."""
    with SparePair(tmp_path, TRACED.resolve()) as pair:
        pair.write(change=SHORT)
        pair.serve()
        pair.connect()
        processes = [pair.a, pair.b]
        with pair.streams():
            for number in range(MANY):
                old, new = processes
                use_some(pair, old, new)
                pair.switch(old, new, f"{number + 2}/x")
                assert old.one("cluster-demote").startswith("SUCCESS")
                processes.reverse()
                pair.renew(new)
        found = count({one.name: one.read_text().splitlines() for one in pair.nonces.iterdir()})
    assert found.duplicates == 0, found
    assert found.shared_keys >= MANY / 2, found
    assert found.packets > MANY * USED


HELPER = """
#include <fcntl.h>
#include <openvpn-plugin.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int asks_a_helper_of_its_own(void)
{
    int ends[2];
    char word = 0;

    if (pipe(ends)) { return 0; }
    if (!fork()) { word = 'y'; _exit(write(ends[1], &word, 1) != 1); }
    close(ends[1]);
    return read(ends[0], &word, 1) == 1;
}

/* what is left behind lives longer than OpenVPN, and has all that was open */
static void leave_one_behind(void)
{
    if (fork()) { return; }
    if (asks_a_helper_of_its_own()) { close(open("answered", O_CREAT | O_WRONLY, 0600)); }
    signal(SIGTERM, SIG_IGN);
    alarm(120);
    pause();
    _exit(0);
}

OPENVPN_EXPORT int openvpn_plugin_min_version_required_v1(void) { return 3; }
OPENVPN_EXPORT int openvpn_plugin_open_v3(const int v, struct openvpn_plugin_args_open_in const *a,
                                          struct openvpn_plugin_args_open_return *r)
{
    r->type_mask = OPENVPN_PLUGIN_MASK(OPENVPN_PLUGIN_TLS_FINAL);
    r->handle = malloc(1);
    if (!LATE) { leave_one_behind(); }
    return OPENVPN_PLUGIN_FUNC_SUCCESS;
}
OPENVPN_EXPORT int openvpn_plugin_func_v3(const int v, struct openvpn_plugin_args_func_in const *a,
                                          struct openvpn_plugin_args_func_return *r)
{
    if (LATE) { leave_one_behind(); }
    return OPENVPN_PLUGIN_FUNC_SUCCESS;
}
OPENVPN_EXPORT void openvpn_plugin_close_v1(openvpn_plugin_handle_t h) { }
"""
HEADERS = Path(__file__).parents[2] / "build" / "openvpn" / "tree" / "include"
FREE = 15.0
"""Seconds: less than what a helper lives, more than a start takes."""


def help_by_a_plugin(pair: SparePair, *, late: bool = False) -> SparePair:
    source = pair.home / "helper.c"
    source.write_text(HELPER)
    plugin = source.with_suffix(".so")
    options = [f"-DLATE={int(late)}", f"-I{HEADERS}"]
    build = ["gcc", "-shared", "-fPIC", *options, "-o", str(plugin), str(source)]
    subprocess.run(build, check=True)
    pair.write(change=("cluster-spare", f"cluster-spare\nplugin {plugin}"))
    return pair


@pytest.fixture
def helped(lone: SparePair) -> SparePair:
    """Its processes have a plugin that leaves a process behind when it is loaded."""
    return help_by_a_plugin(lone)


@pytest.fixture
def helped_late(lone: SparePair) -> SparePair:
    """Likewise, for each client that has connected."""
    return help_by_a_plugin(lone, late=True)


def test_what_a_plugin_leaves_behind_keeps_no_socket_of_a_dead_process(helped: SparePair) -> None:
    """Nobody could serve until that has ended: who starts would take it for an OpenVPN."""
    helped.a.start()
    helped.a.status()
    helped.a.leave()
    helped.a.process.kill()
    again = helped.process("a").process
    again.log = helped.home / "again.log"
    again.start()
    wait_until(lambda: READY in again.log.read_text(), "it serves", FREE)


def test_what_it_opens_itself_is_left_to_it(helped: SparePair) -> None:
    """Under the numbers that were free then, as PAM does to ask a helper for each login."""
    helped.a.start()
    wait_until((helped.home / "answered").exists, "its own child has answered", FREE)


def test_nor_the_port_of_one_that_had_taken_it(helped: SparePair) -> None:
    helped.serve()
    helped.connect()
    helped.carry(helped.a, helped.b)
    helped.switch(helped.a, helped.b, "2/b")
    helped.a.leave()
    helped.a.process.kill()
    helped.b.leave()
    helped.b.process.kill()
    third = helped.process("c").start()
    wait_until(lambda: READY in third.process.log.read_text(), "it has the port", FREE)


def expect_another_one_serves(pair: SparePair, *dead: Managed) -> None:
    wait_until((pair.home / "answered").exists, "somebody is left behind", PATIENCE)
    for one in dead:
        one.leave()
        one.process.kill()
    third = pair.process("c").start()
    wait_until(lambda: READY in third.process.log.read_text(), "it has port and tun", FREE)
    assert pair.tun() == (True, True)


def test_nor_port_and_tun_of_one_that_had_opened_them(helped_late: SparePair) -> None:
    """Who is started for a client has both open, as those have that are started for a login."""
    helped_late.serve_alone()
    helped_late.connect()
    with helped_late.streams() as streams:
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]  # who has forked goes on
    expect_another_one_serves(helped_late, helped_late.a)


def test_nor_of_one_that_had_taken_them(helped_late: SparePair) -> None:
    helped_late.serve()
    helped_late.switch(helped_late.a, helped_late.b, "2/b")
    helped_late.connect()
    expect_another_one_serves(helped_late, helped_late.a, helped_late.b)


def test_one_that_shares_nothing_takes_back_what_it_has_opened_when_it_is_to_go(
    lone: SparePair,
) -> None:
    """Else ``up`` would run twice for one ``down``, and the next start find an old device."""
    for _ in range(2):
        one = lone.process("a").start()
        one.status()
        assert one.one("cluster-retire").startswith("SUCCESS")
        assert one.ends() == 0
    said = [line.split()[0] for line in (lone.home / "scripts.log").read_text().splitlines()]
    assert said == ["up", "down"] * 2
    assert not (lone.home / "openvpn.pid").exists()


@pytest.mark.parametrize("last", ["who has opened them", "who has taken them"])
def test_so_does_one_whose_partner_is_dead(pair: SparePair, last: str) -> None:
    switched(pair)
    if last == "who has opened them":
        dead, alive = pair.b, pair.a
    else:
        dead, alive = pair.a, pair.b
        assert alive.one("cluster-hold").startswith("SUCCESS")
    dead.leave()
    dead.process.kill()
    assert alive.one("cluster-retire").startswith("SUCCESS")
    assert alive.ends() == 0
    assert pair.tun() == (False, False)
    assert pair.scripts("down") == UP
