"""Why a machine ended, and what an error says of it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.clientlog import noticed
from tests.lab.dco import machine
from tests.lab.dco.cases import CRASHES_AT_MOST, Outcome, broken_promise
from tests.lab.dco.console import crash_line, emulator_line
from tests.lab.dco.guest import GuestClient
from tests.lab.dco.image import INIT, Image
from tests.lab.dco.machine import Machine, MachineEnded
from tests.lab.dco.series import Series, lines_of
from tests.lab.errors import LabError

OOPS = """\
[    0.000000] Command line: console=ttyS2 oops=panic panic=-1
[   85.406000] tun0: no available key for peer 1, key-id: 0
[   85.408622] BUG: kernel NULL pointer dereference, address: 0000000000000010
[   85.408700][  T311] #PF: supervisor read access in kernel mode
[   85.408800] Oops: Oops: 0000 [#1] SMP NOPTI
[   85.408900] RIP: 0010:ovpn_peer_del+0x1f/0x60 [ovpn]
[   85.409000] Kernel panic - not syncing: Fatal exception in interrupt
""".splitlines()
OURS = "[   9.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200"
LIVED = "[   9.1] WARNING: CPU: 0 PID: 1 at drivers/net/ovpn/peer.c:10 ovpn_peer_del+0x1f/0x60"


def test_a_kernel_s_first_word_of_its_end_and_its_place() -> None:
    line = "BUG: kernel NULL pointer dereference, address: 0000000000000010"
    assert crash_line(OOPS) == f"{line}, in ovpn_peer_del+0x1f/0x60"
    assert crash_line([*OOPS[:3], OURS]) == line
    program = "[    8.1] RIP: 0033:0x4b0642"
    assert (
        crash_line(["Kernel panic - not syncing: x\r", program]) == "Kernel panic - not syncing: x"
    )


@pytest.mark.parametrize(
    "lines",
    [
        [],
        OOPS[:2],
        [LIVED],
        [OURS],
        ["[  1.0] Kernel panic - not syncing: System is deadlocked: out of memory"],
        ["[  1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"],
    ],
    ids=["nothing", "no-word", "lived-on", "first-program", "too-small", "files"],
)
def test_what_is_no_fault_of_a_kernel(lines: list[str]) -> None:
    assert crash_line(lines) == ""


def test_an_emulator_that_broke_and_one_that_was_ended() -> None:
    told = "the emulator ended with SIGSEGV"
    assert emulator_line(-signal.SIGSEGV, []) == told
    assert emulator_line(-signal.SIGSEGV, ["a", "tcg: so "]) == f"{told}: tcg: so"
    assert emulator_line(-signal.SIGKILL, ["a"]) == emulator_line(0, ["a"]) == ""


class Emulator:
    """In place of the process of a machine: it runs until it has a status."""

    def __init__(self) -> None:
        self.started = True
        self.log = Path()
        self.status: int | None = None

    @property
    def running(self) -> bool:
        return self.status is None

    def wait(self) -> int:
        """Whoever has closed its end is about to end."""
        self.status = self.status or 0
        return self.status

    def discard(self) -> None:
        """Nothing is left of it in any case."""

    def tail(self, _count: int) -> list[str]:
        return ["OpenVPN's last word"]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Machine, socket.socket, Emulator]]:
    """A machine, the other end of its second serial line, and its emulator."""
    image = Image(tmp_path, tmp_path, tmp_path, "versions")
    one, emulator = Machine(image, "client", tmp_path, tmp_path), Emulator()
    one._control.close()
    one._control, guest = socket.socketpair()
    one._control.setblocking(False)
    one.process = emulator  # type: ignore[assignment]
    with one._control, guest:
        yield one, guest, emulator


MadeMachine = tuple[Machine, socket.socket, Emulator]


def test_what_a_command_says_and_its_status(made: MadeMachine) -> None:
    one, guest, _emulator = made
    guest.sendall(b"tun0: up\ndone 0\n")
    assert one.run("ip link") == "tun0: up"
    assert guest.recv(100) == b"/usr/bin/ip -color=never link\n"
    guest.sendall(b"no such thing\ndone 1\n")
    with pytest.raises(LabError, match=r"(?s)false: status 1: no such thing"):
        one.run("false")


@pytest.mark.parametrize("unread", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("known", [False, True], ids=["about-to-end", "ended"])
def test_a_machine_that_has_ended_says_why(made: MadeMachine, known: bool, unread: bool) -> None:
    """No error of a socket, whatever of its end is seen first: the process's, or the line's."""
    one, guest, emulator = made
    one.kernel_log.write_text("\n".join(OOPS))
    if unread:
        one._control.sendall(b"what nobody reads\n")
    guest.close()
    emulator.status = 0 if known else None
    with pytest.raises(MachineEnded, match=r"(?s)status 0.*Fatal exception.*last word") as raised:
        one.run("true")
    assert raised.value.crash.startswith("BUG: kernel NULL pointer")


def test_a_machine_that_ends_in_the_midst_of_a_command_says_why(made: MadeMachine) -> None:
    one, guest, emulator = made
    guest.sendall(b"half an ans")
    guest.shutdown(socket.SHUT_WR)
    with pytest.raises(MachineEnded, match="status 0") as raised:
        one.run("true")
    assert raised.value.crash == ""
    emulator.status = -signal.SIGSEGV
    with pytest.raises(MachineEnded, match="status -11") as raised:
        one.run("true")
    assert raised.value.crash.startswith("the emulator ended with SIGSEGV")


def test_what_was_waited_for_in_vain_is_put_down_to_the_end_of_the_machine(
    made: MadeMachine,
) -> None:
    """A key that did not come, an answer: nobody looked at the machine meanwhile."""
    one, _guest, emulator = made
    one.kernel_log.write_text("\n".join(OOPS))
    emulator.status = 0
    with pytest.raises(MachineEnded, match="status 0") as raised, one:
        raise LabError("not within 30 s: a new key of the client")
    assert isinstance(raised.value.__cause__, LabError)
    assert raised.value.crash


@pytest.mark.parametrize("started", [False, True], ids=["never-started", "runs"])
def test_an_error_of_the_lab_s_own_stays_what_it_is(made: MadeMachine, started: bool) -> None:
    one, _guest, emulator = made
    emulator.started = started
    emulator.status = None if started else 0
    with pytest.raises(LabError, match="not within") as raised, one:
        raise LabError("not within 30 s: a new key of the client")
    assert not isinstance(raised.value, MachineEnded)


def test_one_that_runs_and_does_not_answer_is_shown_too(
    made: MadeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _guest, _emulator = made
    one.kernel_log.write_text("[   9.1] watchdog: BUG: soft lockup\n")
    monkeypatch.setattr(machine, "COMMAND_SECONDS", 0.0)
    with pytest.raises(LabError, match=r"(?s)has not answered within 0 s;.*soft lockup"):
        one.run("true")


def test_no_command_ends_the_first_program() -> None:
    """Else a slip in one would be a panic of the kernel, and be taken for its fault."""
    text = INIT.read_text()
    loop = text[text.index("while read") :].partition("\ndone\n")[0] + "\ndone\n"
    loop = loop.replace("<&3", "<&0").replace(">&3", ">&1")  # both ends of one line here, too
    commands = "if\nexit 3\necho x >/nowhere/y\nf() { (\necho here; false\n"
    done = subprocess.run(
        ["dash", "-c", loop], input=commands, capture_output=True, text=True, check=True, timeout=30
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("dash: ")] == [
        *("done 2", "done 3", "done 2", "done 2"),
        *("here", "done 1"),
    ]


LINE = "1795728173.034959 14000002 Control Channel: TLSv1.3\n"
STAMP = 1_795_728_173_034_959_000


def test_a_machine_s_clock_is_set_again_until_it_is_right_and_its_error_is_known(
    made: MadeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, guest, _emulator = made
    monkeypatch.setattr(machine, "CLOCK_TRIES", 2)
    for limit, times in ((0, 2), (1 << 60, 1)):
        monkeypatch.setattr(machine, "CLOCK_ERROR", limit)
        guest.sendall(b"done 0\n" * times)
        one.set_clock()
        told = guest.recv(1000).decode().splitlines()
        assert [line.split("@")[0] for line in told] == ["date -s "] * times
        assert one.behind > 0
        assert int(told[-1].split("@")[1]) * machine.SECOND + one.behind <= time.time_ns()


def test_what_is_said_at_once_after_a_moment_counts_though_the_machine_s_clock_is_late(
    made: MadeMachine, tmp_path: Path
) -> None:
    one, _guest, emulator = made
    emulator.log = tmp_path / "machine.log"
    emulator.log.write_text(LINE)
    one.behind = 200_000_000
    client = GuestClient(one)
    assert [line.time for line in client.log()] == [STAMP + one.behind]
    assert [line.time for line in client.log()] == [STAMP + one.behind]
    moment = STAMP + one.behind - 1  # a renegotiation was ordered, by our clock
    assert noticed(client.log(), moment).renegotiations == 1


class Stages:
    """Boots stages, whose machines break in the cases that are told, each as often as told."""

    def __init__(self, *breaks: str, crash: str = "BUG: so") -> None:
        self._breaks = list(breaks)
        self._crash = crash
        self.booted = 0
        self.said: list[str] = []

    @contextmanager
    def boot(self) -> Iterator[int]:
        self.booted += 1
        yield self.booted

    def attempt(self, name: str, stage: int) -> Outcome:
        assert stage == self.booted
        if name in self._breaks:
            self._breaks.remove(name)
            raise MachineEnded("text", self._crash)
        return Outcome(name, 0, 10.0, 0.1, reconnected=False)

    def run(self, *cases: str) -> list[Outcome]:
        return Series(list(cases), self.said.append).run(self.boot, self.attempt)


def test_cases_share_a_machine_that_lives() -> None:
    stages = Stages()
    assert [outcome.case for outcome in stages.run("a", "b", "a")] == ["a", "b", "a"]
    assert (stages.booted, stages.said) == (1, [])


def test_a_case_in_which_the_machine_breaks_is_run_once_more_and_says_so() -> None:
    stages = Stages("b")
    outcomes = stages.run("a", "b", "c")
    assert [(one.case, one.crashes) for one in outcomes] == [
        ("a", ()),
        ("b", ("BUG: so",)),
        ("c", ()),
    ]
    assert stages.booted == CRASHES_AT_MOST + 1
    assert lines_of(outcomes) == ["b: BUG: so"]
    assert stages.said == ["b: the machine broke: BUG: so"]
    assert not any(map(broken_promise, outcomes))


def test_a_case_in_which_it_breaks_twice_has_failed_and_the_others_are_run() -> None:
    outcomes = Stages("a", "a").run("a", "b")
    assert [one.case for one in outcomes] == ["a", "b"]
    assert broken_promise(outcomes[0]) == "the machine broke 2 times: BUG: so"
    assert not broken_promise(outcomes[1])
    assert not outcomes[0].lost_for_good  # nobody knows


def test_a_machine_that_ends_for_another_reason_ends_the_run() -> None:
    with pytest.raises(MachineEnded, match="text"):
        Stages("b", crash="").run("a", "b")
