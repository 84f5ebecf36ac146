"""What befalls the one server of ``make restart``.

Most of it is done to a stock server as well (``control_runs``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.restartrun import Bench

PACKAGES = Path("build/openvpn")
ALONE_MS = 20.0
HANG_MS = 4000.0
"""``answer_within`` is 3 s, and OpenVPN is asked when it has said nothing for one."""
NEVER_MS = 120_000.0


class Ground(StrEnum):
    """Who is there beside the client that is watched."""

    LOADED = "nobody"
    BUSY = "clients that come and go, and renegotiate"
    CROWD = "a crowd"


def nothing(_bench: Bench) -> None:
    """Everything is as it was."""


def renew_certificate(bench: Bench) -> None:
    """Another certificate and key of the server's name."""
    bench.watched.lab.pki.issue("server", server=True)


def other_build(bench: Bench) -> Path:
    """The program of the package, which was built apart; LabError while it was not."""
    found = sorted(PACKAGES.glob("openvpn-cluster_*.deb"))
    if not found:
        raise LabError(f"{PACKAGES} has no package openvpn-cluster; `make deb` builds it")
    home = bench.watched.lab.directory / "package"
    subprocess.run(["dpkg-deb", "--extract", found[-1], home], check=True)
    return home / "usr/sbin/openvpn-cluster"


def restart_with_other(bench: Bench) -> None:
    """With another build, and the next one with the first again."""
    bench.server.change_build(other_build(bench))


@dataclass(frozen=True)
class Case:
    """One thing, and what a client may notice of it.

    ``sudden``: the moment of the deed is the one from which the gap counts. ``most_ms`` is what the
    gap may be longer, in the median, than one without a switch. ``reconnects``: nobody has the
    clients any more, so that they do restart.
    """

    name: str
    deed: Callable[[Bench], None]
    runs: int
    prepare: Callable[[Bench], None] = nothing
    ground: Ground = Ground.LOADED
    sudden: bool = False
    most_ms: float = ALONE_MS
    reconnects: bool = False
    control_runs: int = 0


def restart(bench: Bench) -> None:
    """As an administrator does."""
    bench.server.restart()


def kill(bench: Bench) -> None:
    """A crash."""
    bench.server.kill()


CASES = (
    Case("planned restart", restart, runs=20, control_runs=5),
    Case("new certificate", restart, runs=5, prepare=renew_certificate, control_runs=2),
    Case("new binary", restart_with_other, runs=5, control_runs=2),
    Case("crash", kill, runs=20, sudden=True, control_runs=2),
    Case(
        "hang",
        lambda bench: bench.server.hang(),
        runs=10,
        sudden=True,
        most_ms=HANG_MS,
        control_runs=2,
    ),
    Case(
        "crash of both at once",
        lambda bench: bench.server.kill_both(),
        runs=2,
        sudden=True,
        most_ms=NEVER_MS,
        reconnects=True,
    ),
    Case("planned restart while others connect", restart, runs=10, ground=Ground.BUSY),
    Case("planned restart of a crowd", restart, runs=5, ground=Ground.CROWD),
    Case("crash with a crowd", kill, runs=5, ground=Ground.CROWD, sudden=True),
)
"""In the order in which they are done to one server."""
