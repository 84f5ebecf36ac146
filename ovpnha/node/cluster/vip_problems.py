"""What keeps an instance from serving on its VIP, whatever its OpenVPN can do.

Decides what that costs the grade, and says in one line what it is and how to fix it. A VIP that is
not OpenVPN's ``local`` can never be served: fault. An interface that is missing may still come: the
grade falls, and a node that has nobody else may be given the VIP all the same. Rules:
docs/roles.md, "Grades".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.management.replies import StatusReply
from ovpnha.model import Grade, VipPlace
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part
from ovpnha.problems import Problem, ProblemKind

INTERFACE_FIX = "correct vip_interface in ovpnha.toml, or take it out"


@dataclass(frozen=True)
class VipProblem:
    """Something that an administrator has to fix, and what it costs until then."""

    grade: Grade
    problem: Problem


class VipProblems(Part):
    """What keeps one instance from serving on its VIP."""

    def __init__(self, openvpn: Openvpn, vip: str) -> None:
        self._openvpn = openvpn
        self._vip = vip
        self._local: VipProblem | None = None
        self._place: VipProblem | None = None
        self._strayed = ""  # the other interface on which the VIP was last

    @property
    def first(self) -> VipProblem | None:
        """The one that counts, if there is one."""
        return self._local or self._place

    def take(self, event: object, _now: float) -> None:
        """OpenVPN says which address it serves, or the VIP was looked for."""
        match event:
            case StatusReply(status=status):
                self._take_local(status.local)
            case VipPlace():
                self._take_place(event)

    def problems(self, _now: float) -> Iterator[Problem]:
        """The one that counts."""
        if self.first is not None:
            yield self.first.problem

    def _take_local(self, local: str) -> None:
        before, self._local = self._local, self._judge_local(local)
        if self._local is not None and self._local != before:
            self._openvpn.log("error", "vip is not openvpn's local", vip=self._vip, local=local)

    def _judge_local(self, local: str) -> VipProblem | None:
        """A name says nothing: OpenVPN alone knows what it stands for."""
        address = normal_address(local)
        if address is None and not self._vip:
            return _refuse(
                ProblemKind.LOCAL_IS_A_NAME,
                f"OpenVPN's local {local} is a name",
                "write vip = ADDRESS into ovpnha.toml, or the address behind local",
            )
        if address is None or not self._vip or address == normal_address(self._vip):
            return None
        return _refuse(
            ProblemKind.VIP_NOT_LOCAL,
            f"vip {self._vip} is not OpenVPN's local {local}",
            "write the same address as vip in ovpnha.toml and as local in OpenVPN's configuration",
        )

    def _take_place(self, place: VipPlace) -> None:
        """Where the VIP counts on this host, and where it is instead."""
        if place.found or place.here:
            self._strayed = place.found
        before, self._place = self._place, self._judge_place(place)
        if self._place == before:
            return
        fields = {"interface": place.interface, "vip": self._vip}
        if place.found:
            self._openvpn.log("error", "vip is on another interface", found=place.found, **fields)
        elif not place.exists:
            self._openvpn.log("error", "vip interface missing", **fields)
        elif self._place is None:
            self._openvpn.log("info", "vip interface found", **fields)

    def _judge_place(self, place: VipPlace) -> VipProblem | None:
        if place.found:
            what = f"the VIP is on {place.found}{_counts_on(place)}"
            return _refuse(ProblemKind.VIP_ELSEWHERE, what, INTERFACE_FIX)
        if not place.exists:
            what = f"the VIP's interface {place.interface} is missing"
            fix = "bring it up, or correct vip_interface in ovpnha.toml"
            missing = Problem(ProblemKind.VIP_INTERFACE_MISSING, what, fix)
            return VipProblem(Grade.DEGRADED, missing)
        if self._strayed:
            what = f"the VIP came on {self._strayed}{_counts_on(place)}"
            strayed = Problem(ProblemKind.VIP_STRAYED, what, INTERFACE_FIX)
            return VipProblem(Grade.DEGRADED, strayed)
        return None


def _refuse(kind: ProblemKind, what: str, fix: str) -> VipProblem:
    """A VIP that this node could not serve on must not come."""
    return VipProblem(Grade.FAULT, Problem(kind, what, fix))


def _counts_on(place: VipPlace) -> str:
    return f", and counts on {place.interface} only"


def normal_address(text: str) -> str | None:
    """An address in its canonical form; ``None`` when it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
