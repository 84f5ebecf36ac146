"""The checks of a node as they run: none delays another, and failures that stay are kept."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

from ovpnha.checks.judge import CheckOutcome
from ovpnha.checks.schedule import CheckNews
from ovpnha.config import CheckSection, Config
from ovpnha.config.paths import draft_of
from ovpnha.model import CheckState, InstanceName, Role, Verdict
from ovpnha.runtime.checks import CheckRunner

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
UDP = InstanceName("udp")
COMMON = {"kind": "command", "command": ["/bin/true"], "period": 0.5, "fall": 1, "rise": 1}


class Bench:
    """A runner whose probes say what they are told, and what came of it."""

    def __init__(self, directory: Path, *checks: Mapping[str, Any]) -> None:
        self.says: dict[str, Any] = {}
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.runs: dict[str, int] = {}
        self.environments: list[dict[str, str]] = []
        self.states: Mapping[InstanceName, tuple[CheckState, ...]] = {}
        self.news: list[CheckNews] = []
        config = Config.model_validate(
            {
                "cluster": {"name": "c", "node": "a"},
                "instance": [{"name": "udp", "management": "/run/x.sock"}],
                "control": {"socket": str(directory / "control.sock")},
                "check": [{**COMMON, **one} for one in checks],
            }
        )
        self.runner = CheckRunner(config, self._take, self.news.append, self._probe)

    def _take(self, states: Mapping[InstanceName, tuple[CheckState, ...]]) -> None:
        self.states = states

    async def _probe(
        self, one: CheckSection, environment: Mapping[str, str]
    ) -> tuple[CheckOutcome, str]:
        name = one.name
        self.environments.append(dict(environment))
        self.runs[name] = self.runs.get(name, 0) + 1
        self.running[name] = self.running.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.running[name])
        try:
            said = self.says.get(name, CheckOutcome.GOOD)
            if isinstance(said, asyncio.Event):
                await said.wait()
            if isinstance(said, Exception):
                raise said
            return said if isinstance(said, CheckOutcome) else CheckOutcome.GOOD, "said"
        finally:
            self.running[name] -= 1

    def verdict(self, name: str) -> Verdict:
        return next(one.verdict for one in self.states[UDP] if one.name == name)


@contextlib.asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.runner.run())
    try:
        yield bench
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_one_that_hangs_delays_nothing(tmp_path: Path, until: Until) -> None:
    bench = Bench(tmp_path, {"name": "slow"}, {"name": "quick"})
    bench.says["slow"] = asyncio.Event()
    async with running(bench):
        await until(lambda: bench.runs.get("quick", 0) >= 3)
        assert bench.runs["slow"] == 1
        assert bench.verdict("quick") is Verdict.OK
        assert bench.verdict("slow") is Verdict.UNKNOWN
        bench.says["slow"].set()
        await until(lambda: bench.runs["slow"] >= 2)
    assert set(bench.most.values()) == {1}
    assert bench.runner.age("quick") is not None


async def test_a_failure_that_stays_is_kept_over_a_restart(tmp_path: Path, until: Until) -> None:
    check = {"name": "lan", "sticky": True}
    bench = Bench(tmp_path, check)
    bench.says["lan"] = CheckOutcome.BAD
    async with running(bench):
        await until((tmp_path / "checks.stuck").exists)
    again = Bench(tmp_path, check)
    async with running(again):
        await until(lambda: again.runs.get("lan", 0) >= 2)
        assert again.verdict("lan") is Verdict.FAILED
        assert again.runner.reset("lan") == ("lan",)
        await until(lambda: again.verdict("lan") is Verdict.OK)
    assert Bench(tmp_path, check).runner.reset(None) == ()
    assert [one.verdict for one in again.news] == [Verdict.UNKNOWN, Verdict.OK]


async def test_what_was_kept_and_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    for text in ("{", '"lan"', "[1, null]", "[]"):
        (tmp_path / "checks.stuck").write_text(text)
        assert Bench(tmp_path, {"name": "lan", "sticky": True}).runner.reset(None) == ()


async def test_where_it_cannot_be_kept_it_counts_all_the_same(tmp_path: Path, until: Until) -> None:
    bench = Bench(tmp_path / "none", {"name": "lan", "sticky": True})
    bench.says["lan"] = CheckOutcome.BAD
    async with running(bench):
        await until(lambda: bench.news)
    assert bench.news[0].verdict is Verdict.FAILED


async def test_one_for_a_master_runs_when_this_is_one(tmp_path: Path, until: Until) -> None:
    bench = Bench(
        tmp_path,
        {"name": "client", "master_only": True, "instance": "udp", "period": 60.0},
        {"name": "lan"},
    )
    async with running(bench):
        await until(lambda: bench.runs.get("lan", 0) >= 1)
        assert "client" not in bench.runs
        bench.runner.role_changed(UDP, Role.MASTER)
        await until(lambda: bench.runs.get("client"))
    told = next(one for one in bench.environments if one["OVPNHA_CHECK"] == "client")
    assert (told["OVPNHA_NODE"], told["OVPNHA_INSTANCE"]) == ("a", "udp")
    assert told["OVPNHA_ROLE"] == "master"
    assert bench.runner.names() == ("client", "lan")


async def test_where_nothing_can_be_run_nothing_is_known(tmp_path: Path, until: Until) -> None:
    bench = Bench(tmp_path, {"name": "lan"})
    bench.says["lan"] = OSError(24, "Too many open files")
    async with running(bench):
        await until(lambda: bench.runs.get("lan", 0) >= 2)
        assert bench.verdict("lan") is Verdict.UNKNOWN
        assert "Too many open files" in bench.states[UDP][0].text


async def test_a_check_with_a_fault_ends_nothing(tmp_path: Path, until: Until) -> None:
    bench = Bench(tmp_path, {"name": "lan"}, {"name": "quick"})
    bench.says["lan"] = ValueError("a text that is no address")
    with structlog.testing.capture_logs():
        async with running(bench):
            await until(lambda: bench.runs.get("lan", 0) >= 2 and bench.runs["quick"] >= 2)
        assert bench.verdict("lan") is Verdict.UNKNOWN
        assert "cannot be looked at: ValueError" in [one.text for one in bench.states[UDP]]


async def test_the_log_says_of_which_instance_a_check_is(tmp_path: Path, until: Until) -> None:
    bench = Bench(tmp_path, {"name": "lan", "instance": "udp"}, {"name": "node"})
    with structlog.testing.capture_logs() as lines:
        async with running(bench):
            await until(lambda: {one.name for one in bench.news} == {"lan", "node"})
    told = {line["check"]: line.get("instance") for line in lines if line["event"] == "check"}
    assert told == {"lan": "udp", "node": None}


async def test_a_failure_that_stays_and_could_not_be_kept_is_kept_when_there_is_room(
    tmp_path: Path, until: Until
) -> None:
    bench = Bench(tmp_path, {"name": "stays", "sticky": True, "period": 0.5})
    bench.says["stays"] = CheckOutcome.BAD
    draft = draft_of(tmp_path / "checks.stuck")
    (draft / "in the way").mkdir(parents=True)
    with structlog.testing.capture_logs() as logged:
        async with running(bench):
            await until(lambda: bench.runs.get("stays", 0) > 2)
            assert not (tmp_path / "checks.stuck").exists()
            shutil.rmtree(draft)
            await until((tmp_path / "checks.stuck").exists)
    assert len([one for one in logged if one["event"] == "failed checks not kept"]) == 1
