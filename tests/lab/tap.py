"""Servers and clients with ``dev tap``: routed, or bridged into the LAN of the nodes.

Bridged, a node's interface in the LAN becomes a port of a bridge of the same name, as people have
it, and so does the server's tap, which is made before OpenVPN starts:

    client's tap ══ tun0 ── lan0 (bridge) ── lanport ── the LAN

Interfaces keep the names that they have in other labs, ``tun0`` among them: their type is what is
different.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any

from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.topology import inside

TAP = ("dev-type tap",)
BRIDGED = (
    f"server-bridge {plan.LAN.vip} {plan.LAN.network.netmask}"
    f" {plan.LAN.address(150)} {plan.LAN.address(199)}",
)
"""``network`` of a lab whose clients are in the LAN."""

_PORT = "lanport"
_ARP = 0x0806
_RARP = 0x8035
_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_AUXDATA = struct.Struct("IIIHHHH")


def tap_setup(**changes: Any) -> dict[str, Any]:
    """What makes a lab one with taps, and these changes."""
    server, client = (changes.pop(f"{end}_options", ()) for end in ("server", "client"))
    return {"server_options": (*TAP, *server), "client_options": (*TAP, *client), **changes}


def run_ip(lab: Lab, host: str, *commands: str) -> None:
    """Run commands of ``ip`` on a host of a lab, one a line."""
    subprocess.run(
        ["ip", "-netns", lab.topology.namespace(host), "-batch", "-"],
        input="\n".join(commands) + "\n",
        text=True,
        check=True,
    )


def bridge_nodes(lab: Lab, tap: str = "tun0") -> None:
    """Put LAN and tap of every node into a bridge, before anything runs on them."""
    for name in lab.nodes:
        number = plan.node_number(name)
        segment = plan.LAN
        run_ip(
            lab,
            name,
            f"link set {segment.interface} down",
            f"link set {segment.interface} name {_PORT}",
            f"addr flush dev {_PORT}",
            f"link add {segment.interface} type bridge stp_state 0 forward_delay 0",
            f"link set {segment.interface} type bridge mcast_snooping 0",
            f"tuntap add dev {tap} mode tap",
            f"link set {_PORT} master {segment.interface} up",
            f"link set {tap} master {segment.interface} up",
            f"link set {segment.interface} up",
            f"addr add {segment.address(number)}/{segment.network.prefixlen}"
            f" dev {segment.interface}",
            f"addr add {segment.address6(number)}/{segment.network6.prefixlen}"
            f" dev {segment.interface}",
        )


def add_host_behind(lab: Lab, name: str, device: str, mac: str, address: str) -> None:
    """Make a host with a MAC address of its own in the network of a client's tap."""
    namespace = lab.topology.namespace(name)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    connect_host_behind(lab, name, device, mac, address)


def connect_host_behind(lab: Lab, name: str, device: str, mac: str, address: str) -> None:
    """Connect such a host to a client's tap, or to another one than before."""
    namespace = lab.topology.namespace(name)
    subprocess.run(
        ["ip", "-netns", namespace, "link", "delete", "eth0"], check=False, capture_output=True
    )
    run_ip(
        lab,
        "client",
        f"link add link {device} name behind address {mac} type macvlan mode bridge",
        f"link set behind netns {namespace}",
    )
    run_ip(
        lab,
        name,
        "link set behind name eth0",
        f"addr add {address} dev eth0",
        "link set eth0 up",
    )


def make_branch(lab: Lab, name: str, address: str) -> None:
    """Make a LAN of one host on the client's side; the client's tap is to join its bridge.

    The bridge is ``office0``, on the client.
    """
    namespace = lab.topology.namespace(name)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    run_ip(
        lab,
        "client",
        "link add office0 type bridge stp_state 0 forward_delay 0",
        f"link add branch0 type veth peer name eth0 netns {namespace}",
        "link set branch0 master office0 up",
        "link set office0 up",
    )
    run_ip(lab, name, f"addr add {address} dev eth0", "link set eth0 up")


def open_tap(lab: Lab, host: str, interface: str) -> socket.socket:
    """A socket for whole frames on an interface of a host."""
    with inside(lab.topology.namespace(host)):
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    packet.bind((interface, _ALL))
    return packet


def speak_up(lab: Lab, host: str, interface: str, *macs: bytes) -> None:
    """Send a frame from each of these MAC addresses to everybody, which nobody answers."""
    with open_tap(lab, host, interface) as packet:
        for mac in macs:
            packet.send(b"\xff" * 6 + mac + struct.pack("!H", 0x88B5) + bytes(46))


def mac_of(lab: Lab, host: str, interface: str) -> bytes:
    """The MAC address of an interface."""
    with open_tap(lab, host, interface) as packet:
        mac: bytes = packet.getsockname()[4]
    return mac


@dataclass(frozen=True)
class Frame:
    """A frame as it was received: its VLAN (0: none), and the rest of it."""

    vid: int
    data: bytes

    @property
    def source(self) -> bytes:
        """The MAC address that it comes from."""
        return self.data[6:12]

    @property
    def ethertype(self) -> int:
        """What is in it."""
        return int.from_bytes(self.data[12:14], "big")


def receive(packet: socket.socket) -> Frame | None:
    """The next frame, None if there is none."""
    try:
        data, notes, _flags, _address = packet.recvmsg(2048, 256)
    except BlockingIOError:
        return None
    tags = [_AUXDATA.unpack(note)[5] & 0xFFF for _level, _kind, note in notes]
    return Frame(tags[0] if tags else 0, data)


class FrameWatch:
    """What passes by on the LAN, as seen by its host. A context manager."""

    def __init__(self, lab: Lab) -> None:
        self._packet = open_tap(lab, "lan", plan.LAN.interface)
        self._packet.setblocking(False)
        self._packet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._packet.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._rarps: Counter[tuple[int, bytes]] = Counter()
        self._arps: Counter[tuple[int, bytes]] = Counter()

    def __enter__(self) -> FrameWatch:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._packet.close()

    def rarps(self) -> Counter[tuple[int, bytes]]:
        """How many RARP frames so far of each VLAN and MAC address."""
        self._read()
        return self._rarps

    def answers(self, vid: int, mac: bytes) -> int:
        """How many ARP messages so far in a VLAN from a MAC address."""
        self._read()
        return self._arps[vid, mac]

    def ask(self, vid: int, mac: bytes, address: str) -> None:
        """Ask a host by ARP where it is, in a VLAN and with a frame to it alone."""
        own = self._packet.getsockname()[4]
        sender = IPv4Address(int(IPv4Address(address)) + 1).packed
        message = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + sender
        head = mac + own + struct.pack("!HHH", 0x8100, vid, _ARP)
        self._packet.send(head + message + mac + IPv4Address(address).packed + bytes(14))

    def _read(self) -> None:
        while frame := receive(self._packet):
            if frame.ethertype == _RARP:
                self._rarps[frame.vid, frame.source] += 1
            elif frame.ethertype == _ARP:
                self._arps[frame.vid, frame.source] += 1
