"""Taking a lab away, no matter who is left to do it.

A run owns its directory under ``/run`` and the namespaces with its name. While the lab lives it
holds a lock on a file there. A run without a holder is stale and may be removed by anyone: by its
guard (a small process that outlives a killed lab), by the next lab, by ``python -m tests.lab
--clean``. Only processes that live inside the run's own namespaces are ended, and only runs that
are stale.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from tests.lab import plan
from tests.lab.processes import is_running
from tests.lab.waiting import wait_until

NAMESPACES = Path("/run/netns")


class Claim:
    """The ownership of a run: directory, lock and guard. Leaving the block removes the run."""

    def __init__(self, run_id: str, *, keep: bool = False) -> None:
        self.run_id = run_id
        self.directory = plan.run_directory(run_id)
        self._keep = keep
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Claim:
        with _claiming():
            self.directory.mkdir(mode=0o700)
            self._lock = (self.directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        package_root = str(Path(__file__).parents[2])
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.cleanup", self.run_id],
            stdin=subprocess.PIPE,
            cwd="/",
            env=dict(os.environ) | {"PYTHONPATH": package_root},
            start_new_session=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._guard is None or self._guard.stdin is None or self._lock is None:
            return
        if self._keep:
            keep_files(self.directory)
        self._lock.close()
        self._guard.stdin.close()
        self._guard.wait()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what runs as Ctrl-C does, so that everything is taken away in order."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def keep_files(directory: Path) -> None:
    """Save the logs of a run beside the lab's results before the run goes away."""
    target = Path("build/lab/logs") / directory.name
    shutil.copytree(directory, target, ignore=_only_texts, dirs_exist_ok=True)


def _only_texts(directory: str, names: list[str]) -> set[str]:
    kept = (".log", ".conf", ".toml", ".events")
    return {
        name for name in names if not name.endswith(kept) and not (Path(directory) / name).is_dir()
    }


def remove(run_id: str) -> None:
    """End what lives in the run's namespaces, delete them, and delete the directory."""
    names = list(NAMESPACES.glob(f"{plan.PREFIX}{run_id}-*"))
    end_inhabitants({path.stat().st_ino for path in names})
    for path in names:
        subprocess.run(["ip", "netns", "delete", path.name], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(plan.run_directory(run_id), ignore_errors=True)


def end_inhabitants(inodes: Collection[int], spared: Collection[int] = ()) -> None:
    """Kill what lives in network namespaces with these inodes; on return it is gone."""

    def left() -> list[int]:
        return [pid for pid in _inhabitants(inodes) if pid not in spared]

    for pid in left():
        _kill(pid)
    wait_until(lambda: not left(), "the end of all that lives in a namespace", 10)


def stale_runs() -> list[str]:
    """The runs on this machine whose lab is gone."""
    runs = {path.name.removeprefix(plan.PREFIX) for path in plan.RUN_ROOT.glob(f"{plan.PREFIX}*")}
    runs |= {_run_of(path.name) for path in NAMESPACES.glob(f"{plan.PREFIX}*")}
    return sorted(run for run in runs if not _is_held(plan.run_directory(run) / "lock"))


def clean() -> list[str]:
    """Remove every stale run and say which they were."""
    with _claiming():
        stale = stale_runs()
    for run_id in stale:
        remove(run_id)
    return stale


@contextmanager
def _claiming() -> Iterator[None]:
    """Nobody judges a run stale while another is between making its directory and its lock."""
    root = os.open(plan.RUN_ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        yield
    finally:
        os.close(root)


def _run_of(namespace: str) -> str:
    return namespace.removeprefix(plan.PREFIX).partition("-")[0]


def _is_held(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _inhabitants(inodes: Collection[int]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                inode = (entry / "ns/net").stat().st_ino
            except OSError:
                continue
            if inode in inodes and is_running(int(entry.name)):
                yield int(entry.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _guard(run_id: str) -> None:
    """Wait for the lab's end, however it comes, then remove its run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    remove(run_id)


if __name__ == "__main__":
    _guard(sys.argv[1])
