"""B1: the VIP goes away and comes back while the other node still copies, or has just done so.

Many stock clients stay connected over all bounces of one lab; who is lost shows as a client that
has restarted, at the latest when its ``ping-restart`` ends. ``OVPNHA_BOUNCE_CLIENTS`` and
``OVPNHA_BOUNCES`` make it as large as the promise: 250 and 50.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.lab.clientlog import noticed
from tests.lab.keepalived import Keepalived, keepalived_of
from tests.lab.lab import GRADE_IN_SYNC, GRADE_MASTER, Lab
from tests.lab.node import Setup
from tests.lab.vip_manager import VipProgram
from tests.lab.waiting import POLL, wait_until

OPENVPN = Path(os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")).resolve()
CLIENTS = int(os.environ.get("OVPNHA_BOUNCE_CLIENTS", "20"))
BOUNCES = int(os.environ.get("OVPNHA_BOUNCES", "4"))
STAYS_MS = (5, 500)
"""The shortest and the longest stay by hand."""
PING_RESTART = 12
CHANGING_RESTART = 6
"""Seconds after which a client that hears nothing restarts: one that changes may be out for 5 s."""
QUIET_SECONDS = 90.0
"""Seconds within which the nodes are master and standby in sync again."""
SERVED = 2.0
"""Seconds that a node serves between two restarts of every keepalived: each leaves the VIP nowhere
for 1.25 s, so a client that pings once a second would hear nothing for twelve."""

Bounce = Callable[[Lab, random.Random], None]


def by_hand(lab: Lab, rng: random.Random) -> None:
    """To the other node, and back after a stay that may end inside a resync."""
    low, high = STAYS_MS
    here = lab.master.name
    lab.move_vips(lab.other(here))
    _pass(low * (high / low) ** rng.random() / 1000)
    lab.move_vips(here)


def restart_keepalived(lab: Lab, rng: random.Random) -> None:
    """Both at once, as an upgrade of the package does; which starts first is anyone's guess."""
    managers = [keepalived_of(node) for node in lab.nodes.values()]
    rng.shuffle(managers)
    _pass(SERVED)
    for manager in managers:
        manager.process.signal(signal.SIGTERM)
    for manager in managers:
        manager.process.wait()
    for manager in managers:
        manager.start()


def reload_keepalived(lab: Lab, rng: random.Random) -> None:
    """Both at once."""
    nodes = list(lab.nodes.values())
    rng.shuffle(nodes)
    for node in nodes:
        keepalived_of(node).reload()


def _pass(seconds: float) -> None:
    """The length of a stay, not a wait for something."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(POLL, left))


def _bounce_often(say: Say, setup: Setup, bounce: Bounce, changing: bool) -> str:
    rng = random.Random(seed := random.SystemRandom().randrange(1 << 30))  # noqa: S311 - a test's dice
    with Lab(setup, say) as lab:
        lab.start_cluster()
        lab.start_clients(CLIENTS)
        lab.wait_in_sync("b", QUIET_SECONDS)
        since = time.time_ns()
        for number in range(1, BOUNCES + 1):
            bounce(lab, rng)
            _settle(lab)
            say(f"bounce {number} of {BOUNCES} (seed {seed}): {_count(lab, since)}")
        _pass(PING_RESTART + 3)
        text = f"{_count(lab, since)} in {BOUNCES} bounces of {CLIENTS} clients"
        lost = _lost(lab, since, changing)
        assert not lost, f"{len(lost)} lost: {text}, seed {seed}, {' '.join(lost[:5])}"
    return text


def _settle(lab: Lab) -> None:
    """One node serves and the other has everything."""

    def settled() -> bool:
        grades = sorted(node.grade() or 0 for node in lab.nodes.values())
        holder = lab.vips.holder()
        return (
            grades == [GRADE_IN_SYNC, GRADE_MASTER]
            and holder is not None
            and lab.nodes[holder].grade() == GRADE_MASTER
        )

    wait_until(settled, "a master, and a standby in sync", QUIET_SECONDS)


def _lost(lab: Lab, since: int, changing: bool) -> list[str]:
    """The clients that noticed something; of those that change, who heard nothing for too long."""
    lost = []
    for client in lab.clients:
        seen = noticed(client.log(), since)
        if seen.inactive or not (changing or seen.nothing):
            lost.append(client.process.name)
    return lost


def _count(lab: Lab, since: int) -> str:
    seen = [noticed(client.log(), since) for client in lab.clients]
    restarts = sum(not one.nothing for one in seen)
    inactive = sum(bool(one.inactive) for one in seen)
    renegotiated = sum(one.renegotiations for one in seen)
    return f"{restarts} restarted, {inactive} of them in silence, {renegotiated} renegotiations"


def _make(
    bounce: Bounce, vip_manager: type[VipProgram] | None, *, changing: bool = False
) -> Callable[[Say], str]:
    restart = CHANGING_RESTART if changing else PING_RESTART
    setup = Setup(
        openvpn=OPENVPN,
        vip_manager=vip_manager,
        keepalive=f"1 {restart}",
        server_options=("max-clients 1000",),
        client_options=("reneg-sec 7",) if changing else (),
    )
    return lambda say: _bounce_often(say, setup, bounce, changing)


FAULTS = (
    Fault("B1 the VIP bounces by hand", 1, _make(by_hand, None)),
    Fault("B1 keepalived is restarted on both nodes", 1, _make(restart_keepalived, Keepalived)),
    Fault("B1 keepalived is reloaded on both nodes", 1, _make(reload_keepalived, Keepalived)),
    Fault(
        "B1 the VIP bounces while clients renegotiate",
        1,
        _make(by_hand, None, changing=True),
    ),
)
