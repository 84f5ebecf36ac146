"""Keeps single kinds of OpenVPN packets from a node: to stop a handshake at a chosen point.

Rules live in the node's namespace and end with it.
"""

from __future__ import annotations

import subprocess

from tests.lab import plan

CONTROL, ACK = 4, 5
"""Opcodes of OpenVPN: P_CONTROL_V1 and P_ACK_V1."""


class PacketFilter:
    """What does not come in at one node, or does not leave it."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def refuse(self, *opcodes: int) -> None:
        """Let no packet of these opcodes reach the node, and count them."""
        kinds = ", ".join(map(str, opcodes))
        self._add("input", f"udp dport {plan.PORT} @th,64,5 {{ {kinds} }} counter drop")

    def withhold(self, *opcodes: int) -> None:
        """Let no packet of these opcodes leave the node, and count them."""
        kinds = ", ".join(map(str, opcodes))
        self._add("output", f"udp sport {plan.PORT} @th,64,5 {{ {kinds} }} counter drop")

    def refused(self) -> bool:
        """Whether there was such a packet."""
        return "packets 0 " not in self._nft("list table inet instant")

    def cut_uplink(self) -> None:
        """In a client's namespace: let nothing leave for the nodes; what they send still comes."""
        self._add("output", f"udp dport {plan.PORT} drop")

    def withhold_acks(self) -> None:
        """Let only the first bare acknowledgement leave the node, that of a soft reset."""
        once = "limit rate over 1/hour burst 1 packets"
        self._add("output", f"udp sport {plan.PORT} @th,64,5 {ACK} {once} drop")

    def lift(self) -> None:
        """Let everything through again."""
        self._nft("delete table inet instant")

    def lift_if_any(self) -> None:
        """Likewise, whether something is kept back or not."""
        self._nft("add table inet instant; delete table inet instant")

    def _add(self, hook: str, rule: str) -> None:
        chain = f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}"
        self._nft(f"add table inet instant {{ {chain}; }}")

    def _nft(self, command: str) -> str:
        argv = ["ip", "netns", "exec", self._namespace, "nft", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
