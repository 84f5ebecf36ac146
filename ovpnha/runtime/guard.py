"""May this node be given the VIP? For VIP managers that read no grade (``ovpnha guard``).

Decides by what the sidecar knows, and changes nothing. A VIP manager such as ucarp gives a node the
address when it does not hear the other one, also when it does not hear it because of a wrong
password or a switch that drops multicast; the back channel still does. What the caller makes of the
answer is its own business: that the other node serves does not say that clients reach it.
"""

from __future__ import annotations

from dataclasses import replace

from ovpnha.model import Grade, NodeName, Role
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.runtime.answers import GuardAnswer

FREE = 0
TAKEN = 3  # 1 and 2 are what every command ends with when it cannot do its work
REFUSED = 4


def judge(instance: InstanceStatistics) -> GuardAnswer:
    """Whether it may be given the VIP here."""
    answer = GuardAnswer(instance.name, FREE, "free: no other node serves")
    own = instance.announcer.grade
    # From a worse master, one whose critical check fails for example, the VIP may be taken.
    masters = (node for node in instance.nodes if serves(node))
    keeper = next((node for node in masters if node.grade >= own), None)
    if keeper is not None:
        said = f"{keeper.name} is master and has the VIP (grade {keeper.grade})"
        return replace(answer, code=TAKEN, text=f"taken: {said}")
    if own < 0:
        return replace(answer, code=REFUSED, text=f"refused: {instance.announcer.grade_reason}")
    return answer


def judge_leaving(instance: InstanceStatistics, to: NodeName | None) -> GuardAnswer:
    """Whether another node would be better: a better grade, or ``to``, the one named, in sync."""
    least = Grade.IN_SYNC if to else instance.announcer.grade + 1
    heard = (node for node in instance.nodes if is_heard(node) and to in (None, node.name))
    better = next((node for node in heard if node.grade >= least and not node.problem), None)
    if better is None:
        return GuardAnswer(instance.name, TAKEN, "stay: no better node is heard")
    return GuardAnswer(instance.name, FREE, f"leave: {better.name} has grade {better.grade}")


def is_heard(node: NodeView) -> bool:
    """Whether what is known of this node is of now."""
    return node.believed and not node.lost


def serves(node: NodeView) -> bool:
    """Whether this node is heard, is master with the VIP, and does not ask to be relieved."""
    is_master = node.role is Role.MASTER and node.vip
    return is_heard(node) and is_master and node.grade >= Grade.LONE
