"""The networks of the hosts: bridges in a namespace of their own, a namespace for each host.

A host takes its interfaces into itself when it boots, and they are gone when it is off; ``plug``
gives it new ones. The addresses are those of the example files in ``deploy``.
"""

from __future__ import annotations

import subprocess

from tests.lab import plan

FABRIC = "fabric"
OUTSIDE, INSIDE, BCN = "out", "in", "bcn"
INTERFACES = {OUTSIDE: "eth0", INSIDE: "eth1", BCN: "bcn0"}
NETWORKS = {OUTSIDE: "192.0.2", INSIDE: "198.51.100", BCN: "10.99.0"}
SERVERS = {"a": 11, "b": 12}
OTHERS = {"client": OUTSIDE, "lan": INSIDE}
VIP = f"{NETWORKS[OUTSIDE]}.10"
INSIDE_VIP = f"{NETWORKS[INSIDE]}.10"
LAN_HOST = f"{NETWORKS[INSIDE]}.100"
TUNNEL = "10.8.0.0"


def ip(namespace: str, *arguments: str, check: bool = True) -> None:
    """`ip` inside a namespace."""
    command = ["ip", "-netns", namespace, *arguments]
    subprocess.run(command, check=check, capture_output=not check)


class Network:
    """Made once; taken away with the run (``tests.lab.cleanup``)."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        for name in (FABRIC, *SERVERS, *OTHERS):
            subprocess.run(["ip", "netns", "add", self.namespace(name)], check=True)
        for segment in NETWORKS:
            ip(self.namespace(FABRIC), "link", "add", segment, "type", "bridge")
            ip(self.namespace(FABRIC), "link", "set", segment, "up")
        for name, segment in OTHERS.items():
            self._add_link(name, segment)
            self._configure(name, segment)
        route = (f"{TUNNEL}/24", "via", INSIDE_VIP)
        ip(self.namespace("lan"), "route", "add", *route)

    def namespace(self, host: str) -> str:
        """The namespace of a host, or of the fabric."""
        return plan.namespace(self._run_id, host)

    def plug(self, server: str) -> None:
        """Give a server that is off its three interfaces."""
        self.unplug(server)
        for segment in NETWORKS:
            self._add_link(server, segment)

    def unplug(self, server: str) -> None:
        """Pull its cables; not one frame of it comes through any more."""
        for segment in NETWORKS:
            ip(self.namespace(FABRIC), "link", "delete", _port(server, segment), check=False)

    def _add_link(self, host: str, segment: str) -> None:
        fabric, port = self.namespace(FABRIC), _port(host, segment)
        peer = ("peer", "name", INTERFACES[segment], "netns", self.namespace(host))
        ip(fabric, "link", "add", port, "type", "veth", *peer)
        ip(fabric, "link", "set", port, "master", segment, "up")

    def _configure(self, host: str, segment: str) -> None:
        namespace, interface = self.namespace(host), INTERFACES[segment]
        ip(namespace, "address", "add", f"{NETWORKS[segment]}.100/24", "dev", interface)
        ip(namespace, "link", "set", "lo", "up")
        ip(namespace, "link", "set", interface, "up")


def _port(host: str, segment: str) -> str:
    """The fabric's end of a cable."""
    return f"{host}-{segment}"
