"""What keepalived does with the VIP when sidecar, OpenVPN or both are hung or dead: the matrix.

Each cell does something to the node that has the VIP and to the standby, at one moment, and says
whether the VIP may move, and within what time. docs/operations.md has the same table.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.integration.pace import PATIENCE, is_short
from tests.lab.clientlog import noticed
from tests.lab.keepalived import keepalived_of
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.session import Session
from tests.lab.waiting import POLL, wait_until

STALE = 5.0  # seconds after which check-grade no longer believes a grade
STAYS = STALE + 4.0  # seconds for which an address that must not move is watched
MARGIN = 3.0  # seconds more than promised: the machine may be busy
MOVE_MS = 500.0
AGAIN_MS = 1000.0  # garp_master_delay: the addresses are announced once more

State = Callable[[Process], None]


def fine(_process: Process) -> None:
    """Nothing happens to it."""


def hung(process: Process) -> None:
    """It lives, and does nothing."""
    process.signal(signal.SIGSTOP)


def dead(process: Process) -> None:
    """It is gone, and stays so."""
    process.kill()


@dataclass(frozen=True)
class Cell:
    """States of the two processes of both nodes, and seconds until the VIP has moved."""

    name: str
    sidecar: State
    openvpn: State
    other_sidecar: State = fine
    moves_within: float | None = None  # None: it stays


CELLS = (
    Cell("sidecar dead", dead, fine),
    Cell("sidecar hung", hung, fine),
    Cell("openvpn dead", fine, dead, moves_within=0.5),
    Cell("openvpn hung", fine, hung, moves_within=6.0),
    Cell("both dead", dead, dead, moves_within=1.0),
    Cell("sidecar hung, openvpn dead", hung, dead, moves_within=1.0),
    Cell("sidecar dead, openvpn hung", dead, hung, moves_within=13.0),
    Cell("both hung", hung, hung, moves_within=13.0),
    Cell("both sidecars dead", dead, fine, dead),
    Cell("both sidecars hung", hung, fine, hung),
    Cell("standby's sidecar dead", fine, fine, dead),
    Cell("standby's sidecar hung", fine, fine, hung),
    Cell("both sidecars and openvpn dead", dead, dead, dead, moves_within=1.0),
)


def try_cell(lab: Lab, cell: Cell) -> float | None:
    """Bring a cell about; the seconds after which the VIP had moved, None when it stayed."""
    holder = lab.vips.wait_holder()
    node, standby = lab.nodes[holder], lab.nodes[lab.other(holder)]
    wait_until(lambda: standby.grade() == 90, "a standby in sync", 30)
    begin = time.monotonic()
    cell.sidecar(node.sidecar.process)
    cell.other_sidecar(standby.sidecar.process)
    cell.openvpn(node.openvpn)
    if cell.moves_within is None:
        moved = watch(lab, holder, begin + STAYS)
        assert moved is None, f"the VIP moved after {moved - begin:.2f} s"
        return None
    moved = watch(lab, holder, begin + cell.moves_within + MARGIN)
    assert moved is not None, "the VIP did not move"
    return moved - begin


def watch(lab: Lab, holder: str, deadline: float) -> float | None:
    """When another node, or none, has the VIP; None when that has not happened until then."""
    while time.monotonic() < deadline:
        if lab.vips.holder() not in (holder, None):
            return time.monotonic()
        time.sleep(POLL)
    return None


def restore(lab: Lab) -> None:
    """Everything runs again, one node is master, and the other in sync with it."""
    for node in lab.nodes.values():
        for process in (node.openvpn, node.sidecar.process):
            process.signal(signal.SIGCONT)
            if not process.running:
                process.start()
    wait_until(lambda: is_whole(lab), "a master and a standby in sync", 60)


def is_whole(lab: Lab) -> bool:
    """There is a master that has the VIP, and a standby in sync."""
    holder = lab.vips.holder()
    if holder is None:
        return False
    told = [role(lab.nodes[name]) for name in (holder, lab.other(holder))]
    return told == ["master", "standby"] and lab.nodes[lab.other(holder)].grade() == 90


def role(node: Node) -> str:
    """What the sidecar says it is; "" while it does not answer."""
    instance = node.sidecar.instance()
    return instance["role"] if instance is not None else ""


def miss_vip_manager(lab: Lab) -> str:
    """keepalived of the standby is killed: both nodes say so, and no longer when it is back."""
    standby, master = lab.nodes["b"], lab.nodes["a"]
    lab.wait_in_sync("b")
    for _ in range(2):
        wait_until(
            lambda: managed(standby) == (True, True), "a VIP manager on both nodes", PATIENCE
        )
        begin = time.monotonic()
        standby.vip_manager.kill()
        wait_until(lambda: managed(standby)[0] is False, "the standby misses it", 20)
        wait_until(lambda: managed(master) == (True, False), "the master tells it, too", 20)
        took = time.monotonic() - begin
        problems = (standby.sidecar.instance() or {})["problems"]
        assert "no_vip_manager" in [one["kind"] for one in problems]
        standby.vip_manager.start()
    wait_until(lambda: managed(master) == (True, True), "a VIP manager on both nodes again", 30)
    return f"missed after {took:.1f} s"


def managed(node: Node) -> tuple[bool, bool]:
    """Whether a VIP manager reads the grade of this node, and of the other, as this one sees it."""
    instance = node.sidecar.instance()
    if instance is None or not instance["nodes"]:
        return False, False
    return instance["managed"], instance["nodes"][0]["managed"]


def reload_keepalived(lab: Lab, count: int) -> str:
    """Reloads on both nodes at once, without CAP_SYS_RESOURCE: nobody dies, nothing moves."""
    lab.wait_in_sync("b")
    before = [vrrp_child(node) for node in lab.nodes.values()]
    seen = len(lab.vips.events())
    for _ in range(count):
        for node in lab.nodes.values():
            keepalived_of(node).reload()
        assert watch(lab, "a", time.monotonic() + 1.5) is None, "the VIP has moved"
    assert watch(lab, "a", time.monotonic() + 6.0) is None, "the VIP has moved"
    assert [vrrp_child(node) for node in lab.nodes.values()] == before, "a VRRP process has died"
    assert len(lab.vips.events()) == seen, "the VIP was gone for a moment"
    return f"{count} reloads on both nodes"


def restart_keepalived(lab: Lab, count: int, clients: int) -> str:
    """keepalived of the master is stopped and started: a planned move, and the VIP stays there.

    Of ten moves one may take until keepalived's second announcement, a second after the first.
    """
    session = Session(lab)
    lab.start_clients(clients)
    begun, gaps, late = session.mark(), [], []
    for _ in range(count):
        wait_until(lambda: is_whole(lab), "a master and a standby in sync", PATIENCE)
        wait_until(lambda: all_copied(lab, clients + 1), "every client protected", PATIENCE)
        holder = lab.vips.wait_holder()
        moment = session.strike(lambda _lab, node: node.vip_manager.stop())
        lab.nodes[holder].vip_manager.start()
        lab.wait_master(lab.other(holder))
        assert watch(lab, lab.other(holder), time.monotonic() + 3.0) is None, "the VIP went back"
        gaps.append(session.outage_ms(moment))
        if not is_short(session, moment, MOVE_MS):
            assert is_short(session, moment, MOVE_MS + AGAIN_MS), f"{gaps[-1]:.0f} ms"
            late.append(gaps[-1])
    assert len(late) <= count // 10, f"{late} ms"
    for client in lab.clients:
        seen = noticed(client.log(), begun.wall, None)
        assert seen.nothing, f"{client.process.name}: {seen}"
    return f"{count} restarts: median {median(gaps):.0f} ms, most {max(gaps):.0f} ms"


def all_copied(lab: Lab, clients: int) -> bool:
    """Whether the standby has every client."""
    copies = [(node.sidecar.instance() or {}).get("records", 0) for node in lab.nodes.values()]
    return bool(max(copies) == clients)


def vrrp_child(node: Node) -> int | None:
    """The process that holds the address."""
    keepalived = keepalived_of(node)
    pid = wait_until(keepalived.vrrp_pid, f"keepalived of node {node.name} is up", PATIENCE)
    assert Path(f"/proc/{pid}").exists(), f"the VRRP process of node {node.name} is gone"
    return pid


def hang_sidecar(lab: Lab) -> str:
    """The master's sidecar hangs: a new client waits for nobody, and OpenVPN has counted it."""
    lab.wait_in_sync("b")
    master = lab.nodes["a"]
    wait_until(lambda: hears_in_sync(master), "the master lets clients wait", 20)
    hung(master.sidecar.process)
    assert watch(lab, "a", time.monotonic() + 4.0) is None, "the VIP has moved"
    begin = time.monotonic()
    lab.start_client()
    took = time.monotonic() - begin
    assert watch(lab, "a", begin + STAYS) is None, "the VIP has moved away from the new client"
    dead(master.sidecar.process)
    master.sidecar.process.start()
    wait_until(lambda: role(master) == "master", "the sidecar is back", 30)
    counters = (master.sidecar.instance() or {})["counters"]
    assert counters.get("waits_lapsed") == 1, f"OpenVPN has not noticed: {counters}"
    lab.wait_in_sync("b")
    assert lab.vips.holder() == "a", "the VIP has moved"
    return f"a client connected in {took:.1f} s meanwhile"


def hears_in_sync(node: Node) -> bool:
    """Whether this node has heard that the other is in sync."""
    instance = node.sidecar.instance()
    return instance is not None and [one["sync"] for one in instance["nodes"]] == ["in_sync"]


def restart_sidecar_slowly(lab: Lab, seconds: float) -> str:
    """The master's sidecar ends and needs long to start: the role stays."""
    lab.wait_in_sync("b")
    master = lab.nodes["a"]
    dead(master.sidecar.process)
    assert watch(lab, "a", time.monotonic() + seconds) is None, "the VIP has moved"
    master.sidecar.process.start()
    wait_until(lambda: role(master) == "master", "the sidecar is back", 30)
    lab.wait_in_sync("b")
    assert lab.vips.holder() == "a", "the VIP has moved"
    return f"{seconds:g} s without a sidecar"
