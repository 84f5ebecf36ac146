"""Turns the table of links and addresses into what the core wants to hear: VIPs and BCN links.

Decides what has changed since the last table. VIPs come first: a promotion waits for nothing.
"""

from __future__ import annotations

from functools import partial

import structlog

from ovpnha.config import Config, InstanceConfig
from ovpnha.coordinator.outputs import OpenvpnFound
from ovpnha.model import InstanceName
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.core import Core
from ovpnha.runtime.driver import Driver
from ovpnha.runtime.network import NetworkTable

log = structlog.get_logger()


class Surroundings:
    """Remembers what the core was told, and tells it every difference."""

    def __init__(self, config: Config, bcn: BcnSockets, driver: Driver) -> None:
        self._instances = config.instance
        self._bcn = bcn
        self._driver = driver
        self._table: NetworkTable | None = None
        self._addresses = {one.name: str(one.vip) for one in config.instance if one.vip is not None}
        self._vips: dict[str, bool] = {}
        self._links: dict[str, bool] = {}
        self._missing: set[str] = set()
        self._elsewhere: dict[str, str] = {}

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
            self._check_interface(one, table)
            self._check_place(one, table)

    def openvpn_found(self, found: OpenvpnFound) -> None:
        """OpenVPN says its VIP and BCN; they fill what the configuration leaves out."""
        local = found.status.local
        vip = self._addresses.setdefault(found.instance, local) if local else ""
        if vip != local:
            log.warning("vip is not openvpn's local", instance=found.instance, vip=vip, local=local)
        self._bcn.openvpn_found(found.status)
        if self._table is not None:
            self.changed(self._table)

    def _check_vip(self, one: InstanceConfig, table: NetworkTable) -> None:
        if one.name not in self._addresses:
            return  # unknown until OpenVPN says it
        present = table.has_address(self._addresses[one.name], one.vip_interface)
        if self._vips.get(one.name) is not present:
            self._vips[one.name] = present
            self._driver.step(partial(_tell_vip, InstanceName(one.name), present))

    def _check_interface(self, one: InstanceConfig, table: NetworkTable) -> None:
        """Told once when the VIP cannot be seen; the interface may still appear."""
        name = one.vip_interface
        if name is None or (table.link(name) is None) is (one.name in self._missing):
            return
        if one.name in self._missing:
            self._missing.discard(one.name)
            log.info("vip interface found", instance=one.name, interface=name)
        else:
            self._missing.add(one.name)
            self._driver.step(partial(_tell_missing, InstanceName(one.name), name))

    def _check_place(self, one: InstanceConfig, table: NetworkTable) -> None:
        """Told once for each interface that has the VIP though it counts on another."""
        link = table.link_of(self._addresses.get(one.name, ""))
        name = one.vip_interface
        if name is None or link is None or table.has_address(self._addresses[one.name], name):
            self._elsewhere.pop(one.name, None)
        elif self._elsewhere.get(one.name) != link.name:
            self._elsewhere[one.name] = link.name
            log.warning(
                "vip is on another interface",
                instance=one.name,
                found=link.name,
                vip_interface=name,
            )


def _tell_vip(instance: InstanceName, present: bool, core: Core, now: float) -> None:
    core.vip_changed(instance, present, now)


def _tell_link(link: str, up: bool, core: Core, now: float) -> None:
    core.link_changed(link, up, now)


def _tell_missing(instance: InstanceName, name: str, core: Core, now: float) -> None:
    core.vip_interface_missing(instance, name, now)
