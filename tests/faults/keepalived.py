"""keepalived and the sidecar: a master that serves keeps the VIP, and who cannot take it tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.integration.vip_cells import (
    CELLS,
    hang_sidecar,
    miss_vip_manager,
    reload_keepalived,
    restart_keepalived,
    restart_sidecar_slowly,
    restore,
    try_cell,
)
from tests.lab.lab import Lab
from tests.lab.node import Setup

OPENVPN = Path("build/openvpn/openvpn").resolve()
WORST = ("both dead", "sidecar hung, openvpn dead", "both sidecars dead")


def in_a_lab(deed: Callable[[Lab], str]) -> Callable[[Say], str]:
    """A deed on a cluster of its own."""

    def try_once(say: Say) -> str:
        with Lab(Setup(openvpn=OPENVPN), say) as lab:
            lab.start_cluster()
            return deed(lab)

    return try_once


def worst_cells(lab: Lab) -> str:
    """Those cells of the matrix that went wrong once."""
    found = []
    for cell in CELLS:
        if cell.name in WORST:
            restore(lab)
            moved = try_cell(lab, cell)
            found.append(f"{cell.name}: {'stayed' if moved is None else f'{moved:.2f} s'}")
    return "; ".join(found)


FAULTS = (
    Fault("B5 the master's sidecar hangs", 1, in_a_lab(hang_sidecar)),
    Fault("B5 sidecar and OpenVPN die together, both sidecars die", 1, in_a_lab(worst_cells)),
    Fault("B7 the standby's keepalived is gone", 1, in_a_lab(miss_vip_manager)),
    Fault("B11 keepalived is reloaded", 1, in_a_lab(lambda lab: reload_keepalived(lab, 6))),
    Fault(
        "B11 the master's keepalived is restarted",
        1,
        in_a_lab(lambda lab: restart_keepalived(lab, 20, 30)),
    ),
    Fault(
        "B12 a slow start of the sidecar", 2, in_a_lab(lambda lab: restart_sidecar_slowly(lab, 9.0))
    ),
)
