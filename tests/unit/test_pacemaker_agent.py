"""``deploy/pacemaker/ovpnha`` among programs that do what Pacemaker's and the host's do."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.waiting import wait_until

AGENT = Path(__file__).parents[2] / "deploy/pacemaker/ovpnha"
SECONDS = 30.0
STOP_SECONDS = 20.0
"""What Pacemaker gives it; the node is fenced then."""
INSTALLED = 5  # of this node only; 6 has Pacemaker stop it on all
SERVES = 8  # what monitor says of a node that is promoted

HARNESS = """
set -eu
OCF_RESKEY_addresses='' poll=0 name=x round=0 found=5 state=/nowhere/x
judge() { :; }
ocf_log() { :; }
nap() { :; }
say() { echo said; }
score() { # a clock that is set back in every round
    round=$((round + 1)) SECONDS=$((9000 - round))
    ((round <= 350)) || exit 0
}
"""
FUNCTIONS = """
OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_INSTALLED=5 OCF_ERR_CONFIGURED=6
OCF_NOT_RUNNING=7
ocf_log() { :; }
ocf_exit_reason() { echo "$1" >&2; }
"""
# crm_master takes its time, as it does.
CRM_MASTER = """#!/bin/bash
sleep 0.1
echo "${@: -1}" >>"$PLACE/scores"
"""
# With the addresses comes another grade, where there is one.
IP = """#!/bin/bash
[[ "$*" == *show* ]] || cat >>"$PLACE/orders"
[[ $(cat "$HA_RSCTMP/ovpnha-udp.role" 2>/dev/null) == promoted && -e $PLACE/then ]] || exit 0
mv "$PLACE/then" "$PLACE/grade"
"""


def test_a_score_is_said_again_though_the_clock_is_set_back(tmp_path: Path) -> None:
    text = AGENT.read_text()
    (again,) = re.findall(r"^again=\d+", text, re.MULTILINE)
    (watch,) = re.findall(r"^watch\(\) \{\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    harness = HARNESS.replace("/nowhere", str(tmp_path))
    done = subprocess.run(
        ["bash", "-c", f"{harness}{again}\n{watch}watch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["said"] * 4


class Node:
    """One node with the agent, and what its programs leave in one directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.agent = self.install()
        (place / "ocf-shellfuncs").write_text(FUNCTIONS)
        self._program("crm_master", CRM_MASTER)
        self._program("ip", IP)
        self._program("guard", "#!/bin/bash\n")
        self.addresses = ""
        self.interfaces = "lo"
        self.grade(90)

    def install(self, **changed: int) -> Path:
        """The agent, with other values of what it has in its head."""
        text = AGENT.read_text()
        for name, value in changed.items():
            text, found = re.subn(rf"(?m)^{name}=\d+", f"{name}={value}", text)
            assert found == 1
        return self._program("ovpnha", text)

    def _program(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def grade(self, grade: int, name: str = "grade") -> None:
        (self.place / name).write_text(f"{grade}\n")

    def run(self, action: str) -> int:
        """The exit code of an action."""
        environment = {
            "PATH": f"{self.place}:{os.environ['PATH']}",
            "PLACE": str(self.place),
            "HA_RSCTMP": str(self.place / "run"),
            "OCF_FUNCTIONS_DIR": str(self.place),
            "OCF_RESOURCE_INSTANCE": "udp:0",
            "OCF_RESKEY_grade_file": str(self.place / "grade"),
            "OCF_RESKEY_check_grade": "true",
            "OCF_RESKEY_addresses": self.addresses,
            "OCF_RESKEY_interfaces": self.interfaces,
            "OCF_RESKEY_neighbours": str(self.place / "neighbours"),
            "OCF_RESKEY_guard": str(self.place / "guard"),
        }
        return subprocess.run([self.agent, action], env=environment, check=False).returncode

    def said(self) -> list[str]:
        """Every score that Pacemaker was told, and -D where there is none any more."""
        path = self.place / "scores"
        return path.read_text().split() if path.exists() else []

    def watches(self) -> list[int]:
        """The programs that watch, and lead a session of their own."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                pid = int(path.name)
                if words[1:3] == [bytes(self.agent), b"watch"] and os.getsid(pid) == pid:
                    found.append(pid)
        return found

    def wait_watch(self) -> int:
        """The only one, which has said what it thinks of this node."""
        wait_until(lambda: len(self.said()) > 1, "not only start says a score", SECONDS)
        (pid,) = wait_until(self.watches, "a program watches", SECONDS)
        return pid


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    yield one
    for pid in one.watches():
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def test_one_program_watches_from_start_to_stop(node: Node) -> None:
    assert node.run("start") == 0
    first = node.wait_watch()
    for _ in range(3):
        assert node.run("monitor") == 0
        assert node.wait_watch() == first
    node.grade(60)
    wait_until(lambda: node.said()[-1] == "60", "the watch says another score", SECONDS)
    assert node.run("stop") == 0
    assert node.watches() == []
    assert node.said()[-1] == "-D"
    assert node.run("stop") == 0


def test_a_watch_that_is_gone_is_started_anew_and_its_children_keep_none_from_that(
    node: Node,
) -> None:
    assert node.run("start") == 0
    first = node.wait_watch()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in node.watches(), "it has ended", SECONDS)
    assert node.run("monitor") == 0
    assert node.wait_watch() != first


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == session:
                found.append(int(path.name))
    return found


def test_a_watch_that_was_killed_leaves_nothing_behind(node: Node) -> None:
    """Its own ``stop`` finds only a number, which may be another one's by then."""
    node.addresses = "eth9 192.0.2.1/24"
    node._program("neighbours", "#!/bin/bash\nexec sleep 1000\n")
    assert node.run("start") == 0
    first = node.wait_watch()
    wait_until(lambda: len(members(first)) > 2, "it has children", SECONDS)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not members(first), "they have ended", SECONDS)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else, who leads a session, too."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as one:
        yield one
        one.kill()


def test_a_number_that_is_another_ones_by_now_is_not_ended(
    node: Node, stranger: subprocess.Popen[bytes]
) -> None:
    """The lock is not free: what the watch has started, of a release before, may have it open."""
    run = node.place / "run"
    run.mkdir()
    (run / "ovpnha-udp.pid").write_text(f"{stranger.pid}\n")
    with (run / "ovpnha-udp.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert node.run("stop") == 0
    assert stranger.poll() is None
    assert not (run / "ovpnha-udp.pid").exists()


def test_what_hangs_does_not_keep_another_watch_from_its_lock(node: Node) -> None:
    assert node.run("start") == 0
    first = node.wait_watch()
    hung = node.place / "hung"
    node._program("crm_master", f"#!/bin/bash\n: >{hung}\nexec sleep 1000\n")
    node.grade(60)
    wait_until(hung.exists, "a score is said for ever", SECONDS)
    os.kill(first, signal.SIGKILL)
    node._program("crm_master", CRM_MASTER)
    wait_until(lambda: first not in node.watches(), "it has ended", SECONDS)
    with (node.place / "run/ovpnha-udp.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert node.run("stop") == 0


def test_one_that_hangs_as_it_says_a_score_is_ended(node: Node) -> None:
    assert node.run("start") == 0
    first = node.wait_watch()
    hung = node.place / "hung"
    node._program("crm_master", f"#!/bin/bash\n[[ -e {hung} ]] || {{ : >{hung}; sleep 1000; }}\n")
    node.grade(60)
    wait_until(hung.exists, "a score is said for ever", SECONDS)
    assert node.run("stop") == 0
    assert node.watches() == []
    wait_until(lambda: not members(first), "its children have ended", SECONDS)


def test_a_node_is_promoted_when_it_is_said_that_it_serves(node: Node) -> None:
    """The node before is in sync again by then: its score must not be above this one's."""
    assert node.run("start") == 0
    node.wait_watch()
    node.grade(120, "then")
    assert node.run("promote") == 0
    assert node.said()[-1] == "120"
    assert node.run("monitor") == SERVES


@pytest.mark.parametrize("grade", [60, -254])
def test_one_that_does_not_serve_yet_is_promoted_all_the_same(node: Node, grade: int) -> None:
    node.grade(grade)
    assert node.run("start") == 0
    assert node.run("promote") == 0
    assert node.run("monitor") == SERVES


def test_a_node_without_an_interface_keeps_the_others_from_nothing(node: Node) -> None:
    """A network card that is missing at boot must not end the resource on every node."""
    node.interfaces = "lo no-such0"
    assert node.run("start") == INSTALLED
    assert node.run("validate-all") == INSTALLED


class Cable:
    """An interface of the test's own, which is named by the way to it."""

    def __init__(self, node: Node) -> None:
        self._carrier = node.place / "eth" / "carrier"
        self._carrier.parent.mkdir()
        self.set("1")
        node.interfaces = f"../../..{self._carrier.parent}"

    def set(self, carrier: str) -> None:
        self._carrier.write_text(f"{carrier}\n")


def answer(node: Node, code: int) -> None:
    """What the sidecar says to the one who asks whether another node serves."""
    node._program("guard", f'#!/bin/bash\necho "$*" >>"$PLACE/asked"\nexit {code}\n')


def asked(node: Node) -> int:
    path = node.place / "asked"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_asked(node: Node, times: int = 3) -> None:
    """Until it was asked so often more, of which the first may have been under way."""
    begun = asked(node)
    wait_until(lambda: asked(node) >= begun + times, "whether another node serves", SECONDS)


def wait_said(node: Node, score: str) -> None:
    wait_until(lambda: node.said()[-1] == score, f"the score {score}", SECONDS)


def pull_and_plug(node: Node, grade: int) -> None:
    """All cables of a node that is worth so much when they are back."""
    cable = Cable(node)
    assert node.run("start") == 0
    node.wait_watch()
    cable.set("0")
    wait_said(node, "-INFINITY")
    node.grade(grade)
    cable.set("1")


@pytest.mark.parametrize("grade", [30, 60])
def test_who_comes_back_is_not_promoted_while_another_node_serves(node: Node, grade: int) -> None:
    """Its Pacemaker has not heard of the others yet; the sidecar has."""
    answer(node, 3)
    pull_and_plug(node, grade)
    wait_asked(node)
    assert node.said()[-1] == "-INFINITY"
    answer(node, 0)
    wait_said(node, str(grade))
    assert (node.place / "asked").read_text().splitlines()[0] == "udp"


def test_nobody_heard_in_the_first_moment_says_nothing(node: Node) -> None:
    first = node.place / "first"
    once = f"[[ -e {first} ]] && exit 3; : >{first}; exit 0"
    node._program("guard", f'#!/bin/bash\necho "$*" >>"$PLACE/asked"\n{once}\n')
    pull_and_plug(node, 30)
    wait_asked(node)
    assert "30" not in node.said()


@pytest.mark.parametrize("grade", [90, 120])
def test_who_is_in_sync_comes_back_at_once(node: Node, grade: int) -> None:
    answer(node, 3)
    pull_and_plug(node, grade)
    wait_said(node, str(grade))
    node.grade(30)
    wait_said(node, "30")


def test_nobody_is_kept_for_longer_than_the_others_need_to_be_found(node: Node) -> None:
    """A node that is never in sync is better than none, once the one that serves has died."""
    node.install(returning=2)
    answer(node, 3)
    pull_and_plug(node, 30)
    wait_said(node, "30")


def test_a_cable_that_is_pulled_between_two_looks_is_looked_for_anew(node: Node) -> None:
    away = node.place / "run/ovpnha-udp.away"
    pulled = f"[[ $(wc -l <$PLACE/asked) -gt 6 ]] || : >{away}"
    node._program("guard", f'#!/bin/bash\necho "$*" >>"$PLACE/asked"\n{pulled}\n')
    pull_and_plug(node, 30)
    wait_said(node, "30")
    assert asked(node) == 8


def test_a_guard_that_is_not_there_is_told(node: Node) -> None:
    (node.place / "guard").unlink()
    assert node.run("start") == INSTALLED


@pytest.mark.parametrize("code", [1, 2, 4, 127])
def test_a_sidecar_that_cannot_say_keeps_nobody_from_serving(node: Node, code: int) -> None:
    answer(node, code)
    pull_and_plug(node, 30)
    wait_said(node, "30")


def test_the_addresses_go_though_pacemaker_does_not_answer(node: Node) -> None:
    node.addresses = "lo 192.0.2.1/24"
    node._program("neighbours", "#!/bin/bash\nexec sleep 1000\n")
    assert node.run("start") == 0
    node.wait_watch()
    node._program("crm_master", '#!/bin/bash\ncp "$PLACE/orders" "$PLACE/before"\nsleep 1000\n')
    (node.place / "orders").write_text("")
    begun = time.monotonic()
    assert node.run("stop") == 0
    assert time.monotonic() - begun < STOP_SECONDS
    assert (node.place / "before").read_text() == "address del 192.0.2.1/24 dev lo\n"
    assert node.watches() == []


def test_a_score_that_could_not_be_said_is_said_when_pacemaker_answers_again(node: Node) -> None:
    assert node.run("start") == 0
    node.wait_watch()
    hung = node.place / "hung"
    once = f"#!/bin/bash\n[[ -e {hung} ]] || {{ : >{hung}; exec sleep 1000; }}\n"
    node._program("crm_master", once + CRM_MASTER)
    node.grade(60)
    wait_until(hung.exists, "a score is said for ever", SECONDS)
    wait_until(lambda: node.said()[-1] == "60", "it is said all the same", SECONDS)
