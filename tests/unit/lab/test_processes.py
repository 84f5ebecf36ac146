"""Processes that end while they are looked at."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab import processes
from tests.lab.errors import LabError
from tests.lab.process import Process, kill_group
from tests.lab.waiting import wait_until

SECONDS = 10.0


def test_a_process_is_told_with_all_that_it_has_started() -> None:
    script = "sleep 60 & exec sh -c 'sleep 60 & wait'"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as one:
        wait_until(
            lambda: len(list(processes.find_descendants(one.pid))) == 3, "both children", SECONDS
        )
        assert next(processes.find_descendants(one.pid)) == one.pid
        assert processes.name_of(one.pid) == "sh"
        (first, *_) = processes.find_children(one.pid)
        assert processes.is_running(first)
        os.killpg(one.pid, 9)


def test_one_that_ends_is_seen_to_end() -> None:
    with subprocess.Popen(["sleep", "60"]) as one:
        descriptor = processes.open_process(one.pid)
        assert descriptor is not None
        one.kill()
        assert select.select([descriptor], [], [], SECONDS)[0]
        os.close(descriptor)
        assert not processes.is_running(one.pid)  # nobody has waited for it yet


def test_one_that_is_told_to_stop_is_seen_to_have_stopped() -> None:
    with subprocess.Popen(["sleep", "60"]) as one:
        assert not processes.is_stopped(one.pid)
        one.send_signal(signal.SIGSTOP)
        wait_until(lambda: processes.is_stopped(one.pid), "it is stopped", SECONDS)
        one.kill()
    assert not processes.is_stopped(one.pid)


def test_one_that_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"]) as one:
        pass
    assert processes.find_children(one.pid) == []
    assert list(processes.find_descendants(one.pid)) == [one.pid]
    assert processes.name_of(one.pid) == ""
    assert not processes.is_running(one.pid)
    assert processes.open_process(one.pid) is None


def test_one_that_ends_between_opening_and_reading_is_no_error() -> None:
    with subprocess.Popen(["sleep", "60"]) as one:
        with Path(f"/proc/{one.pid}/task/{one.pid}/children").open() as opened:
            one.kill()
            one.wait()
            try:
                text = opened.read()
            except ProcessLookupError:  # what the others must expect
                text = ""
        assert text == ""
        assert processes.find_children(one.pid) == []


def test_a_program_of_the_lab_that_has_ended_says_with_which_status(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    one = Process(["true"], namespace="none", directory=tmp_path, log=log)
    assert not one.started
    with pytest.raises(LabError, match=r"^server has ended:$"):
        one.expect_running()
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    one._popen = subprocess.Popen(["sh", "-c", "kill -SEGV $$"])
    one.wait()
    with pytest.raises(LabError, match=r"^server has ended with status -11:\nline 12\n") as raised:
        one.expect_running()
    assert str(raised.value).endswith("\nline 19")
    assert one.started


def test_a_number_that_is_another_one_s_by_now_is_not_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _signal: killed.append(group))
    with subprocess.Popen(["true"]) as one:
        number = one.pid
        kill_group(one)
        one.wait()
        kill_group(one)
        one.pid = os.getpid()
        kill_group(one)
    assert killed == [number, number]
