"""What keeps an instance from serving on its VIP, whatever its OpenVPN can do.

Decides what that costs the grade, and says in one line what it is and how to fix it. A VIP that is
not OpenVPN's ``local`` can never be served: fault. An interface that is missing may still come: the
grade falls, and a node that has nobody else may be given the VIP all the same. Of several VIPs one
that is here is served whatever the others do: that one is elsewhere is only told (docs/adr/0065).
Rules: docs/roles.md, "Grades".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.management.replies import StatusReply
from ovpnha.model import Grade, OpenvpnStatus, VipPlace
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part
from ovpnha.problems import Problem, ProblemKind

PARTED_AFTER = 2.0
"""Seconds for which of several VIPs some may be here and some not: they come one by one, and an
IPv6 address is tried first."""
PARTED_FIX = "the VIP manager must move them together; ip address show says where each is"
INTERFACE_FIX = "correct vip_interface in ovpnha.toml, or take it out"


@dataclass(frozen=True)
class VipProblem:
    """Something that an administrator has to fix, and what it costs until then."""

    grade: Grade
    problem: Problem


class VipProblems(Part):
    """What keeps one instance from serving on its VIP."""

    def __init__(self, openvpn: Openvpn, vips: tuple[str, ...]) -> None:
        self._openvpn = openvpn
        self._vips = vips
        self._missing: tuple[str, ...] = ()
        self._parted_at = 0.0  # when the first of them was missing
        self._parted = False  # and it is for so long now that it is told
        self._local: VipProblem | None = None
        self._place: VipProblem | None = None
        self._strayed = ""  # the other interface on which the VIP was last

    @property
    def first(self) -> VipProblem | None:
        """The one that counts, if there is one."""
        return self._local or self._place

    def take(self, event: object, now: float) -> None:
        """OpenVPN says which address it serves, or the VIP was looked for."""
        match event:
            case StatusReply(status=status):
                self._take_local(status)
            case VipPlace():
                self._take_missing(event.missing, now)
                self._take_place(event)

    def get_timer(self) -> float | None:
        """When a VIP is missing for so long that it is told."""
        waits = self._missing and not self._parted
        return self._parted_at + PARTED_AFTER if waits else None

    def handle_timer(self, now: float) -> None:
        """It did not come."""
        if self._missing and not self._parted and now >= self._parted_at + PARTED_AFTER:
            self._parted = True
            self._openvpn.log("error", "vips are not together", missing=list(self._missing))

    def problems(self, _now: float) -> Iterator[Problem]:
        """The one that counts, and what is only told."""
        if self.first is not None:
            yield self.first.problem
        if self._parted:
            what = f"{', '.join(self._missing)} is not here, and another VIP is"
            yield Problem(ProblemKind.VIPS_PARTED, what, PARTED_FIX)

    def _take_missing(self, missing: tuple[str, ...], now: float) -> None:
        if missing and not self._missing:
            self._parted_at = now
        if not missing and self._parted:
            self._openvpn.log("info", "vips are together again")
        self._missing, self._parted = missing, self._parted and bool(missing)

    def _take_local(self, status: OpenvpnStatus) -> None:
        before, self._local = self._local, self._judge_local(status)
        if self._local is not None and self._local != before:
            fields = {"vip": " ".join(self._vips), "local": " ".join(status.vips)}
            self._openvpn.log("error", "vip is not openvpn's local", **fields)

    def _judge_local(self, status: OpenvpnStatus) -> VipProblem | None:
        """A name says nothing: OpenVPN alone knows what it stands for."""
        served = {normal_address(one) for one in status.vips}
        if None in served and not self._vips:
            return _refuse(
                ProblemKind.LOCAL_IS_A_NAME,
                f"OpenVPN's local {status.local} is a name",
                "write vip = ADDRESS into ovpnha.toml, or the address behind local",
            )
        if None in served or not self._vips or served == set(map(normal_address, self._vips)):
            return None
        option = "cluster-address" if status.addresses else "local"
        return _refuse(
            ProblemKind.VIP_NOT_LOCAL,
            f"vip {', '.join(self._vips)} is not OpenVPN's {option} {', '.join(status.vips)}",
            f"write the same address as vip in ovpnha.toml and as {option} in OpenVPN's file",
        )

    def _take_place(self, place: VipPlace) -> None:
        """Where the VIP counts on this host, and where it is instead."""
        if place.found or place.here:
            self._strayed = place.found
        before, self._place = self._place, self._judge_place(place)
        if self._place == before:
            return
        fields = {"interface": place.interface, "vip": " ".join(self._vips)}
        if place.found:
            self._openvpn.log("error", "vip is on another interface", found=place.found, **fields)
        elif place.interface and not place.exists:
            self._openvpn.log("error", "vip interface missing", **fields)
        elif self._place is None:
            self._openvpn.log("info", "vip interface found", **fields)

    def _judge_place(self, place: VipPlace) -> VipProblem | None:
        if place.found:
            what = f"the VIP is on {place.found}{_counts_on(place)}"
            return _refuse(ProblemKind.VIP_ELSEWHERE, what, INTERFACE_FIX)
        if place.interface and not place.exists:
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
