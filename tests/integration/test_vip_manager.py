"""What moves the VIP, what must not, who notices when its manager is gone: keepalived as shipped.

At the end, what any VIP manager of the lab must do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.integration.vip_cells import (
    CELLS,
    Cell,
    hang_sidecar,
    miss_vip_manager,
    reload_keepalived,
    restart_keepalived,
    restore,
    try_cell,
)
from tests.lab.deaths import cut_node
from tests.lab.frr import FrrKeepalived
from tests.lab.keepalived import Keepalived, KeepalivedFast, real_time
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.pacemaker import Pacemaker
from tests.lab.session import Session
from tests.lab.ucarp import Ucarp
from tests.lab.vip_manager import VipProgram

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """One cluster for the whole matrix: each cell begins with both nodes fine."""
    with Lab(Setup(openvpn=OPENVPN)) as lab:
        lab.start_cluster()
        yield lab


@pytest.mark.sampled(4)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_the_vip_moves_to_who_can_serve_and_else_stays(cluster: Lab, cell: Cell) -> None:
    restore(cluster)
    moved = try_cell(cluster, cell)
    print(f"{cell.name}: {'stayed' if moved is None else f'moved after {moved:.2f} s'}")


def test_a_reload_moves_nothing_and_kills_nobody(lab: Lab) -> None:
    lab.start_cluster()
    reload_keepalived(lab, 6)


def test_a_restart_of_the_master_s_keepalived_is_a_planned_move(lab: Lab) -> None:
    lab.start_cluster()
    print(restart_keepalived(lab, 3, 5))


def test_a_node_without_a_vip_manager_is_told_on_both_nodes(lab: Lab) -> None:
    lab.start_cluster()
    miss_vip_manager(lab)


def test_nobody_waits_for_a_sidecar_that_hangs(lab: Lab) -> None:
    lab.start_cluster()
    hang_sidecar(lab)


@pytest.mark.parametrize(
    "manager",
    [Keepalived, *([KeepalivedFast] if real_time() else []), Ucarp, Pacemaker, FrrKeepalived],
)
def test_no_client_notices_which_manager_moves_the_vip(
    make_lab: Callable[..., Lab], manager: type[VipProgram]
) -> None:
    """Away by a stop of the manager, and back because the node is cut off."""
    lab = make_lab(vip_manager=manager)
    lab.start_cluster()
    session = Session(lab)
    stopped = session.strike(lambda _lab, node: node.vip_manager.stop())
    assert session.recovers(stopped, PATIENCE)
    lab.wait_master("b")
    lab.nodes["a"].vip_manager.start()
    lab.wait_in_sync("a")
    cut = session.strike(cut_node)
    assert cut.node == "b", "the VIP went back by itself"
    assert session.recovers(cut, PATIENCE)
    lab.wait_master("a")
    print(f"stop {session.outage_ms(stopped):.0f} ms, cut {session.outage_ms(cut):.0f} ms")
    assert session.noticed(stopped).nothing
    assert session.finish() == ""
