"""keepalived as it is shipped: what moves the VIP, what must not, who notices when it is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import OPENVPN
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
from tests.lab.lab import Lab
from tests.lab.node import Setup

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """One cluster for the whole matrix: each cell begins with both nodes fine."""
    with Lab(Setup(openvpn=OPENVPN)) as lab:
        lab.start_cluster()
        yield lab


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
