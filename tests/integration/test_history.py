"""What a real cluster says afterwards: on every node, and over a restart."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from ovpnha import __version__
from ovpnha.runtime.control import HistoryRequest
from tests.integration.pace import PATIENCE
from tests.lab.lab import Lab
from tests.lab.session import Session
from tests.lab.sidecar import OVPNHA, PACKAGE_ROOT, run_command
from tests.lab.waiting import Tail, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def history(lab: Lab, name: str) -> list[dict[str, Any]]:
    return list(lab.nodes[name].sidecar.ask(HistoryRequest())["entries"])


def promotions(entries: list[dict[str, Any]], node: str) -> list[dict[str, Any]]:
    return [one for one in entries if one["node"] == node and one["new"] == "master"]


def is_told(lab: Lab, *names: str) -> bool:
    """Every node knows of b's promotion, with the first packet of a client."""
    if not all(lab.nodes[name].sidecar.instance() for name in names):
        return False
    found = [promotions(history(lab, name), "b") for name in names]
    return all(one and "first_packet" in one[-1]["figures"] for one in found)


def test_a_failover_is_told_by_all_nodes_and_outlives_them(lab: Lab) -> None:
    lab.start_cluster()
    session = Session(lab)
    for process in lab.nodes["a"].processes:
        process.kill()
    lab.wait_master("b")
    wait_until(lambda: is_told(lab, "b"), "the promotion is in the history", PATIENCE)
    figures = promotions(history(lab, "b"), "b")[-1]["figures"]
    assert figures["clients"] == 1
    assert 0 < figures["promoted"] <= figures["first_packet"] < 10
    assert figures["lacking"] == 0
    lab.nodes["a"].start()
    wait_until(lambda: is_told(lab, "a", "b"), "the one that was dead knows, too", PATIENCE)

    file = lab.directory / "b" / "history.jsonl"
    lab.nodes["b"].sidecar.process.kill()
    with file.open("a") as torn:
        torn.write('{"v": 1, "key": "00')
    config = lab.directory / "ovpnha.toml"
    said = json.loads(run_command("history", "--json", "--config", config, "--node", "b"))
    assert promotions(said["entries"], "b")[-1]["figures"]["clients"] == 1
    lab.nodes["b"].sidecar.process.start()
    wait_until(lambda: lab.nodes["b"].sidecar.instance() is not None, "b is back", PATIENCE)
    assert promotions(history(lab, "b"), "b")[-1]["figures"]["clients"] == 1
    assert "lines of the history skipped" in lab.nodes["b"].sidecar.process.log.read_text()
    assert session.finish() == ""


def test_events_are_followed_until_the_sidecar_ends(lab: Lab) -> None:
    lab.start_cluster()
    config, file = lab.directory / "ovpnha.toml", lab.directory / "events"
    command = [*OVPNHA, "events", "--follow", "--json", "--config", str(config), "--node", "b"]
    with file.open("w") as output, Popen(command, stdout=output, cwd=PACKAGE_ROOT) as follower:
        wait_until(lambda: has_socket(follower), "it follows", PATIENCE)
        for process in lab.nodes["a"].processes:
            process.kill()
        lab.wait_master("b")
        wanted = {"role_changed", "node_left", "problem", "promoted"}
        wait_until(lambda: wanted <= kinds(file), "what happened is told", PATIENCE)
        lab.nodes["b"].sidecar.process.signal(signal.SIGTERM)
        assert follower.wait(PATIENCE) == 0
    assert "stopping" in kinds(file)


def has_socket(follower: Popen[bytes]) -> bool:
    """The command is connected: nothing tells that but the kernel."""
    return any(map(is_socket, Path(f"/proc/{follower.pid}/fd").iterdir()))


def is_socket(descriptor: Path) -> bool:
    try:
        return "socket:" in os.readlink(descriptor)
    except FileNotFoundError:  # closed meanwhile
        return False


def kinds(file: Path) -> set[str]:
    return {json.loads(line)["kind"] for line in Tail(file).lines()}


def test_nodes_know_each_others_release_keys_and_links(lab: Lab) -> None:
    lab.start_cluster()
    config = lab.directory / "ovpnha.toml"

    def known() -> bool:
        said = run_command("nodes", "--json", "--config", config, "--node", "a")
        here, *others = json.loads(said)["nodes"]
        if not others:
            return False
        (other,) = others
        links = [one for one in other["links"] if one["loss"] is not None]
        return (
            (other["name"], other["release"], other["keys"]) == ("b", __version__, here["keys"])
            and bool(links)
            and all(one["loss"] < 1 for one in links)
        )

    wait_until(known, "node a knows what b is", PATIENCE)
