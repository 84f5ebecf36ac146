"""Which node is on which machine: a spare is a node of its own, on the machine of another.

An instance may have two OpenVPN processes on one machine: its *main* one, and a *spare*. What holds
clients is a process and no machine (rules R1 to R7 of docs/architecture.md know none), so the spare
processes of a machine are a node like any other, with a name that says where they are. Decides
nothing. Rules: docs/roles.md, "A spare"; docs/adr/0069-a-spare-is-a-node.md.
"""

from __future__ import annotations

import enum

from ovpnha.model import NodeName

SPARE_SUFFIX = ":spare"
"""What the node of a machine's spare processes has behind its name. No configured name has a colon;
an epoch may, in every release of the patched OpenVPN and of ovpnha."""


class Process(enum.StrEnum):
    """Which of the two OpenVPN processes of an instance on one machine."""

    MAIN = "main"
    SPARE = "spare"

    @property
    def other(self) -> Process:
        """The one beside it."""
        return Process.SPARE if self is Process.MAIN else Process.MAIN

    @property
    def unit(self) -> str:
        """The unit that runs it, up to the name of its configuration."""
        return "openvpn-cluster@" if self is Process.MAIN else "openvpn-cluster-spare@"


class SparePolicy(enum.StrEnum):
    """Whether an instance has a second process on its machine, and when."""

    NEVER = "never"
    RESTART = "restart"  # for a planned restart only
    ALWAYS = "always"


def machine_of(node: NodeName) -> NodeName:
    """The machine that a node is on."""
    return NodeName(node.removesuffix(SPARE_SUFFIX))


def sibling_of(node: NodeName) -> NodeName:
    """The node of the other processes of its machine, whether there are any or not."""
    return machine_of(node) if is_spare(node) else NodeName(node + SPARE_SUFFIX)


def is_spare(node: NodeName) -> bool:
    """Whether a node is made of spare processes."""
    return node.endswith(SPARE_SUFFIX)
