"""A client that has begun anew goes on sending with the key of its last session, and is heard.

For a whole ``hand-window``: by the server that it began anew with, and by one that is promoted in
that time, which has the key from the record of the new session, and only to receive with.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.faults.rekey import NAME, NEVER
from tests.integration.conftest import MakeLab, configure
from tests.integration.pace import PATIENCE, is_short
from tests.integration.relay import SLOT_KEPT, relayed
from tests.lab import plan
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.openvpn import READY, Client
from tests.lab.packetfilter import CONTROL, PacketFilter
from tests.lab.session import Session
from tests.lab.splitbrain import TRACED
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

WINDOW = 16
"""Seconds, ``hand-window``: until the client gives a handshake up, and then until it sends with its
new key. A takeover and all that it needs before has to fit in."""

SOONER = 3
HEARD_SECONDS = 5.0
BOUND_MS = 2500.0
LOST = 3
"""Packets that may be tried with the wrong one of two keys, before one has opened any."""


ASKS = """\
#!/bin/sh
echo >>{asked}
(while [ ! -s {answer} ]; do sleep 0.1; done; cat {answer} >"$auth_control_file") >/dev/null 2>&1 &
exit 2
"""
"""A server's script that is asked about a user and answers later."""


class Deferred:
    """Users are found good or bad when the test says so."""

    def __init__(self, home: Path) -> None:
        self._asked, self._answer = home / "asked", home / "answer"
        script, user = home / "asks.sh", home / "user"
        script.write_text(ASKS.format(asked=self._asked, answer=self._answer))
        script.chmod(0o755)
        user.write_text("somebody\nsecret\n")
        self.server = ("script-security 2", f"auth-user-pass-verify {script} via-file")
        self.client = (f"auth-user-pass {user}",)
        self.answer("1")

    def answer(self, text: str) -> None:
        """What the script says from now on: 1, 0 or nothing yet."""
        self._answer.write_text(text)

    def asked(self) -> int:
        """How often it was asked."""
        return len(self._asked.read_text())


def make_session(
    make_lab: MakeLab, server: int, client: int, key_id: int, users: Deferred | None = None
) -> Session:
    """A client whose newest key has this number and is old enough for another one."""
    lab = make_lab(
        vip_manager=None,
        server_options=(f"hand-window {server}", *(users.server if users else ())),
        client_options=(
            f"hand-window {client}",
            f"tls-timeout {4 * WINDOW}",
            *(users.client if users else ()),
        ),
    )
    configure(lab, NAME, NEVER)
    lab.start_cluster()
    session = Session(lab)
    begun = session.mark()
    for _ in range(key_id):
        session.linger(max(server, client) + 1.5)
        lab.nodes["a"].sidecar.renegotiate()
        wait_until(lambda: session.noticed(begun).renegotiations, "a new key", PATIENCE)
    session.linger(max(server, client) + 1.5)
    lab.wait_in_sync("b")
    return session


def spoil_renegotiation(lab: Lab) -> PacketFilter:
    """Begin one, and let the master hear nothing of it."""
    master = lab.nodes["a"]
    packets = PacketFilter(master.namespace)
    packets.refuse(CONTROL)
    master.sidecar.renegotiate()
    wait_until(packets.refused, "a ClientHello", PATIENCE)
    return packets


def expect_heard(session: Session, master: str, standby: str) -> None:
    """The client has begun anew with that master, which hears it, and so does who comes next."""
    lab = session.lab
    begun = session.mark()
    session.linger(HEARD_SECONDS)
    assert is_short(session, begun, BOUND_MS), "the master does not hear the client"
    lab.wait_in_sync(standby)
    killed = session.strike(kill_openvpn)
    assert killed.node == master
    lab.move_vips(standby)
    session.linger(HEARD_SECONDS)
    assert is_short(session, killed, BOUND_MS), "the next master does not hear the client"
    assert session.recovers(session.mark(), PATIENCE)
    assert session.noticed(begun).nothing, "the client has begun anew once more"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("key_id", [0, 1])
def test_two_takeovers_within_a_hand_window(make_lab: MakeLab, key_id: int) -> None:
    """The first one spoils a renegotiation, so that the client begins anew before the second."""
    session = make_session(make_lab, WINDOW, WINDOW, key_id)
    lab = session.lab
    spoil_renegotiation(lab)
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    lab.nodes["a"].openvpn.start()
    wait_until(lambda: session.noticed(killed).reconnects, "a new session", PATIENCE)
    expect_heard(session, "b", "a")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("server", "client", "key_id"),
    [(WINDOW - SOONER, WINDOW, 1), (WINDOW, WINDOW - SOONER, 0), (WINDOW, WINDOW - SOONER, 1)],
    ids=["server-gives-up", "client-gives-up-its-first", "client-gives-up"],
)
def test_a_takeover_after_a_handshake_was_lost(
    make_lab: MakeLab, server: int, client: int, key_id: int
) -> None:
    """All servers live: the network loses the handshake, and the master has made the key itself."""
    session = make_session(make_lab, server, client, key_id)
    begun = session.mark()
    packets = spoil_renegotiation(session.lab)
    wait_until(lambda: session.noticed(begun).hard_resets, "a hard reset", PATIENCE)
    packets.lift()
    wait_until(lambda: session.noticed(begun).reconnects, "a new session", PATIENCE)
    expect_heard(session, "a", "b")


def begin_anew_unanswered(session: Session, users: Deferred) -> None:
    """A handshake is lost, and whether the user of the new session is a good one is left open."""
    begun = session.mark()
    packets = spoil_renegotiation(session.lab)
    wait_until(lambda: session.noticed(begun).hard_resets, "a hard reset", PATIENCE)
    users.answer("")
    asked = users.asked()
    packets.lift()
    wait_until(lambda: users.asked() > asked, "the server asks who it is", PATIENCE)


def test_a_user_who_is_found_good_later_is_heard(make_lab: MakeLab, tmp_path: Path) -> None:
    """The key is kept meanwhile, and proves nothing of the user of the new session."""
    users = Deferred(tmp_path)
    session = make_session(make_lab, WINDOW, WINDOW - SOONER, 1, users)
    begun = session.mark()
    begin_anew_unanswered(session, users)
    session.linger(1.5)
    assert not session.noticed(begun).reconnects
    users.answer("1")
    wait_until(lambda: session.noticed(begun).reconnects, "a new session", PATIENCE)
    # While nobody has answered for the user there is no traffic: that gap ends now.
    assert session.recovers(session.mark(), HEARD_SECONDS)
    expect_heard(session, "a", "b")


def test_a_user_who_is_found_bad_later_is_sent_away(make_lab: MakeLab, tmp_path: Path) -> None:
    """Though the key of the session before is kept, and its user was a good one."""
    users = Deferred(tmp_path)
    session = make_session(make_lab, WINDOW, WINDOW - SOONER, 1, users)
    begin_anew_unanswered(session, users)
    users.answer("0")
    (client,) = session.lab.clients
    wait_until(
        lambda: any("AUTH_FAILED" in line.text for line in client.log()), "no entry", PATIENCE
    )


def count_connections(client: Client) -> int:
    """How often it has connected."""
    return sum(READY in line.text for line in client.log())


def start_anew(client: Client) -> None:
    """Its process dies without a word, and another one connects."""
    client.process.kill()
    connected = count_connections(client) + 1
    client.process.start()
    wait_until(lambda: count_connections(client) >= connected, "it connects again", PATIENCE)


def count_answers(lab: Lab, pings: int) -> int:
    """Of so many from the client into the LAN."""
    command = ["ping", "-q", "-c", str(pings), "-i", "0.02", "-W", "5", plan.LAN.address(100)]
    space = ["ip", "netns", "exec", lab.topology.namespace("client")]
    done = subprocess.run([*space, *command], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) received", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cipher", ["AES-256-GCM", "AES-256-CBC"])
@pytest.mark.parametrize("sent", [2, 200])
def test_a_client_that_has_started_anew_at_its_port_is_heard(
    make_lab: MakeLab, sent: int, cipher: str
) -> None:
    """It has its old key no more: its packets under the new one are not taken for that one's."""
    options = (f"data-ciphers {cipher}",)
    lab = make_lab(
        vip_manager=None, server_options=options, client_options=(*options, "lport 5555")
    )
    lab.start_cluster()
    client = lab.start_client()
    assert count_answers(lab, sent) == sent
    for _ in range(2):
        start_anew(client)
        assert count_answers(lab, 100) >= 100 - LOST


def names_of(node: Node, traces: Path) -> set[str]:
    """The keys that this node's OpenVPN has used packet ids of so far."""
    path = traces.with_name(f"{traces.name}.{node.openvpn.pid}")
    return {line.split()[0] for line in path.read_text().splitlines()}


def test_a_kept_key_is_only_received_with(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the record it has a place of its own and no packet ids; who gets it uses none."""
    traces = tmp_path / "nonces"
    monkeypatch.setenv("CLUSTER_TRACE", str(traces))
    lab = make_lab(
        openvpn=TRACED.resolve(),
        vip_manager=None,
        server_options=(f"hand-window {SOONER}",),
        client_options=(f"hand-window {SOONER}",),
    )
    a, b = lab.nodes["a"], lab.nodes["b"]
    configure(lab, NAME, NEVER)
    with relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        session.linger(SOONER + 1.5)
        lab.wait_in_sync("b")
        begun = session.mark()
        used_before = names_of(a, traces)
        packets = spoil_renegotiation(lab)
        wait_until(lambda: session.noticed(begun).hard_resets, "a hard reset", PATIENCE)
        packets.lift()
        wait_until(lambda: session.noticed(begun).reconnects, "a new session", PATIENCE)
        wait_until(
            lambda: any(key.slot == SLOT_KEPT for key in relays["b"].data_keys()),
            "the kept key is imported",
            PATIENCE,
        )
        keys, granted = [
            (keys, granted)
            for keys, granted in relays["b"].granted()
            if any(key.slot == SLOT_KEPT for key in keys)
        ][-1]
        kept = {key.fingerprint for key in keys if key.slot == SLOT_KEPT}
        assert granted == {key.fingerprint for key in keys} - kept
        kill_openvpn(lab, a)
        lab.move_vips("b")
        assert session.recovers(session.mark(), PATIENCE)
        session.linger(HEARD_SECONDS)
        used = names_of(b, traces)
        # what b tells of it is what it has left, not a life of its own
        a.openvpn.start()
        first = next(key for key in relays["b"].data_keys() if key.slot == SLOT_KEPT)
        wait_until(
            lambda: any(
                key.slot == SLOT_KEPT and key.dies_in <= first.dies_in - HEARD_SECONDS
                for key in relays["b"].data_keys()
            ),
            "the key goes on to the next standby",
            PATIENCE,
        )
    assert used_before
    assert used
    assert not used & used_before
