"""What the nodes that are heard say of one instance, read out once until one says something else.

Decides nothing. Rules: docs/roles.md, "Epochs".
"""

from __future__ import annotations

from collections.abc import Mapping

from ovpnha.model import SOURCES, Grade, HolderId, InstanceState, NodeName, Role

NO_HOLDER = HolderId(bytes(16))


class Picture:
    """What the nodes that are heard say, until one of them says something else."""

    def __init__(self, states: Mapping[NodeName, InstanceState], sibling: NodeName) -> None:
        told = sorted(states.items())
        standbys = [(name, state) for name, state in told if state.role is Role.STANDBY]
        self.states = states
        self.bearers = frozenset(name for name, state in told if state.vip)
        self.rivals = [name for name, state in told if state.serves]
        self.serving = [
            name for name, state in told if state.vip and state.shown_role is Role.MASTER
        ]
        self.awaited = not self.serving and any(
            _may_take(state) for name, state in told if name != sibling
        )
        self.holders = {name: state.holder for name, state in standbys if state.holder != NO_HOLDER}
        self.served = any(state.role in SOURCES for _, state in told)
        self.syncs = frozenset(state.sync for _, state in standbys)
        self.apart = any(name != sibling for name in states)  # another machine is heard
        self.syncs_apart = frozenset(state.sync for name, state in standbys if name != sibling)


def _may_take(state: InstanceState) -> bool:
    """Whether this node does not serve, and is worth the VIP: a standby in sync, as a rule."""
    if state.stock is not None:
        return state.stock.role is Role.STANDBY and state.grade >= Grade.LONE
    return state.role is Role.STANDBY and state.grade >= Grade.IN_SYNC
