"""Clients that came from another node and are slow, silent or impersonated.

One is told to reconnect for what it does, never for silence, nor for what anybody may have sent in
its name, nor because another client is at its address.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.faults.fault import Fault, Say
from tests.integration.conftest import OPENVPN, configure
from tests.integration.test_replay import (
    DATA_HEAD,
    NO_IPV6,
    P_DATA_V2,
    Capture,
    Sent,
    link,
    payload,
)
from tests.lab import plan
from tests.lab.clientlog import CONTROL_CHANNEL, PUSH_AGAIN_SECONDS, PUSH_REQUEST, noticed
from tests.lab.deaths import kill_openvpn
from tests.lab.keepalived import Keepalived
from tests.lab.lab import GRADE_MASTER, Lab
from tests.lab.node import Node, Setup
from tests.lab.openvpn import READY, Client
from tests.lab.packetfilter import PacketFilter
from tests.lab.quota import Quota
from tests.lab.session import Session
from tests.lab.topology import inside, set_sysctls
from tests.lab.waiting import Tail, wait_until

PATIENCE = 20.0
HAND_WINDOW = 4
OPTIONS = (f"hand-window {HAND_WINDOW}",)
NAME = 'name = "udp"'
NEVER = f'{NAME}\nrekey_after_promotion = "never"'
DEAD_SECONDS = 14.0
HARD_RESETS = (7, 10)  # opcodes of clients
UNUSED_KEY = 5
STRAY_SECONDS = 14.0
EVERY = 0.2
TOLD = "telling the client to reconnect"
RESTARTING = "SIGUSR1"
TROUBLE = ("TLS", "Initial packet", "session", "Control Channel", "replay", "CLUSTER")
BACK_SECONDS = 5.0
ASKED = "asking it for a renegotiation"
CLIENTS = 150
FEW_CLIENTS = 40
PERCENT = 2.0
REKEYED_WITHIN = 60.0


def make_lab(say: Say, *client_options: str, by_hand: bool = True, tls_crypt: bool = True) -> Lab:
    return Lab(
        Setup(
            openvpn=OPENVPN,
            vip_manager=None if by_hand else Keepalived,
            tls_crypt=tls_crypt,
            server_options=OPTIONS,
            client_options=client_options,
        ),
        say,
    )


def kill_master(lab: Lab) -> None:
    """Node a dies, and b serves."""
    kill_openvpn(lab, lab.nodes["a"])
    lab.move_vips("b")
    lab.wait_master("b")


def log_of(lab: Lab) -> str:
    return lab.nodes["b"].openvpn.log.read_text()


def try_dead_uplink(say: Say) -> str:
    """For longer than a handshake may take here. The client still hears who asks it."""
    with make_lab(say) as lab:
        lab.start_cluster()
        session = Session(lab)
        session.linger(HAND_WINDOW + 1.0)
        uplink = PacketFilter(lab.topology.namespace("client"))
        uplink.cut_uplink()
        killed = session.mark()
        kill_master(lab)
        session.linger(DEAD_SECONDS)
        uplink.lift()
        assert session.recovers(session.mark(), PATIENCE), "the client does not come back"
        wait_until(lambda: session.noticed(killed).renegotiations, "a new key", 2 * PATIENCE)
        session.linger(HAND_WINDOW + 1.0)
        assert session.noticed(killed).nothing, f"the client noticed: {session.noticed(killed)}"
        assert TOLD not in log_of(lab), "the client was told to reconnect"
        return f"silent for {DEAD_SECONDS:g} s, 0 restarts"


def try_busy_master(say: Say) -> str:
    """A new master that has little processor time rekeys all clients, and loses none."""
    with make_lab(say) as lab:
        lab.start_cluster()
        clients = lab.start_clients(CLIENTS)
        lab.wait_in_sync("b", PATIENCE + CLIENTS)
        say("waiting until their keys may be renegotiated")
        wait_until(lambda: _age(clients) > HAND_WINDOW, "keys of some age", PATIENCE)
        with Quota(f"ovpnha-{lab.run_id}", PERCENT, [lab.nodes["b"].openvpn.pid]):
            killed = time.time_ns()
            kill_master(lab)
            wait_until(lambda: _rekeyed(lab) >= CLIENTS, "new keys for all", REKEYED_WITHIN)
            seconds = (time.time_ns() - killed) / 1e9
        lost = sum(not noticed(client.log(), killed).nothing for client in clients)
        ended = sum(not client.process.running for client in clients)
        assert not lost, f"{lost} of {CLIENTS} clients lost"
        assert not ended, f"{ended} of {CLIENTS} clients ended"
        return f"{CLIENTS} clients, {PERCENT:g} % of a processor: rekeyed in {seconds:.0f} s"


def try_slow_daemons(say: Say) -> str:
    """A master's daemons have little processor time, in turn, while all clients are renegotiated.

    keepalived runs in real time, which no quota concerns.
    """
    with make_lab(say, by_hand=False) as lab:
        lab.start_cluster()
        clients = lab.start_clients(FEW_CLIENTS)
        lab.wait_in_sync("b", PATIENCE + FEW_CLIENTS)
        master, begun = lab.nodes["a"], time.time_ns()
        for name, process in (("openvpn", master.openvpn), ("sidecar", master.sidecar.process)):
            say(f"{name} has {PERCENT:g} % of a processor")
            wait_until(lambda: _age(clients) > HAND_WINDOW, "keys of some age", PATIENCE)
            since = time.time_ns()
            with Quota(f"ovpnha-{lab.run_id}", PERCENT, [process.pid]):
                master.sidecar.renegotiate()
                wait_until(lambda: _renegotiated(lab, clients, since), "new keys", REKEYED_WITHIN)  # noqa: B023
        seen = [noticed(client.log(), begun) for client in clients]
        lost = sum(not one.nothing for one in seen)
        assert not lost, f"{lost} of {FEW_CLIENTS} clients lost"
        return f"{FEW_CLIENTS} clients, each daemon at {PERCENT:g} % of a processor: grade 120"


def _renegotiated(lab: Lab, clients: list[Client], since: int) -> bool:
    """Whether all clients have new keys; a grade that falls or a VIP that moves is a fault."""
    assert lab.nodes["a"].grade() == GRADE_MASTER, f"the grade is {lab.nodes['a'].grade()}"
    assert lab.vips.holder() == "a", "the VIP has moved"
    return all(noticed(client.log(), since).renegotiations for client in clients)


def _age(clients: list[Client]) -> float:
    """Seconds since the last one got a key."""
    texts = (READY, CONTROL_CHANNEL)
    lines = [line for client in clients for line in client.log()]
    last = max(line.time for line in lines if any(text in line.text for text in texts))
    return (time.time_ns() - last) / 1e9


def _rekeyed(lab: Lab) -> int:
    figures = lab.nodes["b"].sidecar.instance()
    return int(figures["rekey"]["done"]) if figures else 0


@dataclass
class Idle:
    """A client that only sends its pings and has the keys of a dead master."""

    lab: Lab
    server: Node
    client: Client
    capture: Capture
    frames: list[Sent]
    resets: list[bytes]  # the first packets of another client

    @property
    def mac(self) -> bytes:
        """Of the server that it is connected to."""
        address = link(self.server, plan.OUT.interface)["address"]
        return bytes.fromhex(str(address).replace(":", ""))

    def stray(self) -> bytes:
        """A data packet with its peer-id, under a key that nobody has, and nothing more."""
        (head, *_) = [payload(one.frame)[1:DATA_HEAD] for one in self.frames if one.data]
        return bytes([P_DATA_V2 << 3 | UNUSED_KEY]) + head

    def sessions(self) -> int:
        """How many TLS sessions the client has begun and finished."""
        return sum(READY in line.text for line in self.client.log())

    def expect_undisturbed(self) -> None:
        """It has not restarted, was not told to, and knows of no other session."""
        assert self.client.process.running, "the client has ended"
        assert not any(RESTARTING in line.text for line in self.client.log()), "it has restarted"
        assert TOLD not in self.server.openvpn.log.read_text(), "it was told to reconnect"
        assert self.sessions() == 1, f"the client has begun {self.sessions()} sessions"


@contextmanager
def idle_client(say: Say, *, tls_crypt: bool = True, move: bool = True) -> Iterator[Idle]:
    """Such a client, all that it has sent, and what another one had begun with.

    Without ``move`` its master goes on. What IPv6 sends by itself would be data that can be read.
    """
    with make_lab(say, *NO_IPV6, tls_crypt=tls_crypt) as lab:
        set_sysctls(lab.topology.namespace("client"), {"net/ipv6/conf/default/disable_ipv6": "1"})
        configure(lab, NAME, NEVER)
        lab.start_cluster()
        with closing(Capture(lab)) as capture:
            (other,) = lab.start_clients(1)
            other.process.kill()
            packets = [payload(one.frame) for one in capture.sent()]
            resets = [packet for packet in packets if packet[0] >> 3 in HARD_RESETS]
            client = lab.start_client()
            lab.wait_in_sync("b")
            frames: list[Sent] = []

            def has_pinged() -> bool:
                frames.extend(capture.sent())
                return any(one.data for one in frames)

            wait_until(has_pinged, "a ping of the client", PATIENCE)
            if move:
                kill_master(lab)
            server = lab.nodes["b" if move else "a"]
            yield Idle(lab, server, client, capture, frames, resets)


def again_and_again(deed: Callable[[], object]) -> None:
    """For longer than a client that really lacks a key would be left alone."""
    begun = time.monotonic()
    sent = 0

    def done() -> bool:
        nonlocal sent
        if time.monotonic() >= begun + sent * EVERY:
            deed()
            sent += 1
        return sent * EVERY > STRAY_SECONDS

    wait_until(done, "all is sent", 5 * STRAY_SECONDS)


def try_four_bytes(say: Say) -> str:
    """From anywhere: they do nothing at all."""
    with (
        idle_client(say) as idle,
        inside(idle.lab.topology.namespace("client")),
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger,
    ):
        again_and_again(lambda: stranger.sendto(idle.stray(), (plan.OUT.vip, plan.PORT)))
        assert ASKED not in log_of(idle.lab), "the client was asked"
        idle.expect_undisturbed()
        return "not even asked"


def try_forged_four_bytes(say: Say) -> str:
    """In the client's name: it is asked, and answers."""
    with idle_client(say) as idle:
        packet = idle.stray()
        again_and_again(lambda: idle.capture.send_forged(idle.frames[-1], packet, idle.mac))
        assert ASKED in log_of(idle.lab), "the client was not asked"
        idle.expect_undisturbed()
        return "asked, and no more"


def try_recorded_hard_reset(say: Say, *, tls_crypt: bool = True, move: bool = True) -> str:
    """In the client's name, of another one, whose clock was behind by then."""
    with idle_client(say, tls_crypt=tls_crypt, move=move) as idle:
        reset, template = idle.resets[0], idle.frames[-1]
        wait_until(lambda: int(time.time()) > int(template.time), "another second", PATIENCE)
        log, seen = Tail(idle.server.openvpn.log), len(idle.client.log())
        log.lines()
        again_and_again(lambda: idle.capture.send_forged(template, reset, idle.mac))
        idle.expect_undisturbed()
        for name, lines in (("server", log.lines()), ("client", idle.client.log()[seen:])):
            spoken = [line for line in map(str, lines) if any(text in line for text in TROUBLE)]
            assert not spoken, f"the {name} says {len(spoken)} lines: {spoken[0]}"
        return f"{STRAY_SECONDS / EVERY:.0f} of them: no session, no line"


def try_restart_at_once(say: Say) -> str:
    """Of a moved client, which comes back with the address and the port that it had."""
    with make_lab(say, "lport 5555") as lab:
        configure(lab, NAME, NEVER)
        lab.start_cluster()
        client = lab.start_client()
        lab.wait_in_sync("b")
        kill_master(lab)
        client.process.kill()
        begun = time.time_ns()
        client.process.start()
        wait_until(lambda: _back(client) > begun, "the client is back", PATIENCE)
        seconds = (_back(client) - begun) / 1e9
        asked = sum(line.time > begun and PUSH_REQUEST in line.text for line in client.log())
        assert asked <= 2, f"it asked {asked} times for what is pushed"
        bound = BACK_SECONDS + (PUSH_AGAIN_SECONDS if asked else 0.0)
        assert seconds < bound, f"back after {seconds:.1f} s"
        return f"back after {seconds:.1f} s"


def _back(client: Client) -> int:
    """When it was connected last."""
    return max(line.time for line in client.log() if READY in line.text)


def try_address_used_again(say: Say) -> str:
    """Another client gets the port of one that has vanished: it begins anew, and does not end."""
    with make_lab(say, "lport 5555") as lab:
        lab.start_cluster()
        lab.start_client("first").process.kill()
        second = lab.launch_client("second")
        second.wait_connected(2 * PATIENCE)
        told = any("Connection reset command was pushed" in line.text for line in second.log())
        assert told, "the second client was not told to begin anew"
        return "begun anew"


FAULTS = (
    Fault("B3 an uplink that is dead for 14 s at the takeover", 2, try_dead_uplink),
    Fault("B3 a new master with 2 % of a processor", 1, try_busy_master),
    Fault("B6 the daemons of a master with 2 % of a processor", 1, try_slow_daemons),
    Fault("B6 another client at the address of one that vanished", 2, try_address_used_again),
    Fault("A1 four bytes from anywhere", 1, try_four_bytes),
    Fault("A1 four bytes in the name of a client", 1, try_forged_four_bytes),
    Fault("A2 a recorded hard reset in the name of a client", 2, try_recorded_hard_reset),
    Fault(
        "A2 a recorded hard reset, without tls-crypt",
        1,
        partial(try_recorded_hard_reset, tls_crypt=False),
    ),
    Fault(
        "A2 a recorded hard reset in the name of a client of this node",
        1,
        partial(try_recorded_hard_reset, move=False),
    ),
    Fault("A2 a client restarts, at the address and port that it had", 2, try_restart_at_once),
)
