"""An OpenVPN that answers ``cluster-status``, for every test that needs one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ovpnha.model import NO_EPOCH, HolderId, OpenvpnStatus, Role

STANDBY = OpenvpnStatus(
    version=1,
    record_format=1,
    role=Role.STANDBY,
    instances=0,
    holder=HolderId(b"h" * 16),
    epoch=NO_EPOCH,
    openvpn="2.6.14",
    local="",
    port=0,
    proto="",
    broadcast="",
    bcn_port=0,
    digest="digest",
    certificate="cert",
    issuer="issuer",
    max_clients=0,
)
"""One that has just started: no address, no clients."""


def make_status(**told: Any) -> OpenvpnStatus:
    """The same, but for what it tells otherwise."""
    return replace(STANDBY, **told)
