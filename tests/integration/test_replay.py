"""What a client sent to the old master, sent again to the new one.

Ruled by docs/threat-model.md, "Replay of a client's packets".

The new master refuses what the dead one had received up to its last report, and accepts the rest
once. The client is frozen before its master dies, so that nothing but the replay moves the window.
For the control channel the last record of the client counts.

An old master that lives tells, when the VIP has left it, what it received last: of that nothing is
accepted again, though the new one was promoted before. One whose OpenVPN is stopped in order tells
it, too.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.relay import Relay, relayed
from tests.integration.test_switchover import Command, begin
from tests.lab import plan
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.session import Session
from tests.lab.topology import inside, set_sysctls
from tests.lab.waiting import Tail, wait_until

pytestmark = pytest.mark.integration

SINCE_REPORT = 0.4
REPORT_INTERVAL = 1.0
LATE = 0.5  # a busy machine
ETH_P_ALL, ETH_P_IP = 3, 0x0800
P_DATA_V2 = 9
DATA_HEAD, CONTROL_HEAD = 4, 9  # opcode and peer id; opcode and session id
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
CAPTURE_ROOM = 1 << 26
BATCH = 50
BEFORE = 1000  # all would take long: the client lies still, and its keepalive runs
CONTROL_REFUSED = "tls-crypt unwrap error: packet replay"
PROMOTED = "CLUSTER: role is master now"
REFUSED = re.compile(r"bad packet ID \(may be a replay\): \[ #(\d+) ")
# Its own packets would be counted as accepted, or be dropped behind the decryption.
NO_IPV6 = ('pull-filter ignore "ifconfig-ipv6"', 'pull-filter ignore "route-ipv6"')


@dataclass(frozen=True)
class Sent:
    """A datagram of the client."""

    frame: bytes
    time: float
    data: bool  # or of the control channel
    packet_id: int


class Capture:
    """All that a client sends to the servers, and the means to send it again."""

    def __init__(self, lab: Lab) -> None:
        with inside(lab.topology.namespace("client")):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_ROOM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._socket.bind((plan.OUT.interface, ETH_P_ALL))

    def sent(self) -> list[Sent]:
        """What was sent since the last call."""
        found: list[Sent] = []
        while True:
            try:
                frame, extra, _, address = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                return found
            outgoing = address[1] == ETH_P_IP and address[2] == socket.PACKET_OUTGOING
            if outgoing and frame[23] == socket.IPPROTO_UDP:
                seconds, nanoseconds = struct.unpack("qq", extra[0][2])
                found.append(Sent(frame, seconds + nanoseconds / 1e9, *_packet_id(frame)))

    def send_again(self, datagrams: Iterable[Sent], mac: bytes) -> None:
        """Send these to that host, from the client's address and port."""
        for one in datagrams:
            at = _udp(one.frame) + 6  # the checksum was left to the card: do without
            self._socket.send(mac + one.frame[6:at] + bytes(2) + one.frame[at + 2 :])

    def send_forged(self, template: Sent, packet: bytes, mac: bytes) -> None:
        """Send this to that host in a datagram that seems to be the client's own."""
        at = _udp(template.frame)
        head = bytearray(template.frame[6 : at + 8])
        head[10:12] = (at - 14 + 8 + len(packet)).to_bytes(2)  # of the IP packet
        head[18:20] = bytes(2)
        head[18:20] = _ip_checksum(head[8:])
        head[-4:] = (8 + len(packet)).to_bytes(2) + bytes(2)
        self._socket.send(mac + head + packet)

    def close(self) -> None:
        self._socket.close()


def _ip_checksum(packet: bytearray) -> bytes:
    total = sum(int.from_bytes(packet[at : at + 2]) for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    return (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2)


def _udp(frame: bytes) -> int:
    return 14 + (frame[14] & 0x0F) * 4


def payload(frame: bytes) -> bytes:
    """What OpenVPN sent."""
    return frame[_udp(frame) + 8 :]


def _packet_id(frame: bytes) -> tuple[bool, int]:
    packet = payload(frame)
    data = packet[0] >> 3 == P_DATA_V2
    at = DATA_HEAD if data else CONTROL_HEAD
    return data, int.from_bytes(packet[at : at + 4])


def link(node: Node, interface: str) -> dict[str, object]:
    command = ["ip", "-n", node.namespace, "-s", "-j", "link", "show", "dev", interface]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout)[0])


def mac_of(node: Node) -> bytes:
    return bytes.fromhex(str(link(node, plan.OUT.interface)["address"]).replace(":", ""))


def accepted(node: Node) -> int:
    """How many packets of clients were decrypted and written to the tunnel device."""
    statistics = link(node, "tun0")["stats64"]
    assert isinstance(statistics, dict)
    return int(statistics["rx"]["packets"])


class NewMaster:
    """Gets a client's packets again, and is asked what it did with them."""

    def __init__(self, node: Node, capture: Capture) -> None:
        self._node = node
        self._capture = capture
        self._mac = mac_of(node)
        self._tail = Tail(node.openvpn.log)
        self._refused: list[int] = []
        self._refused_control = 0
        self._before = accepted(node)

    def replay(self, datagrams: list[Sent]) -> tuple[list[int], int]:
        """Few at a time, so that none is lost on the way.

        Returns: The packet ids that were refused so far, and how many packets were accepted.
        """
        for at in range(0, len(datagrams), BATCH):
            batch = datagrams[at : at + BATCH]
            goal = self._seen() + len(batch)
            self._capture.send_again(batch, self._mac)
            wait_until(
                lambda goal=goal: self._seen() >= goal,  # type: ignore[misc]
                "every packet is refused or accepted",
                PATIENCE,
            )
        return self._refused, accepted(self._node) - self._before

    def expect_control_refused(self, datagrams: list[Sent], refused: int) -> None:
        """Replay packets of the control channel; so many must have been refused by then."""
        self._capture.send_again(datagrams, self._mac)

        def all_refused() -> bool:
            self._read()
            return self._refused_control == refused

        wait_until(all_refused, "the control channel is refused too", PATIENCE)

    def _seen(self) -> int:
        self._read()
        return len(self._refused) + accepted(self._node)

    def _read(self) -> None:
        for line in self._tail.lines():
            if found := REFUSED.search(line):
                self._refused.append(int(found[1]))
            self._refused_control += line.endswith(CONTROL_REFUSED)


def last_report(master: Relay, standby: Relay) -> int:
    """The highest packet id that the master ever reported, which the standby must have got."""
    told = [packet_id for _, packet_id in master.reports(b">CLUSTER:HW,")]
    exported = [key.received for key in master.data_keys()]
    last = max(told + exported)

    def has_it() -> bool:
        taken = [packet_id for _, packet_id in standby.reports(b"HW,")]
        imported = [key.received for key in standby.data_keys()]
        return max([*taken, *imported], default=0) == last

    wait_until(has_it, "the standby has the last report", PATIENCE)
    return last


def wait_report(master: Relay) -> None:
    """Wait until the master reports anew what it has received."""
    before = master.lines(b">CLUSTER:HW,")
    wait_until(lambda: master.lines(b">CLUSTER:HW,") > before, "a report", PATIENCE)


def newest_told(master: Relay) -> int:
    """The highest packet id that it has told of."""
    return max(number for _, number in master.reports(b">CLUSTER:HW,"))


def wait_told(standby: Relay, last: int) -> None:
    """Wait until a node has been told that this was the highest."""
    wait_until(
        lambda: any(last == number for _, number in standby.reports(b"HW,")),
        "the last marks have arrived",
        PATIENCE,
    )


def freeze_and_kill(lab: Lab, session: Session, master: Relay) -> None:
    """The client falls silent, and its master dies some time after it last reported."""
    wait_report(master)
    session.linger(SINCE_REPORT)
    session.client.process.signal(signal.SIGSTOP)
    kill_openvpn(lab, lab.master)


def split(datagrams: list[Sent], mark: int) -> tuple[list[Sent], list[Sent]]:
    """Up to the mark, and above it."""
    return (
        [one for one in datagrams if one.packet_id <= mark],
        [one for one in datagrams if one.packet_id > mark],
    )


def ids(datagrams: Iterable[Sent]) -> list[int]:
    return [one.packet_id for one in datagrams]


def test_only_what_came_after_the_last_report_is_accepted_and_once(make_lab: MakeLab) -> None:
    lab = make_lab(vip_manager=None, client_options=NO_IPV6)
    set_sysctls(lab.topology.namespace("client"), {"net/ipv6/conf/default/disable_ipv6": "1"})
    with closing(Capture(lab)) as capture:
        check(lab, capture)


def check(lab: Lab, capture: Capture) -> None:
    with relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        freeze_and_kill(lab, session, relays["a"])
        killed = session.mark()
        lab.move_vips("b")
        lab.wait_master("b")
        mark = last_report(relays["a"], relays["b"])
        control_mark = max(relays["b"].control_marks())
    captured = capture.sent()
    sent = [one for one in captured if one.data and one.packet_id > mark - BEFORE]
    control = [one for one in captured if not one.data]
    old, fresh = split(sent, mark)
    known, _ = split(control, control_mark)
    assert old
    assert fresh
    assert known
    assert sent[-1].time - fresh[0].time < REPORT_INTERVAL + LATE
    new = NewMaster(lab.nodes["b"], capture)
    assert new.replay(old) == (ids(old), 0)
    assert new.replay(sent) == (ids([*old, *old]), len(fresh))
    assert new.replay(sent) == (ids([*old, *old, *sent]), len(fresh))
    new.expect_control_refused(control, len(known))
    new.expect_control_refused(control, len(known) + len(control))
    session.client.process.signal(signal.SIGCONT)
    assert session.recovers(session.mark(), PATIENCE)
    assert session.noticed(killed).nothing


def test_what_the_old_master_received_before_a_switchover_is_refused(make_lab: MakeLab) -> None:
    """The new one is promoted a while before the VIP comes, which is when the client is frozen."""
    lab = make_lab(client_options=NO_IPV6)
    set_sysctls(lab.topology.namespace("client"), {"net/ipv6/conf/default/disable_ipv6": "1"})
    with closing(Capture(lab)) as capture:
        check_switchover(lab, capture)


def check_switchover(lab: Lab, capture: Capture) -> None:
    a, b = lab.nodes["a"], lab.nodes["b"]
    with relayed(lab) as relays:
        session = begin(lab)
        log = Tail(b.openvpn.log)
        wait_report(relays["a"])
        moment = session.mark()
        command = Command(lab, "a", ["--to", "b"])
        ahead = "the target is promoted"
        wait_until(lambda: any(PROMOTED in line for line in log.lines()), ahead, PATIENCE)
        session.linger(SINCE_REPORT / 10)
        session.client.process.signal(signal.SIGSTOP)
        assert "b is master, a is standby" in command.wait()
        last = newest_told(relays["a"])
        wait_told(relays["b"], last)
        # Where its own socket says: by now the old master may have told everything.
        reports = relays["b"].reports_before(b"cluster-promote", b"HW,")
        told_before = max((number for _, number in reports), default=0)
        to_a = mac_of(a)  # for each of thousands it would take as long as a client is waited for
        sent = [one for one in capture.sent() if one.data and one.frame.startswith(to_a)]
        old = [one for one in sent if last - BEFORE < one.packet_id <= last]
        unknown = [one for one in old if one.packet_id > told_before]
        assert unknown  # received when the target was master already, and told when it was held
        new = NewMaster(b, capture)
        assert new.replay(old) == (ids(old), 0)
        session.client.process.signal(signal.SIGCONT)
        assert session.recovers(session.mark(), PATIENCE)
        assert session.noticed(moment).nothing


def test_an_openvpn_that_is_stopped_tells_what_it_received_last(make_lab: MakeLab) -> None:
    """It ends without the VIP having moved, some time after its last report."""
    lab = make_lab(vip_manager=None, client_options=NO_IPV6)
    set_sysctls(lab.topology.namespace("client"), {"net/ipv6/conf/default/disable_ipv6": "1"})
    with closing(Capture(lab)) as capture, relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        wait_report(relays["a"])
        session.linger(SINCE_REPORT)
        session.client.process.signal(signal.SIGSTOP)
        told, counts = newest_told(relays["a"]), relays["b"].lines(b"BYTES,")
        killed = session.mark()
        lab.nodes["a"].openvpn.stop()
        wait_until(lambda: newest_told(relays["a"]) > told, "the last marks", PATIENCE)
        last = newest_told(relays["a"])
        wait_told(relays["b"], last)
        sent = [one for one in capture.sent() if one.data]
        old = [one for one in sent if last - BEFORE < one.packet_id <= last]
        assert old
        wait_until(lambda: relays["b"].lines(b"BYTES,") > counts, "byte counts, too", PATIENCE)
        lab.move_vips("b")
        lab.wait_master("b")
        assert NewMaster(lab.nodes["b"], capture).replay(old) == (ids(old), 0)
        session.client.process.signal(signal.SIGCONT)
        assert session.recovers(session.mark(), PATIENCE)
        assert session.noticed(killed).nothing
