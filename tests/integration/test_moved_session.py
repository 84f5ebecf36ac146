"""What works on a moved client before its first renegotiation on the new master.

The TLS object behind its control channel died with the old master, and ``rekey_after_promotion`` is
``never`` here, so that nothing makes a new one by itself.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeLab, configure
from tests.integration.pace import PATIENCE, is_short
from tests.integration.rows import LOGIN, VERIFY, Row, write_files
from tests.integration.test_renegotiation_again import Freeze
from tests.integration.test_replay import Capture, link, payload
from tests.lab import plan
from tests.lab.clientlog import PUSH_AGAIN_SECONDS, PUSH_REQUEST
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import READY
from tests.lab.packetfilter import CONTROL, PacketFilter
from tests.lab.renegotiation import SERVER_WINDOW, Renegotiation, key_pending
from tests.lab.session import TURNS, Moment, Session
from tests.lab.waiting import connect, wait_until

pytestmark = pytest.mark.integration

HAND_WINDOW = 2
OPTIONS = (f"hand-window {HAND_WINDOW}",)
NAME = 'name = "udp"'
NEVER = f'{NAME}\nrekey_after_promotion = "never"'
REMOTE_EXIT = "SIGUSR1[soft,remote-exit] received"
NEW_TOKEN = "PUSH: Received control message: 'PUSH_REPLY,auth-token"
DENIED = "AUTH: Received control message: AUTH_FAILED"
# A word is delivered by a handshake, which comes within the scheduled exit of 5 s.
TOLD_MS = 2000.0
# 3 s until it is asked, 8 s until it is taken for gone, whole seconds and their rounding; an
# ordinary goodbye takes 5 s, ping-restart 120 s.
GONE_WITHIN = 16.0
RECONNECTED_WITHIN_MS = 3500.0
VERIFY_UNLESS_DENIED = {**LOGIN, "verify.sh": "#!/bin/sh\n[ ! -e ../deny ]\n"}


class Management:
    """The management interface of an OpenVPN whose sidecar has left it."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path, "OpenVPN's management socket", PATIENCE)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str) -> list[str]:
        """The lines of the answer, the last one being its end."""
        self._socket.sendall(f"{command}\n".encode())
        found: list[str] = []
        while not found or not found[-1].startswith(("SUCCESS:", "ERROR:", "END")):
            read = self._lines.readline().decode()
            assert read, f"it hung up; so far it said {found}"
            line = read.rstrip()
            if not line.startswith(">"):
                found.append(line)
        return found

    def cid(self) -> str:
        """The number that this process has given to the only client."""
        (line,) = [line for line in self.ask("status 2") if line.startswith("CLIENT_LIST")]
        return line.split(",")[10]


@contextmanager
def management(lab: Lab, name: str) -> Iterator[Management]:
    """The management interface of a node, taken from its sidecar for a while."""
    sidecar = lab.nodes[name].sidecar.process
    sidecar.kill()
    taken = Management(lab.directory / name / "openvpn.sock")
    try:
        yield taken
    finally:
        taken.close()
        sidecar.start()


def uid(lab: Lab, name: str) -> tuple[str, bool]:
    """Under which name the cluster knows the only client, and whether it has only moved keys."""
    with management(lab, name) as one:
        line, _end = one.ask("cluster-list")
    return line.split(",")[0], ",moved," in line


def kill(session: Session, one: Management, how: str = "") -> Moment:
    """Give ``client-kill``; the time just before. To get the interface takes a while of its own."""
    order = f"client-kill {one.cid()}{how}"
    asked = session.mark()
    assert one.ask(order)[-1].startswith("SUCCESS")
    return asked


Move = Callable[..., tuple[Session, Moment]]


@pytest.fixture
def move(make_lab: MakeLab) -> Move:
    """Gives a client whose master has died, with the other node serving."""

    def moved(
        server: tuple[str, ...] = (),
        client: tuple[str, ...] = (),
        files: dict[str, str] | None = None,
        watch: Callable[[Lab], None] | None = None,
        **changes: Any,
    ) -> tuple[Session, Moment]:
        lab = make_lab(
            vip_manager=None,
            server_options=(*OPTIONS, *server),
            client_options=client,
            **changes,
        )
        configure(lab, NAME, NEVER)
        write_files(Row("moved", server=server, files=files or {}), lab)
        lab.start_cluster()
        if watch:
            watch(lab)
        session = Session(lab)
        killed = session.strike(kill_openvpn)
        lab.move_vips("b")
        assert session.recovers(killed, PATIENCE)
        lab.wait_master("b")
        assert session.noticed(killed).nothing
        assert session.noticed(killed).renegotiations == 0
        return session, killed

    return moved


def heard(session: Session, since: Moment, text: str) -> list[int]:
    """When the client's log has said this since then, in nanoseconds of the wall clock."""
    lines = session.client.log()
    return [line.time for line in lines if line.time >= since.wall and text in line.text]


def hears(session: Session, since: Moment, text: str, seconds: float = PATIENCE) -> float:
    """Wait until the client's log says this; the milliseconds that it took."""
    times = wait_until(lambda: heard(session, since, text), f"the client hears {text}", seconds)
    return (times[0] - since.wall) / 1e6


def is_soon(session: Session, asked: Moment, told_ms: float) -> bool:
    """Whether so many milliseconds are what a handshake takes, on a machine like this."""
    print(f"told after {told_ms:.0f} ms")
    return told_ms < TOLD_MS + TURNS * session.late_ms(asked)


def clients(lab: Lab, name: str) -> int:
    """How many clients a node has."""
    figures = lab.nodes[name].sidecar.instance()
    return int(figures["clients"]) if figures else -1


def wait_gone(lab: Lab, seconds: float = PATIENCE) -> None:
    wait_until(lambda: clients(lab, "b") == 0, "the instance is removed", seconds)


def test_a_kill_reaches_the_client(move: Move) -> None:
    """``client-kill``: a soft reset, and over the new control channel RESTART."""
    session, _killed = move()
    with management(session.lab, "b") as one:
        asked = kill(session, one)
        told = hears(session, asked, "Connection reset command was pushed by server")
    assert is_soon(session, asked, told)
    assert heard(session, asked, "Control Channel: TLS")[0] < asked.wall + told * 1e6
    hears(session, asked, READY)
    assert session.recovers(session.mark(), PATIENCE)
    assert session.noticed(asked).reconnects == 1


def test_a_kill_halts_the_client(move: Move) -> None:
    session, _killed = move()
    with management(session.lab, "b") as one:
        asked = kill(session, one, " HALT")
        told = hears(session, asked, "Halt command was pushed by server")
    assert is_soon(session, asked, told)
    session.client.process.wait()
    wait_gone(session.lab)


def test_a_kill_that_cannot_be_told_is_told_through_the_data_channel(move: Move) -> None:
    """The handshake that would carry it does not come about: at least the client reconnects."""
    session, _killed = move(server=("hand-window 60",))
    with Freeze(session.lab, 0), management(session.lab, "b") as one:
        asked = kill(session, one)
        hears(session, asked, REMOTE_EXIT)
    hears(session, asked, READY)
    assert session.recovers(session.mark(), PATIENCE)


def test_a_kill_of_a_client_inside_a_handshake_is_told_there_too(make_lab: MakeLab) -> None:
    """Its newest key is pending: it would take no soft reset, which would end the key it uses."""
    lab = make_lab(
        vip_manager=None,
        server_options=(f"hand-window {SERVER_WINDOW}",),
        client_options=("hand-window 60",),
    )
    configure(lab, NAME, NEVER)
    lab.start_cluster()
    session = Session(lab)
    one = Renegotiation(session)
    key_pending(one)
    killed = session.strike(kill_openvpn)
    one.settle()
    packets = PacketFilter(lab.nodes["b"].namespace)
    packets.withhold(CONTROL)  # the last message, which would end the handshake
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    assert session.noticed(killed).nothing
    with management(lab, "b") as interface:
        asked = kill(session, interface)
        told = hears(session, asked, REMOTE_EXIT)
    assert is_soon(session, asked, told)
    packets.lift()
    hears(session, asked, READY)
    assert session.recovers(session.mark(), PATIENCE)


@pytest.mark.parametrize("begins", ["server", "client"])
def test_a_client_that_is_denied_hears_it(move: Move, begins: str) -> None:
    """Its password is refused at the first renegotiation on the new master."""
    session, _killed = move(
        server=VERIFY,
        client=("auth-user-pass login", *(["reneg-sec 12"] if begins == "client" else [])),
        files=VERIFY_UNLESS_DENIED,
    )
    (session.lab.directory / "deny").touch()
    asked = session.mark()
    if begins == "server":
        session.linger(HAND_WINDOW + 1.0)
        asked = session.mark()
        session.lab.nodes["b"].sidecar.renegotiate()
    hears(session, asked, DENIED)
    told = (heard(session, asked, DENIED)[0] - heard(session, asked, "VERIFY OK")[-1]) / 1e6
    assert is_soon(session, asked, told)
    session.client.process.wait()
    assert not heard(session, asked, "Inactivity timeout")
    wait_gone(session.lab)


GOODBYES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "control-channel": (("explicit-exit-notify 1",), ()),
    "control-channel-2": (("explicit-exit-notify 2",), ()),
    # A client that leaves through the data channel, as all did before 2.6.
    "data-channel": (
        ("explicit-exit-notify 1", 'pull-filter ignore "protocol-flags"'),
        ('push "key-derivation tls-ekm"',),
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", GOODBYES)
def test_a_client_that_leaves_is_removed(move: Move, how: str) -> None:
    """Its address and its place are free soon after."""
    client, server = GOODBYES[how]
    session, _killed = move(server=("max-clients 1", *server), client=client)
    lab = session.lab
    left = session.mark()
    session.client.process.signal(signal.SIGTERM)
    session.client.process.wait()
    assert heard(session, left, "sending exit notification to peer")
    assert bool(heard(session, left, "SENT CONTROL [server]: 'EXIT'")) == ("control" in how)
    wait_gone(lab, GONE_WITHIN)
    lab.start_client("next")
    wait_until(lambda: clients(lab, "b") == 1, "one client is there", PATIENCE)


def test_a_client_that_only_seems_to_leave_stays(move: Move) -> None:
    """A packet of its handshake comes again: it is asked, answers, and has new keys then."""
    captures: list[Capture] = []
    session, killed = move(tls_crypt=False, watch=lambda lab: captures.append(Capture(lab)))
    lab = session.lab
    mac = bytes.fromhex(str(link(lab.nodes["b"], plan.OUT.interface)["address"]).replace(":", ""))
    with closing(captures[0]) as capture:
        spoken = [one for one in capture.sent() if payload(one.frame)[0] == CONTROL << 3]
        capture.send_again(spoken[-1:], mac)
    wait_until(lambda: session.noticed(killed).renegotiations, "it is asked", PATIENCE)
    session.linger(HAND_WINDOW + 1.0)
    assert session.noticed(killed).nothing
    assert session.noticed(killed).renegotiations == 1
    assert is_short(session, killed, 1000)
    wait_until(lambda: clients(lab, "b") == 1, "one client is there", PATIENCE)
    assert session.finish() == ""


TOKENS = ("auth-gen-token-secret ../token.key",)
RENEWAL = 5


@pytest.mark.sampled(1)
@pytest.mark.parametrize("external", [False, True], ids=["openvpn", "external-auth"])
def test_a_token_is_renewed_at_the_next_renegotiation(move: Move, external: bool) -> None:
    script = "#!/bin/sh\necho $session_state >>../states.log\n[ $session_state != Invalid ]\n"
    session, killed = move(
        server=(*VERIFY, *TOKENS, "auth-gen-token 0" + " external-auth" * external),
        client=("auth-user-pass login",),
        files={**LOGIN, "verify.sh": script} if external else VERIFY_UNLESS_DENIED,
    )
    (session.lab.directory / "deny").touch()
    session.linger(HAND_WINDOW + 1.0)
    asked = session.mark()
    session.lab.nodes["b"].sidecar.renegotiate()
    assert is_soon(session, asked, hears(session, asked, NEW_TOKEN))
    session.linger(HAND_WINDOW + 1.0)
    assert session.noticed(killed).nothing
    if external:
        states = (session.lab.directory / "states.log").read_text().split()
        assert states == ["Initial", "Authenticated"]


def test_a_token_is_renewed_when_it_is_time(move: Move) -> None:
    """The timer goes on at the new master, and makes a control channel for the token."""
    session, killed = move(
        server=(*VERIFY, *TOKENS, f"auth-gen-token 0 {RENEWAL}"),
        client=("auth-user-pass login",),
        files=VERIFY_UNLESS_DENIED,
    )
    (session.lab.directory / "deny").touch()
    hears(session, killed, NEW_TOKEN)
    assert session.noticed(killed).renegotiations == 1
    wait_until(lambda: len(heard(session, killed, NEW_TOKEN)) >= 4, "more renewals", 60.0)
    assert is_short(session, killed, 1000)
    assert session.noticed(killed).nothing
    assert session.noticed(killed).renegotiations == 1
    assert session.finish() == ""


def test_a_token_that_has_expired_is_told(move: Move) -> None:
    """Its lifetime began at the old master. The client asks its user again, and may come back."""
    session, _killed = move(
        server=(*VERIFY, *TOKENS, "auth-gen-token 8"),
        client=("auth-user-pass login",),
        files=VERIFY_UNLESS_DENIED,
    )
    session.linger(9.0)
    asked = session.mark()
    session.lab.nodes["b"].sidecar.renegotiate()
    told = hears(session, asked, DENIED + ",SESSION: token expired")
    assert is_soon(session, asked, told)
    hears(session, asked, READY)
    assert session.recovers(session.mark(), PATIENCE)


def in_mid_second() -> bool:
    """A handshake over the turn of a second loses a PUSH_REQUEST, and 5 s: stock OpenVPN's too."""
    return 0.3 < time.time() % 1 < 0.5


def test_a_client_that_begins_anew_from_its_port_is_taken_up_again(move: Move) -> None:
    """It reconnects as fast as ever, is another client to the cluster, and moves back as one."""
    session, _killed = move(client=("lport 5555",))
    lab = session.lab
    address = lab.tunnel_address()
    before = uid(lab, "b")
    assert before[1]
    lab.nodes["a"].openvpn.start()
    lab.wait_in_sync("a")
    wait_until(in_mid_second, "the middle of a second", PATIENCE)
    reset = session.mark()
    session.client.process.signal(signal.SIGUSR1)
    hears(session, reset, READY)
    assert session.recovers(session.mark(), PATIENCE)
    session.linger(1.0)
    asked = len(heard(session, reset, PUSH_REQUEST))
    assert asked <= 2, "it asked more often than stock OpenVPN's client has to"
    more = PUSH_AGAIN_SECONDS * 1e3 if asked else 0.0
    assert is_short(session, reset, RECONNECTED_WITHIN_MS + more)
    assert lab.tunnel_address() == address
    after = uid(lab, "b")
    assert after[0] != before[0]
    assert not after[1]
    lab.wait_master("b")
    lab.wait_in_sync("a")
    back = session.strike(kill_openvpn)
    lab.move_vips("a")
    assert session.recovers(back, PATIENCE)
    lab.wait_master("a")
    assert session.recovers(session.mark(), PATIENCE)
    assert session.noticed(back).nothing
    assert session.finish() == ""


def test_a_question_that_nobody_asked_does_no_harm(move: Move) -> None:
    """``client-pending-auth`` where nothing is pending: the client goes on."""
    session, killed = move()
    with management(session.lab, "b") as one:
        cid = one.cid()
        for kid in range(5):
            one.ask(f"client-pending-auth {cid} {kid} CR_TEXT:R,E:who 30")
        assert one.ask("cluster-list")[-1] == "END"
    session.linger(HAND_WINDOW + 2.0)
    assert session.noticed(killed).nothing
    assert is_short(session, killed, 1000)
    wait_until(lambda: clients(session.lab, "b") == 1, "one client is there", PATIENCE)
    assert session.finish() == ""
