"""What the shell needs of the pure core of a node (``ovpnha.node.node.Node``).

Stated apart, so that the shell can be tried with a core that only takes notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ovpnha.model import InstanceName, ServerClient, Uid, Unreachable, VipPlace
from ovpnha.node.outputs import ClientView, Output, Roster
from ovpnha.node.statistics import NodeStatistics


class Core(Protocol):
    """Events in with ``now`` (monotonic seconds), outputs out; see docs/architecture.md."""

    def management_up(self, instance: InstanceName, now: float) -> None:
        """The management channel is connected."""

    def management_down(self, instance: InstanceName, reason: str, now: float) -> None:
        """The management channel is gone."""

    def management_unreachable(self, instance: InstanceName, why: Unreachable, now: float) -> None:
        """The management socket cannot be connected; told again only when the reason changes."""

    def receive_management(self, instance: InstanceName, data: bytes, now: float) -> None:
        """Bytes as read from the management socket."""

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        """Datagrams of the BCN that were waiting together, unopened."""

    def vip_changed(self, instance: InstanceName, present: bool, now: float) -> None:
        """The VIP arrived or left; the first call is the initial state."""

    def vip_placed(self, instance: InstanceName, place: VipPlace, now: float) -> None:
        """Where the VIP counts on this host, and where it is."""

    def grade_read(self, instance: InstanceName, read: bool, now: float) -> None:
        """A VIP manager reads the grade, or none does."""

    def link_changed(self, link: str, up: bool, now: float) -> None:
        """A BCN link can or cannot carry datagrams."""

    def ask_promote(self, instance: InstanceName, expect_vip: float, now: float) -> None:
        """Promote now; the VIP must follow within ``expect_vip`` seconds."""

    def ask_demote(self, instance: InstanceName, now: float) -> None:
        """Master: hand the VIP over. Held: drop all clients and be standby."""

    def ask_renegotiate(
        self, instance: InstanceName, uid: Uid | None, rate: float, now: float
    ) -> None:
        """Renegotiate with one client or with all, ``rate`` a second."""

    def use_keys(
        self, keys: Sequence[bytes], cookie_keys: Mapping[InstanceName, bytes], now: float
    ) -> None:
        """The cluster keys were read again: the first seals, all open; cookie keys follow."""

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""

    def handle_timer(self, now: float) -> None:
        """The time has come."""

    def next_output(self) -> Output | None:
        """What to carry out next."""

    def statistics(self, now: float) -> NodeStatistics:
        """An immutable snapshot."""

    def clients(self, instance: InstanceName) -> tuple[ServerClient, ...]:
        """Each client as OpenVPN last told, when asked for."""

    def table(self, instance: InstanceName, now: float) -> tuple[ClientView, ...]:
        """Each client that a master or held instance has, by its uid."""

    def ask_clients(self, instance: InstanceName, now: float) -> None:
        """Ask OpenVPN who is connected."""

    def roster(self, instance: InstanceName, now: float) -> Roster:
        """Who is connected, as OpenVPN told when it was last asked."""

    def stop(self, now: float) -> None:
        """The sidecar stops; OpenVPN keeps its role."""
