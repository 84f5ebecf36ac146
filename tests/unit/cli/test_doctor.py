"""The command ``ovpnha doctor``: what it takes, what it prints, with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from ovpnha.cli.doctor import read_configuration, show_report
from ovpnha.config import parse_config
from ovpnha.doctor.examine import DoctorAnswer, examine
from ovpnha.doctor.facts import Unread
from ovpnha.runtime import hostfacts
from ovpnha.runtime.codec import from_plain
from tests.unit.cli.answers import run
from tests.unit.cli.test_host import table
from tests.unit.doctor.good import GOOD, changed

KEY = bytes(range(32)).hex()


def told(*arguments: str | Path) -> tuple[DoctorAnswer, int]:
    code, stdout, _ = run("doctor", "--json", *arguments)
    answer = from_plain(DoctorAnswer, json.loads(stdout))
    assert answer.code == code
    return answer, code


def whats(answer: DoctorAnswer, kind: str) -> list[str]:
    return [one.what for one in answer.findings if one.kind.value == kind]


def test_a_node_that_is_not_configured_yet(tmp_path: Path) -> None:
    answer, code = told("--config", tmp_path / "none.toml")
    assert code in {1, 2}
    (what,) = whats(answer, "not_configured")
    assert "none.toml" in what
    assert not whats(answer, "keepalived_down"), "nobody said that keepalived is to move anything"


def test_a_configuration_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[cluster]\nnam = 1\n")
    answer, code = told("--config", path)
    assert code == 2
    assert any("unknown key" in what for what in whats(answer, "configuration"))


def test_a_node_whose_sidecar_does_not_run(config: Path) -> None:
    (config.parent / "cluster.key").write_text(KEY)
    (config.parent / "cluster.key").chmod(0o600)
    answer, code = told("--config", config)
    assert code == 2
    assert whats(answer, "sidecar_down")
    assert any("bcn0 is missing" in what for what in whats(answer, "configuration_warning"))
    assert answer.node == "a"


@pytest.mark.usefixtures("daemon")
def test_what_the_sidecar_says_is_a_finding(config: Path) -> None:
    answer, _ = told("--config", config)
    assert not whats(answer, "sidecar_down")
    assert whats(answer, "key_file")


def test_the_state_before_the_server_s_turn_is_no_mistake(config: Path) -> None:
    """The VIP is the server's own address still, and it says no cluster."""
    server = config.parent / "server.conf"
    text = config.read_text().replace('vip = "', f'server_config = "{server}"\nvip = "')
    own = table((2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    server.write_text("local 192.0.2.10\nserver 10.8.0.0 255.255.255.0\n")
    before = read_configuration(config, parse_config(text, "f"), own)
    assert before.problems == ()
    assert any("does not say cluster yet" in line for line in before.pending)
    assert any("192.0.2.10 is still this node's own address" in line for line in before.pending)
    server.write_text(
        f"local 192.0.2.10\ncluster\ndisable-dco\nmanagement {config.parent}/udp.sock unix\n"
    )
    after = read_configuration(config, parse_config(text, "f"), own)
    assert after.problems == ()
    assert "192.0.2.10 is this node's own address" in after.own_vips["udp"]
    assert after.pending == ()


def test_a_kind_that_is_none(config: Path) -> None:
    code, _, stderr = run("doctor", "--ignore", "cluck", "--config", config)
    assert code == 2
    assert 'did you mean "clock"?' in stderr


def shown(answer: DoctorAnswer, width: int = 60) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        show_report(answer, console)
    return capture.get()


def test_a_command_stays_whole_however_narrow_the_terminal_is() -> None:
    answer = examine(changed(sidecar=None, firewall=Unread("run as root")))
    text = shown(answer, 20)
    assert text.index("Problems") < text.index("Not looked at")
    assert "  fix: systemctl enable --now ovpnha; journalctl -u ovpnha says why it ended" in text
    assert "- the packet filter: run as root" in text
    assert "node a: 1 problem, 0 warnings, 0 notes, 1 not looked at" in text


def test_a_good_node_is_one_line() -> None:
    (line,) = shown(examine(GOOD), 200).splitlines()
    assert line.startswith("node a: 0 problems, 0 warnings, 0 notes; ")


def test_what_conntrackd_is_given_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    path = tmp_path / "conntrackd.conf"
    monkeypatch.setattr(hostfacts, "CONNTRACKD_FILE", path)
    more = '[conntrack]\nmanager = "conntrackd"\nflows = ["10.8.0.0/24"]\n'
    config.write_text(config.read_text() + more)
    assert parse_config(config.read_text(), "f").conntrack.flows
    answer, _ = told("--config", config)
    assert any(one.what == "conntrackd's configuration" for one in answer.unmade)
