"""``ovpnha restart-openvpn`` and processes that are not those of their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.runtime import restartunits
from ovpnha.runtime.restartunits import UnitError
from tests.unit.cli.answers import run
from tests.unit.cli.restart.answers import BOTH, LOOK, SPARE, UNIT, Daemon


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The units whose processes run, by their numbers, as ``put`` has them written."""
    monkeypatch.setattr(restartunits, "PROCESSES", tmp_path / "proc")
    return {}


def put(processes: dict[int, str], tmp_path: Path) -> None:
    for pid, unit in processes.items():
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        text = f"0::/system.slice/system-openvpn.slice/{unit}\n"
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(text)


STOCK = "openvpn-server@udp.service"


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--force",)])
def test_a_server_of_another_unit_is_not_touched(
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    options: tuple[str, ...],
) -> None:
    """To start ours would have systemd stop the one that serves."""
    asked, answers = daemon
    answers.append({**LOOK, "pids": {"main": 30}, "places": {"main": "master"}})
    processes[30] = STOCK
    put(processes, tmp_path)
    code, out, err = run("restart-openvpn", "-c", config, *options)
    assert (code, out, asked, orders) == (3, "", ["look"], [])
    err = " ".join(err.split())
    assert f"the main process (pid 30, of {STOCK}) is not that of {BOTH[1]}" in err
    assert f"systemctl disable --now {STOCK}, then systemctl enable --now {BOTH[1]}" in err


def test_nor_is_a_spare_of_no_unit_that_serves(
    config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, processes: dict[int, str]
) -> None:
    """The way back would start a main process, and stop what is not there."""
    daemon[1].append({**SPARE, "pids": {"main": 10, "spare": 31}})
    processes |= {10: BOTH[1], 31: "session-1.scope"}
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (3, [])
    assert "the spare process (pid 31) is not that of" in err
    assert "end process 31; or start and end processes yourself" in " ".join(err.split())


@pytest.mark.parametrize(
    ("pid", "unit", "says"),
    [
        (30, "openvpn-cluster@server.service", 'server_config = "/etc/openvpn/server/server.conf"'),
        (30, UNIT, "exchange management and spare_management"),
        (30, BOTH[1], f"in {BOTH[1]}, but not its main process (pid 10): let ExecStart="),
    ],
)
@pytest.mark.parametrize("options", [("--dry-run",), ("--force",)])
def test_nobody_is_told_to_end_a_process_of_our_own_units(  # noqa: PLR0913
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    pid: int,
    unit: str,
    says: str,
    options: tuple[str, ...],
) -> None:
    """It is the server: what is to be corrected is the name, or how it is started."""
    daemon[1].append({**LOOK, "pids": {"main": pid}, "places": {"main": "master"}})
    processes[pid] = unit
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config, *options)
    assert (code, orders) == (3, [])
    err = " ".join(err.split())
    assert says in err
    assert "disable" not in err
    assert "end process" not in err


def test_one_that_its_unit_has_left_behind_is_ended_first(
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The unit has no main process, and would start another one beside it."""
    monkeypatch.setattr(restartunits, "_systemctl", lambda *_: "0\n")
    daemon[1].append({**LOOK, "pids": {"main": 30}, "places": {"main": "master"}})
    processes[30] = BOTH[1]
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (3, [])
    assert f"end process 30, then systemctl enable --now {BOTH[1]}" in " ".join(err.split())


def test_a_process_whose_number_nobody_knows_is_its_units_if_that_runs_any(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it has none in the sidecar's container."""
    unknown = {**LOOK, "pids": {}}
    daemon[1].append(unknown)
    assert run("restart-openvpn", "-c", config, "--dry-run")[0] == 0
    monkeypatch.setattr(restartunits, "_systemctl", lambda *_: "0\n")
    daemon[1].append(unknown)
    code, _, err = run("restart-openvpn", "-c", config, "--dry-run")
    assert (code, orders) == (3, [])
    assert "the main process (no process of this host) is not that of" in err


def test_a_process_that_has_ended_meanwhile_is_nobodys(
    config: Path, daemon: Daemon, orders: list[str], processes: dict[int, str]
) -> None:
    """One that systemd starts anew all the time has always another number."""
    assert (orders, processes) == ([], {})
    daemon[1].append({**LOOK, "pids": {"main": 10, "spare": 44}})
    assert run("restart-openvpn", "-c", config, "--dry-run")[0] == 0


def test_where_systemd_does_not_answer_nothing_begins(
    config: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> str:
        raise UnitError("systemctl show: no bus")

    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    daemon[1].append(LOOK)
    assert run("restart-openvpn", "-c", config) == (3, "", "ovpnha: udp: systemctl show: no bus\n")
    daemon[1].append(LOOK)
    assert run("restart-openvpn", "-c", config, "--no-start", "--dry-run")[0] == 0
