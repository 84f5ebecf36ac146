"""A restart that clients must notice, `restart-openvpn --force`: each is told, and not all at once.

What `systemctl` is told here is done by a script, as the units have it: who serves hands over, gets
SIGTERM, and is started anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import MakeLab
from tests.lab.clientlog import CONNECTED, HARD_RESET, RESTART, LogLine, noticed
from tests.lab.openvpn import Client
from tests.lab.restartclients import gather
from tests.lab.sparelab import SPARE_OPTIONS, SpareLab
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CLIENTS = 24
BACK = 45.0
"""Seconds: less than the `ping-restart` of a client that is told by nobody, which is 60."""
TOLD = "Connection reset command was pushed by server ('[P]')"
"""By which a client keeps a password that somebody has typed in; or it hears only OCC_EXIT."""
SECOND = 1_000_000_000
SYSTEMCTL = """\
#!/bin/sh
case "$*" in
show*) echo {pid} ;;
"restart openvpn-cluster@udp.service")
    date +%s%N >{home}/ordered
    {ovpnha} hand-over --config {home}/ovpnha.toml --node a --pid {pid}
    date +%s%N >{home}/terminated
    kill -TERM {pid}
    while kill -0 {pid} 2>/dev/null; do sleep 0.02; done
    date +%s%N >{home}/ended
    ;;
esac
"""


@dataclass(frozen=True)
class Away:
    """One client's time without a server, in nanoseconds of the wall clock."""

    told: int
    began: int  # the handshake that succeeded
    back: int


def force(alone: SpareLab, directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """``restart-openvpn --force``, where no second process ever comes."""
    script = directory / "systemctl"
    ovpnha = f"env PYTHONPATH={Path(__file__).parents[2]} {sys.executable} -m ovpnha"
    home, pid = alone.lab.directory, alone.node.openvpn.pid
    script.write_text(SYSTEMCTL.format(ovpnha=ovpnha, home=home, pid=pid))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return alone.order_restart("--force", "--within", "5s")


def away(client: Client) -> Away:
    """When it was told, and when it came back; it was thrown out once, and did not miss anybody."""
    lines = client.log()
    seen = noticed(lines)
    assert (seen.restarts, seen.inactive, seen.reconnects) == (1, 0, 2), client.process.name
    assert sum(TOLD in line.text for line in lines) <= 1, client.process.name
    return Away(first(lines, RESTART), last(lines, HARD_RESET), last(lines, CONNECTED))


def first(lines: Sequence[LogLine], text: str) -> int:
    return next(line.time for line in lines if text in line.text)


def last(lines: Sequence[LogLine], text: str) -> int:
    return next(line.time for line in reversed(lines) if text in line.text)


def is_back(client: Client) -> bool:
    return noticed(client.log()).reconnects > 1


@pytest.mark.parametrize("options", [(), ("explicit-exit-notify 1",)], ids=["untold", "notify"])
def test_clients_are_told_one_after_the_other(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Whatever explicit-exit-notify says, nobody waits for ping-restart."""
    lab = make_lab(vip_manager=None, server_options=(*SPARE_OPTIONS, *options))
    with SpareLab(lab, "restart") as alone:
        alone.start_alone()
        alone.keep()
        clients = gather(lab, CLIENTS)
        assert "OpenVPN was stopped and started" in force(alone, tmp_path, monkeypatch)
        for client in clients:
            wait_until(lambda: is_back(client), f"{client.process.name} is back", BACK)  # noqa: B023
        found = [away(client) for client in clients]
        assert any(TOLD in line.text for client in clients for line in client.log())
    report(found, lab.directory)


def report(found: Sequence[Away], home: Path) -> None:
    zero, ordered = (int((home / name).read_text()) for name in ("terminated", "ordered"))
    ended = int((home / "ended").read_text()) - zero
    told, began, back = (
        sorted((at - zero) / SECOND for at in times)
        for times in zip(*((one.told, one.began, one.back) for one in found), strict=True)
    )
    assert told[-1] - told[0] > 0.1
    out = sorted((one.back - one.told) / SECOND for one in found)
    print(
        f"from SIGTERM: told {told[0]:.2f} to {told[-1]:.2f} s, ordered"
        f" {(ordered - zero) / SECOND:.2f} s, ended {ended / SECOND:.2f} s,"
        f" handshakes {began[0]:.2f} to {began[-1]:.2f} s, back by {back[-1]:.2f} s;"
        f" each away {out[0]:.2f} to {out[-1]:.2f} s, mean {sum(out) / len(out):.2f} s"
    )
