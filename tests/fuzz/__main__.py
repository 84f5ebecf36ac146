"""``python -m tests.fuzz``: coverage-guided fuzzing of all that reads bytes from outside.

    --seconds N     for each target (20)
    --target NAME   only this one
    --again FILE    run one input that was found, and nothing else

Each target runs in a process of its own, as many at once as there are cores. An exception that is
not the protocol's own, an input that takes more than five seconds, and memory that grows are
failures: the input stays in build/fuzz, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOUND = Path("build/fuzz")
MEMORY_MB = 1024  # of one process, instrumentation and corpus included
GROWTH_MB = 256  # beyond what the first inputs took
WARM_RUNS = 2000
INPUT_LIMIT = 4096
NAMES = ("opener", "decoder", "messages", "packing", "protocol", "grammar", "management")


def main(arguments: list[str]) -> int:
    """Fuzz; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--target", choices=NAMES)
    parser.add_argument("--again", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        _fuzz(options.target, options.seconds)
        return 0
    names = NAMES if options.target is None else (options.target,)
    if options.again is not None:
        _run_again(names[0], options.again)
        return 0
    FOUND.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda name: _start(name, options.seconds), names))
    return max(results)


def _start(name: str, seconds: int) -> int:
    arguments = ["--inside", "--target", name, "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(f"{name}: FAILED\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    last = [line for line in done.stderr.splitlines() if line.startswith("Done")]
    print(f"{name}: {last[-1] if last else 'no runs'}")
    return 0 if last else 1


def _run_again(name: str, file: Path) -> None:
    from tests.fuzz.targets import TARGETS

    TARGETS[name].run(file.read_bytes())


def _fuzz(name: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["ovpnha"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="oha-fuzz") as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = (f"-rss_limit_mb={MEMORY_MB}", f"-max_len={INPUT_LIMIT}", "-timeout=5")
        bounds = (f"-max_total_time={seconds}", f"-artifact_prefix={FOUND}/{name}-")
        atheris.Setup([sys.argv[0], *limits, *bounds, corpus], _Watched(target.run))
        atheris.Fuzz()


class _Watched:
    """Runs inputs and sees that they leave no memory behind."""

    def __init__(self, run: object) -> None:
        self._run = run
        self._runs = 0
        self._warm = 0.0

    def __call__(self, data: bytes) -> None:
        assert callable(self._run)
        self._run(data)
        self._runs += 1
        if self._runs == WARM_RUNS:
            self._warm = _memory_mb()
        elif self._runs % WARM_RUNS == 0 and _memory_mb() > self._warm + GROWTH_MB:
            raise MemoryError(f"more than {GROWTH_MB} MB have stayed behind")


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
