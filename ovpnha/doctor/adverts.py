"""Checks of how often keepalived sends adverts: less than every 50 ms is for real time only.

Decides by what its configuration says and how the process runs. ``@realtime`` and ``@^realtime``
before a line are for a keepalived that was started with and without real time, by
``--config-id realtime`` (deploy/keepalived). On a busy machine an advert every 10 ms without real
time moved the VIP 45 times in five minutes for nothing; every 50 ms, never.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.doctor.facts import Facts, Unread
from ovpnha.doctor.keepalived import KeepalivedBlock
from ovpnha.doctor.kinds import DoctorKind, Told, find

SAFE = 0.05
"""Seconds between adverts that do without real time."""
FOR_REAL_TIME, FOR_OTHERS = "@realtime", "@^realtime"
GET_REAL_TIME = (
    "install the drop-in for keepalived.service (deploy/systemd/keepalived.service.d), in a"
    " container --cap-add SYS_NICE; the host's control groups must allow it (chrt --rr 50 true)"
)


def check_adverts(facts: Facts) -> Iterator[Told]:
    """That who has no real time does not send them too often, and that this is no surprise."""
    found = facts.keepalived
    if found is None or found.process is None or found.process.real_time:
        return
    if found.blocks is None or isinstance(found.blocks, Unread):
        return
    for instance in (one for one in found.blocks if one.name == "vrrp_instance"):
        yield from _check_instance(instance)


def _check_instance(instance: KeepalivedBlock) -> Iterator[Told]:
    said, wanted = _interval(instance, FOR_OTHERS), _interval(instance, FOR_REAL_TIME)
    title = f"vrrp_instance {instance.title}"
    if said < SAFE:
        yield find(
            DoctorKind.KEEPALIVED_ADVERTS,
            f"{title} sends an advert every {said:g} s, and keepalived has no real time: on a busy"
            " host the VIP moves for nothing",
            f"advert_int {SAFE:g} ($ADVERT_INTERVAL in node.conf), or {GET_REAL_TIME}",
        )
    elif wanted < SAFE:
        yield find(
            DoctorKind.KEEPALIVED_ADVERTS,
            f"{title} is to send an advert every {wanted:g} s, and keepalived has no real time: it"
            f" is every {said:g} s, and a takeover takes longer",
            GET_REAL_TIME,
        )


def _interval(instance: KeepalivedBlock, kind: str) -> float:
    """Seconds, for processes of this kind; 1, as keepalived has it, where nothing is said."""
    found = 1.0
    for line in instance.inner:
        words = line.words[1:] if line.name == kind else line.words
        if len(words) > 1 and words[0] == "advert_int":
            found = _seconds(words[1], found)
    return found


def _seconds(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise
