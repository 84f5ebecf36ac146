"""What a keepalived must have that is left to its owner (``--keepalived leave``).

Decides when that stops init: an address that this host gives up, and that keepalived would not take
up, would be on no host at all. What else lacks is told. Words are looked for, and the configuration
is not understood: one that builds an address of variables is told what it may have already.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.setup.cluster import ClusterPlan
from ovpnha.setup.commands import find_moving
from ovpnha.setup.host import Host


def find_left_out(plan: ClusterPlan, host: Host, *, ours: bool) -> Iterator[str]:
    """Addresses that nobody would have any more; ``ours`` is whether init has made the files."""
    if plan.keepalived != "leave":
        return
    lacking = [one for one in plan.vips if not host.manages(str(one.ip))]
    if ours and lacking:
        yield (
            f"--keepalived leave: init has made keepalived's files for other addresses than"
            f" {', '.join(str(one.ip) for one in lacking)}; say `--keepalived replace`"
        )
        return
    for place in find_moving(plan, host):
        if place in lacking:
            yield (
                f"--keepalived leave: {place.ip} would be deleted from this host, and nothing in"
                f" /etc/keepalived has it, so no node would: {must_have(plan)}; or say"
                " `--keepalived replace` (a copy is kept)"
            )


def note_left(plan: ClusterPlan, host: Host) -> Iterator[str]:
    """What keepalived's configuration does not have, as far as words show it."""
    if plan.keepalived != "leave":
        return
    words = [str(one.ip) for one in plan.vips] + [plan.grade_file]
    lacking = [one for one in words if not host.manages(one)]
    if lacking:
        yield (
            f"--keepalived leave: /etc/keepalived does not have {', '.join(lacking)}, and init does"
            f" not write it: {must_have(plan)}"
        )


def must_have(plan: ClusterPlan) -> str:
    """What to write into keepalived.conf."""
    vips = ", ".join(f"{one.address} dev {one.interface}" for one in plan.vips)
    return (
        f"keepalived's vrrp_instance must have {vips} in virtual_ipaddress, and a track_file with"
        f' `file "{plan.grade_file}"`, `weight 1` and `init_file 0`, named in its own'
        " `track_file { }`: without it keepalived does not follow the server"
    )
