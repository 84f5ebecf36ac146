"""Fences of a real cluster: a master dies, and the other node waits for its end, or does not."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.integration.conftest import MakeLab, configure
from tests.lab.lab import Lab
from tests.lab.sidecar import run_command
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENCE = 40.0
SECTION = """
[fence]
command = ["{script}"]
required = {required}
timeout = {timeout}

[log]"""
SCRIPT = """\
#!/bin/sh
echo "$OVPNHA_EVENT $OVPNHA_OTHER_NODE $OVPNHA_INSTANCE $OVPNHA_REQUIRED" >>"{calls}"
{body}
"""


def prepare(make_lab: MakeLab, body: str, *, required: bool = True, timeout: float = 20.0) -> Lab:
    """A is master of a client, b is in sync; both have this fence."""
    lab = make_lab(vip_manager=None)
    script = lab.directory / "fence"
    script.write_text(SCRIPT.format(calls=lab.directory / "fenced", body=body))
    script.chmod(0o755)
    told = SECTION.format(script=script, required=str(required).lower(), timeout=timeout)
    configure(lab, "\n[log]", told)
    lab.start_cluster()
    lab.start_client()
    lab.wait_in_sync("b")
    return lab


def calls(lab: Lab) -> list[str]:
    """What the fence has been run for."""
    path = lab.directory / "fenced"
    return path.read_text().splitlines() if path.exists() else []


def kill_master(lab: Lab) -> None:
    """Node a dies without a word, and the VIP goes to b: its sidecar first, or it would tell."""
    lab.nodes["a"].sidecar.process.kill()
    lab.nodes["a"].openvpn.kill()
    lab.move_vips("b")


def problems(lab: Lab) -> str:
    """What is wrong with b, as it says."""
    return str((lab.nodes["b"].sidecar.instance() or {}).get("problems"))


def promoted_at(lab: Lab) -> float:
    """When b became master, as its log says, on the clock of files."""
    lines = lab.nodes["b"].sidecar.process.log.read_text().splitlines()
    said = [json.loads(line) for line in lines if '"role changed"' in line]
    (moment,) = (one["timestamp"] for one in said if one["new"] == "master")
    return datetime.fromisoformat(moment).timestamp()


def serves(lab: Lab) -> bool:
    """Whether b is master."""
    return (lab.nodes["b"].sidecar.instance() or {}).get("role") == "master"


def test_a_required_fence_that_fails_then_succeeds(make_lab: MakeLab) -> None:
    lab = prepare(make_lab, '[ -e "{ok}" ]'.format(ok="$0.ok"))
    kill_master(lab)
    wait_until(lambda: "fence_failed" in problems(lab), "the failure is told", PATIENCE)
    assert not serves(lab)
    (lab.directory / "fence.ok").touch()
    lab.wait_master("b", PATIENCE)
    assert len(calls(lab)) >= 2
    assert set(calls(lab)) == {"fence a udp True"}


def test_a_required_fence_that_hangs_is_killed_and_overruled(make_lab: MakeLab) -> None:
    lab = prepare(make_lab, "sleep 600", timeout=2.0)
    kill_master(lab)
    wait_until(lambda: "killed after 2 s" in problems(lab), "the hang is told", PATIENCE)
    assert not serves(lab)
    config = lab.directory / "ovpnha.toml"
    run_command("promote", "--unfenced", "--config", config, "--node", "b")
    lab.wait_master("b", PATIENCE)


def test_an_optional_fence_that_hangs_delays_nothing(make_lab: MakeLab) -> None:
    lab = prepare(make_lab, "sleep 600", required=False, timeout=600.0)
    kill_master(lab)
    lab.wait_master("b", PATIENCE)
    wait_until(lambda: calls(lab) == ["fence a udp False"], "it is run", PATIENCE)
    # 1 s after the promotion: b did not wait for it
    assert (lab.directory / "fenced").stat().st_mtime > promoted_at(lab)


def test_a_planned_move_needs_no_fence(make_lab: MakeLab) -> None:
    lab = prepare(make_lab, "exit 1")
    lab.move_vips("b")
    lab.wait_master("b", PATIENCE)
    assert not calls(lab)
