"""``ovpnha restart-openvpn --binary``: another program is on trial until it has served."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartsteps
from ovpnha.cli.lint import lint
from ovpnha.config import load_config
from ovpnha.runtime import control, restartunits
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.restartunits import OtherUnits, UnitError
from ovpnha.runtime.trialmarks import mark_of
from tests.unit.cli.answers import run
from tests.unit.cli.restart.answers import (
    AGAINST,
    APART,
    BOTH,
    FAILED,
    LOOK,
    MAIN,
    SPARE,
    THERE,
    UNIT,
    Daemon,
    end_while_waiting,
    watch_after_the_second_move,
)


def used(tmp_path: Path) -> dict[str, str]:
    """What the drop-ins of the units start."""
    found = (tmp_path / "units").glob("*.d/ovpnha-binary.conf")
    return {one.parent.name.removesuffix(".d"): one.read_text() for one in found}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = tmp_path / "openvpn-new"
    made.touch(0o755)
    return made


@dataclass(frozen=True)
class Trial:
    """A restart to another program, and what comes of it."""

    config: Path
    program: Path
    answers: list[dict[str, Any]]  # the daemon's
    orders: list[str]
    directory: Path

    def run(self, *options: str) -> tuple[int, str, str]:
        return run("restart-openvpn", "-c", self.config, "--binary", self.program, *options)

    @property
    def used(self) -> dict[str, str]:
        return used(self.directory)


@pytest.fixture
def trial(config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, program: Path) -> Trial:
    return Trial(config, program, daemon[1], orders, tmp_path)


def refuse(
    monkeypatch: pytest.MonkeyPatch, verb: str, when: Callable[[], bool] = lambda: True
) -> None:
    """systemd does not do this any more, while that is so."""
    order = restartunits._systemctl

    def answer(*arguments: str) -> str:
        if arguments[0] == verb and when():
            raise UnitError(f"systemctl {verb}: refused")
        return order(*arguments)

    monkeypatch.setattr(restartunits, "_systemctl", answer)


def note_renewals(monkeypatch: pytest.MonkeyPatch, orders: list[str]) -> None:
    """Among the orders, when a process is told to end."""
    ask = control.ask_plain

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "renew":
            orders.append("renew")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)


@pytest.mark.parametrize("policy", ["restart", "always"])
def test_another_program_is_that_of_both_units_before_a_process_ends(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """systemd starts anew what has ended, within 0.2 s."""
    note_renewals(monkeypatch, trial.orders)
    answers = (
        [LOOK, LOOK, SPARE, SPARE, MAIN] if policy == "restart" else [LOOK, LOOK, SPARE, SPARE]
    )
    trial.answers.extend(answer | {"policy": policy} for answer in answers)
    assert trial.run()[0] == 0
    assert trial.orders[:2] == ["daemon-reload", "renew"]
    line = f"ExecStart={trial.program} --status s.log --config udp.conf\n"
    assert trial.used == dict.fromkeys(BOTH, f"[Service]\nExecStart=\n{line}")


def test_the_next_restart_is_to_the_installed_program(
    config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, program: Path
) -> None:
    for more in (["--binary", str(program)], []):
        daemon[1].extend([LOOK, LOOK, SPARE, SPARE, MAIN])
        assert run("restart-openvpn", "-c", config, *more)[0] == 0
    assert used(tmp_path) == {}
    assert orders.count("daemon-reload") == 2


@pytest.fixture
def cut_off(trial: Trial) -> Trial:
    """Somebody has tried the program, and was killed."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        OtherUnits(load_config(trial.config, "a").instance[0]).use(trial.program)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert str(trial.program) in trial.used[UNIT]
    return trial


@pytest.mark.parametrize("again", [False, True])
def test_what_was_cut_off_is_taken_back_first(cut_off: Trial, again: bool) -> None:
    """Also when the next one fails: what was there before both is there again."""
    cut_off.answers.extend([THERE, THERE, {**THERE, **FAILED}, *([THERE] if again else [])])
    options: list[str | Path] = ["--binary", cut_off.program] if again else []
    code, _, err = run("restart-openvpn", "-c", cut_off.config, *options)
    assert code == 1
    assert f"an earlier restart with {cut_off.program} was cut off" in err
    assert cut_off.orders[0] == "daemon-reload"
    assert cut_off.used == {}
    assert not list(cut_off.directory.glob("units/*.d/*"))


def test_what_was_cut_off_is_told(cut_off: Trial) -> None:
    config = load_config(cut_off.config, "a")
    said = [line for line in lint(config, NetworkTable()) if "cut off" in line]
    assert said == [
        f"instance[udp]: a restart that tried {cut_off.program} was cut off, and its units start"
        " that program still; ovpnha restart-openvpn udp"
    ]


def test_of_two_that_try_a_program_the_second_is_refused(trial: Trial) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    units.use(trial.program)
    assert OtherUnits(load_config(trial.config, "a").instance[0]).find_cut_off() == ""
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert code == 1
    assert f"another restart is under way, which tries {trial.program}" in err
    units.keep()
    assert str(trial.program) in trial.used[UNIT]
    assert units.find_cut_off() == ""


def test_a_mark_that_cannot_be_written_leaves_none(trial: Trial) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    trial.directory.joinpath("units").mkdir()
    (trial.directory / "units" / f"{BOTH[1]}.d").touch()
    with pytest.raises(UnitError, match="File exists"):
        units.use(trial.program)
    assert units.find_cut_off() == ""
    assert trial.used == {}


def test_a_program_that_passed_once_comes_back_after_a_trial_that_was_cut_off(
    cut_off: Trial,
) -> None:
    units = OtherUnits(load_config(cut_off.config, "a").instance[0])
    before = dict.fromkeys(map(str, units._files().values()), "[Service]\nExecStart=/passed\n")
    text = json.dumps({"program": "/tried", "before": before})
    mark_of(units._marked).write_text(text)
    assert units.take_back_cut_off() == "/tried"
    assert cut_off.used == dict.fromkeys(BOTH, "[Service]\nExecStart=/passed\n")
    assert units.take_back_cut_off() == ""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_program_that_has_passed_has_passed_in_both_units_whenever_it_is_killed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By SIGKILL at any file that is taken away, or afterwards: all of it counts, or nothing."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        units = OtherUnits(load_config(trial.config, "a").instance[0])
        units.use(trial.program)
        calls, unlink = itertools.count(1), Path.unlink

        def killed(path: Path, missing_ok: bool = False) -> None:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", killed)
        units.keep()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    OtherUnits(load_config(trial.config, "a").instance[0]).take_back_cut_off()
    assert set(trial.used) in (set(), set(BOTH))


def test_a_program_that_has_passed_stays_whatever_becomes_of_the_way_back(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes it for one that was cut off, from the moment on in which it has passed."""
    ask, moves = control.ask_plain, itertools.count(1)
    seen: list[str] = []

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "move" and next(moves) == 2:
            marks = trial.directory.glob("units/*.d/*.before")
            seen.extend(one.name for one in marks)
            seen.append("moves back")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    trial.answers.extend([LOOK, LOOK, SPARE, SPARE, MAIN])
    assert trial.run()[0] == 0
    assert seen == ["moves back"]
    assert set(trial.used) == set(BOTH)


@pytest.mark.parametrize("text", ["", "/tried\n", "[]", '{"program": "x"}', '{"before": 3}'])
def test_a_mark_that_says_nothing_is_none(trial: Trial, text: str) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    units._marked.parent.mkdir(parents=True)
    mark_of(units._marked).write_text(text)
    assert (units.find_cut_off(), units.take_back_cut_off()) == ("", "")


def test_a_program_that_did_not_come_to_serve_is_started_by_nobody_later(trial: Trial) -> None:
    trial.answers.extend([THERE, THERE, {**THERE, **FAILED}, THERE])
    assert trial.run()[0] == 1
    assert trial.used == {}
    assert trial.orders[-2:] == ["daemon-reload", f"restart --no-block {UNIT}"]


@pytest.mark.parametrize("policy", ["restart", "always"])
def test_a_program_that_served_and_died_is_started_by_nobody_later(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Nor does it stay beside the one that serves, to go on when that dies."""
    monkeypatch.setattr(restartsteps, "WATCH", 60.0)
    gone = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    answers = (gone, LOOK, SPARE, LOOK, LOOK)
    trial.answers.extend(answer | {"policy": policy} for answer in answers)
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    order = "stop" if policy == "restart" else "restart"
    assert trial.orders[-2:] == ["daemon-reload", f"{order} --no-block {UNIT}"]
    assert err.endswith("see the log of OpenVPN; the main process serves on\n")


def test_one_that_died_with_the_role_that_it_had_again_is_not_started_either(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_after_the_second_move(monkeypatch)
    trial.answers.extend([LOOK, LOOK, SPARE, SPARE, MAIN, SPARE, SPARE])
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert trial.orders[-2:] == ["daemon-reload", f"restart --no-block {BOTH[1]}"]
    assert err.endswith("see the log of OpenVPN; the spare process serves on\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_leaves_no_program_that_has_not_served(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A lost terminal or SIGTERM is as Ctrl-C; a second one does not keep it from that."""
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    waits = {**LOOK, "phase": "waiting"}
    trial.answers.extend([THERE, LOOK, waits, *[{**LOOK, "phase": "failed"}] * 3])
    ask, order = control.ask_plain, restartunits._systemctl

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step in ("wait", "cancel"):
            signal.raise_signal(number)
        return ask(path, request, timeout)

    def ordered(*arguments: str) -> str:
        if arguments[0] == "restart":
            signal.raise_signal(number)
        return order(*arguments)

    monkeypatch.setattr(control, "ask_plain", asked)
    monkeypatch.setattr(restartunits, "_systemctl", ordered)
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert trial.orders[-1] == f"restart --no-block {UNIT}"
    assert err.endswith("ovpnha: udp: was ended; the main process serves\n")
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)] == before


def test_who_ends_it_in_the_midst_of_a_move_ends_no_process_that_gets_the_role(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended then, it would cost every client a second takeover."""
    waits, holds = {**LOOK, "phase": "waiting"}, {**APART, "phase": "holding"}
    done = {**SPARE, "phase": "done"}
    trial.answers.extend([THERE, LOOK, waits, holds, done, done, done])
    ask = control.ask_plain
    interrupted: list[str] = []

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "wait" and not interrupted:
            interrupted.append(request.step)
            raise KeyboardInterrupt
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process runs what was tried, until it is started anew" in err


def test_who_cannot_ask_ends_nobody_who_may_serve(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = control.ask_plain

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if not trial.answers:
            raise control.ControlError("control.sock: ovpnha does not run here")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process may run what was tried" in err
    assert "ovpnha does not run here; who serves is not known" in err


def test_one_that_serves_is_not_ended_for_what_it_runs(trial: Trial) -> None:
    """The sidecar that was to move the role was started anew, and finds it moved."""
    forgot = {**SPARE, "phase": ""}
    trial.answers.extend([LOOK, LOOK, forgot, forgot])
    code, _, err = trial.run("--force")
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process runs what was tried, until it is started anew" in err
    assert err.endswith(f"{restartsteps.FORGOTTEN}; the spare process serves on\n")


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_who_cannot_take_a_program_out_again_says_so(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """And why it was to be taken out. The units would start it by force: nothing is forced."""
    refuse(monkeypatch, "daemon-reload", lambda: not trial.used)
    trial.answers.extend([LOOK, LOOK, FAILED, LOOK])
    code, _, err = trial.run(*options)
    assert (code, len(trial.orders)) == (1, 2)
    why = "it differs; systemctl daemon-reload: refused; the units may start what was tried"
    assert err.endswith(f"ovpnha: udp: {why}, until that is done; the main process serves\n")


def test_a_process_that_cannot_be_started_anew_hides_not_why_it_was_to_be(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "restart")
    trial.answers.extend([THERE, THERE, {**THERE, **FAILED}, THERE, THERE])
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert err.endswith("udp: it differs; systemctl restart: refused; the main process serves\n")


def test_nor_does_a_second_refusal_hide_the_first_one(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "start")
    refuse(monkeypatch, "daemon-reload", lambda: not trial.used)
    trial.answers.extend([LOOK] * 4)
    assert "systemctl start: refused; systemctl daemon-reload: refused; the" in trial.run()[2]


def test_who_ends_it_and_cannot_take_it_out_again_is_told_both(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_while_waiting(monkeypatch)
    refuse(monkeypatch, "daemon-reload", lambda: not trial.used)
    trial.answers.extend([LOOK, LOOK, {**LOOK, "phase": "waiting"}, LOOK, LOOK])
    assert "udp: was ended; systemctl daemon-reload: refused; the units" in trial.run()[2]


def test_a_directory_that_cannot_be_written_is_told(trial: Trial) -> None:
    (trial.directory / "units").touch()
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.orders) == (1, [])
    assert "be root; the main process serves" in err


def test_a_unit_that_is_not_there_gets_no_program(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = restartunits._systemctl
    known = "--property=MainPID"
    monkeypatch.setattr(restartunits, "_systemctl", lambda *a: order(*a) if known in a else "\n")
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert "no unit openvpn-cluster@udp.service that starts OpenVPN; the main process serves" in err


def test_who_tries_a_program_ends_nobody_whom_a_new_sidecar_does_not_know_yet(
    trial: Trial,
) -> None:
    trial.answers.extend([LOOK, LOOK, FAILED, {**LOOK, "places": {}, "pids": {}}])
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process may run what was tried: start it anew" in err


def test_a_program_that_does_not_come_up_by_force_is_taken_out_again(
    config: Path,
    orders: list[str],
    tmp_path: Path,
    program: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restartsteps, "FOUND_WITHIN", 0.0)
    gone = {**LOOK, "places": {"main": "absent"}}
    first = [AGAINST, AGAINST]

    def answer(*_: Any) -> dict[str, Any]:
        return first.pop() if first else gone

    monkeypatch.setattr(control, "ask_plain", answer)
    options = ("--force", "--binary", str(program), "--within", "100ms")
    code, _, err = run("restart-openvpn", "-c", config, *options)
    assert (code, used(tmp_path)) == (1, {})
    assert orders[-2:] == ["daemon-reload", f"restart --no-block {BOTH[1]}"]
    assert err.endswith("it is absent; no client is served here: the main process is absent\n")
