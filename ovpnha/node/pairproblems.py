"""What is wrong with there being two OpenVPN processes of an instance on this machine, or only one.

Decides only what a person is told, and what is to be done. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.machines import Process
from ovpnha.node.arbiter import Place, Sides
from ovpnha.problems import Problem, ProblemKind

RUNS = 'stop it: systemctl disable --now openvpn-cluster-spare@NAME; or write spare = "always"'
SERVES = (
    'write spare = "restart", restart ovpnha, then ovpnha restart-openvpn: the main one serves; to'
    " stop the second one now costs its clients a reconnect"
)


def find_pair_problems(sides: Sides, serving: Process, *, wanted: bool) -> Iterator[Problem]:
    """Of both processes; ``wanted``: the configuration wants a spare."""
    spare = sides[Process.SPARE]
    if not wanted and not (spare.place is Place.ABSENT and spare.ended):
        serves = serving is Process.SPARE
        does, fix = ("may serve", SERVES) if serves else ("runs", RUNS)
        what = f"a second OpenVPN process {does} on this machine, and spare is never"
        yield Problem(ProblemKind.SPARE_UNWANTED, what, fix)
