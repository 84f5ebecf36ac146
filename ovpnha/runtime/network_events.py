"""Turns the table of links and addresses into what the core wants to hear: VIPs and BCN links.

Decides what has changed since the last table. VIPs come first: a promotion waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ovpnha.config import Config, InstanceSection
from ovpnha.model import InstanceName, VipPlace
from ovpnha.node.cluster.vip_problems import normal_address
from ovpnha.node.node import Node
from ovpnha.node.outputs import OpenvpnFound
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.driver import Driver
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.socketinode import find_inode

LOOPBACK = "lo"
OPEN_AGAIN = 1.0
"""Seconds until sockets that could not be opened are tried again: no event tells when they can."""
ANY, ANY6 = "0.0.0.0", "::"  # noqa: S104 - what a socket without an address of its own is bound to


class NetworkEvents:
    """Remembers what the core was told, and tells it every difference."""

    def __init__(self, config: Config, bcn: BcnSockets, driver: Driver) -> None:
        self._instances = config.instance
        self._alone = config.cluster.alone
        self._bcn = bcn
        self._driver = driver
        self._table: NetworkTable | None = None
        self._configured = {
            one.name: tuple(map(str, one.vip)) for one in config.instance if one.vip
        }
        self._found: dict[str, tuple[str, ...]] = {}
        self._inodes: dict[str, int] = {}
        self._vips: dict[str, bool] = {}
        self._links: dict[str, bool] = {}
        self._places: dict[str, VipPlace] = {}
        self._again: asyncio.TimerHandle | None = None

    def changed(self, table: NetworkTable) -> None:
        """Compare with what was told before."""
        self._table = table
        for one in self._instances:
            self._check_vip(one, table)
        for name, up in self._bcn.refresh(table).items():
            if self._links.get(name) is not up:
                self._links[name] = up
                self._driver.step(partial(_tell_link, name, up))
        for one in self._instances:
            self._check_place(one, table)
        if self._bcn.failed and self._again is None:
            self._again = asyncio.get_running_loop().call_later(OPEN_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        if self._table is not None:
            self.changed(self._table)

    def stop(self) -> None:
        """Nothing is opened any more."""
        self._table = None
        if self._again is not None:
            self._again.cancel()

    def openvpn_found(self, found: OpenvpnFound) -> None:
        """OpenVPN says its VIP and BCN; they fill what the configuration leaves out."""
        status = found.status
        served = [normal_address(one) for one in status.vips]
        if addresses := tuple(one for one in served if one is not None):
            self._found[found.instance] = addresses
        bound = status.local or (ANY6 if status.proto.endswith("6") else ANY)
        self._inodes[found.instance] = find_inode(bound, status.port, status.proto)
        self._bcn.openvpn_found(status)
        if self._table is not None:
            self.changed(self._table)

    def addresses(self, instance: str) -> tuple[str, ...]:
        """The VIPs of an instance: as configured, else what its OpenVPN said last, else none."""
        return self._configured.get(instance) or self._found.get(instance, ())

    def inode(self, instance: str) -> int:
        """The socket that OpenVPN had open when it was found; 0 when that is not known."""
        return self._inodes.get(instance, 0)

    def _check_vip(self, one: InstanceSection, table: NetworkTable) -> None:
        if self._alone:
            present = True  # there is nobody else who could serve
        elif vips := self.addresses(one.name):
            present = any(table.has_address(vip, one.vip_interface) for vip in vips)
        else:
            return  # unknown until OpenVPN says it
        if self._vips.get(one.name) is not present:
            self._vips[one.name] = present
            self._driver.step(partial(_tell_vip, InstanceName(one.name), present))

    def _check_place(self, one: InstanceSection, table: NetworkTable) -> None:
        """Only where it can be wrong: on a certain interface, or of several with one elsewhere."""
        name, vips = one.vip_interface, self.addresses(one.name)
        if name is None and len(vips) < 2:
            return
        missing = tuple(vip for vip in vips if not table.has_address(vip, name))
        here = len(missing) < len(vips)
        place = VipPlace(
            interface=name or "",
            exists=name is not None and table.link(name) is not None,
            here=here,
            found="" if here or name is None else _find_elsewhere(vips, table),
            missing=missing if here else (),
        )
        if self._places.get(one.name) != place:
            self._places[one.name] = place
            self._driver.step(partial(_tell_place, InstanceName(one.name), place))


def _find_elsewhere(vips: Sequence[str], table: NetworkTable) -> str:
    """The interface that has one of them; on loopback it may stay, and means nothing."""
    for one in table.addresses():
        link = table.link_by_index(one.index)
        if one.address in vips and link is not None and link.name != LOOPBACK:
            return link.name
    return ""


def _tell_vip(instance: InstanceName, present: bool, core: Node, now: float) -> None:
    core.vip_changed(instance, present, now)


def _tell_link(link: str, up: bool, core: Node, now: float) -> None:
    core.link_changed(link, up, now)


def _tell_place(instance: InstanceName, place: VipPlace, core: Node, now: float) -> None:
    core.vip_placed(instance, place, now)
