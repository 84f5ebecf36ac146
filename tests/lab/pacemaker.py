"""Pacemaker with corosync of one lab node: the files that users start from, with the lab's values.

Each node is a host of its own to them (``tests/lab/pacemaker-node``); the packages are unpacked in
``build/pacemaker`` and not installed. Two nodes serve alone when they do not hear each other, as
there is no fence device; ``FencedPacemaker`` has one, and is for three nodes.
"""

from __future__ import annotations

import copy
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.processes import find_children, name_of
from tests.lab.sidecar import INSTANCE
from tests.lab.vip_manager import ManagedNode, VipProgram
from tests.lab.waiting import wait_until

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy" / "pacemaker"
PACKAGES = ROOT / "build" / "pacemaker"
HOST = ROOT / "tests" / "lab" / "pacemaker-node"
FENCE_DEVICE = ROOT / "tests" / "lab" / "fence_lab"
CHECK_GRADE = ROOT / "deploy" / "keepalived" / "check-grade"
START_SECONDS = 10.0
STOP_SECONDS = 30.0
NEIGHBOURS = ROOT / "deploy" / "ucarp" / "neighbours"
GUARD = NEIGHBOURS.with_name("guard")
PROVIDER = "\tprovider: corosync_votequorum\n"
KEY = "0123456789abcdef" * 16
"""What the corosyncs of a lab seal with; nobody else hears them."""


class Pacemaker(VipProgram):
    """corosync and Pacemaker of one node."""

    fences: ClassVar[bool] = False

    def __init__(self, node: ManagedNode) -> None:
        if not (PACKAGES / "usr/sbin/pacemakerd").exists():
            raise LabError(f"{PACKAGES} is missing; `make pacemaker` gets it")
        if not node.seamless:
            raise LabError("a control run knows keepalived only")
        self.home = node.directory / "pacemaker"
        self._write_packages()
        self._write_etc(node)
        filled = _fill_in(node, self.fence_home(node.directory.parent) if self.fences else None)
        self.configuration.write_bytes(ElementTree.tostring(filled))
        (self.home / "cib.xml").write_bytes(ElementTree.tostring(_make_cib(filled)))
        self.process = Process(
            [HOST, node.name, self.home, PACKAGES, CHECK_GRADE],
            namespace=node.namespace,
            directory=self.home,
            log=node.directory / f"pacemaker-{node.name}.log",
        )

    @property
    def configuration(self) -> Path:
        """The example with the lab's values."""
        return self.home / "configuration.xml"

    @staticmethod
    def fence_home(lab: Path) -> Path:
        """Where ``tests/lab/agents/fencer.py`` of a lab is."""
        return lab / "fence"

    def _write_packages(self) -> None:
        """What users copy to /usr, and the fence device."""
        agent = self.home / "usr/lib/ocf/resource.d/ovpnha/ovpnha"
        device = self.home / "usr/sbin/fence_lab"
        judge = self.home / "usr/lib/ovpnha/check-grade"
        announcer = self.home / "usr/local/lib/ovpnha/neighbours"
        guard = self.home / "usr/local/lib/ovpnha/guard"
        for one in (agent, device, judge, announcer):
            one.parent.mkdir(parents=True)
        shutil.copy(SOURCE / "ovpnha", agent)
        shutil.copy(FENCE_DEVICE, device)
        shutil.copy(NEIGHBOURS, announcer)
        shutil.copy(GUARD, guard)
        judge.write_text(f"#!/bin/sh\nexit $(cat {self.home}/judged)\n")
        judge.chmod(0o755)

    def _write_etc(self, node: ManagedNode) -> None:
        etc = self.home / "etc" / "corosync"
        etc.mkdir(parents=True)
        (etc / "corosync.conf").write_text(_corosync_conf(list(node.priorities)))
        (etc / "authkey").write_text(KEY)
        (etc / "authkey").chmod(0o400)

    def stop(self) -> None:
        """End it in order: Pacemaker first, which gives the addresses away, then corosync."""
        if self.process.running:
            self.process.signal(signal.SIGTERM)
            self.process.wait(STOP_SECONDS)

    def is_settled(self) -> bool:
        """Whether the cluster has started the agent here, some seconds after the begin."""
        if not self.process.running:
            return True
        first = self._find_first()
        run = Path("/proc", str(first), "root", "run")
        return first > 0 and (run / f"resource-agents/ovpnha-{INSTANCE}.role").exists()

    def run(self, *command: str | Path, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command as on the node's own console; its output and errors are one."""
        return subprocess.run(
            [
                "nsenter",
                "--target",
                str(self._first()),
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--net",
                *command,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds,
            cwd="/",
        )

    def _first(self) -> int:
        """Process 1 of the node's own."""
        return wait_until(self._find_first, f"{self.process.name} starts its host", START_SECONDS)

    def _find_first(self) -> int:
        hosts = [one for one in find_children(self.process.pid) if name_of(one) == "unshare"]
        return next((child for host in hosts for child in find_children(host)), 0)


class FencedPacemaker(Pacemaker):
    """The same with a fence device; needs the lab's fencer."""

    fences = True


def pacemaker_of(node: Node) -> Pacemaker:
    """The Pacemaker of a node, for what only it can; LabError where there is another."""
    if not isinstance(node.vip_manager, Pacemaker):
        raise LabError(f"node {node.name} has no Pacemaker")
    return node.vip_manager


def _corosync_conf(names: list[str]) -> str:
    nodes = "".join(_corosync_node(name) for name in names)
    text = (SOURCE / "corosync.conf").read_text()
    text, found = re.subn(r"(?ms)^nodelist \{\n.*?^\}", f"nodelist {{\n{nodes}}}", text)
    if found != 1:
        raise LabError(f"{SOURCE}/corosync.conf has no nodelist")
    # A lab starts its nodes one after the other, and the first one serves by then.
    alone = "\ttwo_node: 1\n\twait_for_all: 0\n" if len(names) == 2 else ""
    return text.replace(PROVIDER, PROVIDER + alone)


def _corosync_node(name: str) -> str:
    number = plan.node_number(name)
    links = (plan.BCN.address(number), plan.LAN.address(number))
    lines = [f"name: {name}", f"nodeid: {number}"]
    lines += [f"ring{at}_addr: {address}" for at, address in enumerate(links)]
    return "".join(["\tnode {\n", *(f"\t\t{line}\n" for line in lines), "\t}\n"])


def _fill_in(node: ManagedNode, fence_home: Path | None) -> ElementTree.Element:
    """The example's configuration with the lab's values."""
    root = ElementTree.fromstring((SOURCE / "cib.xml").read_text())  # noqa: S314 - it is ours
    _set(root, "udp-addresses", " ".join(_addresses(segment) for segment in (plan.LAN, plan.OUT)))
    _set_order(_find(root, "udp-order"), node.priorities)
    _set_fence(root, list(node.priorities), fence_home)
    return root


def _make_cib(configuration: ElementTree.Element) -> ElementTree.Element:
    """All that Pacemaker has at its first start, so that no node waits for another."""
    versions = {"admin_epoch": "0", "epoch": "1", "num_updates": "0"}
    whole = ElementTree.Element("cib", {"validate-with": "pacemaker-3.7", **versions})
    whole.append(configuration)
    configuration.insert(1, ElementTree.Element("nodes"))
    ElementTree.SubElement(whole, "status")
    return whole


def _find(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(f".//*[@id='{name}']")
    if found is None:
        raise LabError(f"{SOURCE}/cib.xml has no {name}")
    return found


def _set(root: ElementTree.Element, name: str, value: str) -> None:
    _find(root, name).set("value", value)


def _addresses(segment: plan.Segment) -> str:
    first = f"{segment.vip}/{segment.network.prefixlen}"
    return f"{segment.interface} {first},{segment.vip6}/{segment.network6.prefixlen}"


def _set_order(order: ElementTree.Element, priorities: Mapping[str, int]) -> None:
    """A rule for each node: what its priority is above the smallest."""
    (pattern, *others) = list(order)
    for one in (pattern, *others):
        order.remove(one)
    for name, priority in priorities.items():
        rule = copy.deepcopy(pattern)
        rule.set("id", f"udp-order-{name}")
        rule.set("score", str(priority - min(priorities.values())))
        rule[0].set("id", f"udp-order-{name}-node")
        rule[0].set("value", name)
        order.append(rule)


def _set_fence(root: ElementTree.Element, names: Sequence[str], home: Path | None) -> None:
    """The lab's fence device, or none."""
    device = _find(root, "fence")
    if home is None:
        _set(root, "stonith-enabled", "false")
        _find_in(root, "resources").remove(device)
        return
    device.set("type", "fence_lab")
    _set(device, "fence-host-list", " ".join(names))
    attributes = _find(device, "fence-attributes")
    given = {"id": "fence-home", "name": "home", "value": str(home)}
    ElementTree.SubElement(attributes, "nvpair", given)


def _find_in(root: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = root.find(tag)
    if found is None:
        raise LabError(f"{SOURCE}/cib.xml has no {tag}")
    return found
