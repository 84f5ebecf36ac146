"""deploy/ucarp's scripts among programs that do what the real ones do, a moment later."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.process import kill_group
from tests.lab.waiting import wait_until

UCARP = Path(__file__).parents[3] / "deploy" / "ucarp"
SECONDS = 30.0
STOP_SECONDS = 9.0
"""What the unit gives it, less a second."""

# ucarp: master at once, runs its up script, and waits for it.
MASTER = """#!/bin/bash
while [[ $1 != --upscript ]]; do shift; done
echo $$ >>"$PLACE/ucarps"
"$2" & up=$!
trap 'exit 0' TERM
wait $up
echo done >>"$PLACE/ups"
while :; do sleep 0.05; done
"""
# As the sidecar does: with the addresses comes another grade, and ip takes its time to return.
IP = """#!/bin/sh
case "$*" in *show*) exec cat "$PLACE/shown" ;; esac
said=$(cat)
[ ! -e "$PLACE/fails" ] || fails=1
echo "$said" >>"$PLACE/orders"
case $said in
*replace*)
    echo 120 >"$PLACE/graded" && mv "$PLACE/graded" "$PLACE/grade"
    [ ! -e "$PLACE/heals" ] || echo "9: lo inet ..." >"$PLACE/shown"
    sleep 0.5
    exit ${fails:-0} ;;
esac
"""
LOG = "#!/bin/sh\n"


def wait_for(condition: Callable[[], object], what: str) -> None:
    wait_until(condition, what, SECONDS)


class Node:
    """run-ucarp, and what its programs leave in one directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name, text in (("ucarp", MASTER), ("ip", IP), ("logger", LOG)):
            self.program(name, text)
        self.grade("60")
        self.set("password", "secret\n").chmod(0o600)
        home = place / "home"
        home.mkdir()
        for name in ("run-ucarp", "vip-up", "vip-down"):
            (home / name).write_bytes((UCARP / name).read_bytes())
            (home / name).chmod(0o755)
        self.program("home/neighbours", "#!/bin/sh\n[ $1 = announce ] && exec sleep 60\nexit 1\n")
        values = {
            "SOURCE": "192.0.2.1",
            "SKEW": "0",
            "OUTSIDE_IF": "lo",
            "OUTSIDE_VIP": "192.0.2.10/24",
            "OUTSIDE_VIP6": "",
            "INSIDE_IF": "lo",
            "INSIDE_VIP": "198.51.100.10/24",
            "INSIDE_VIP6": "",
            "VHID": "1",
            "PASSWORD_FILE": str(place / "password"),
            "DEAD_RATIO": "2",
            "GRADE_FILE": str(place / "grade"),
            "CHECK_GRADE": "true",
            "GUARD": str(place / "guard"),
            "NODE": "a",
            "DEMOTE": "true",
            "UCARP": str(place / "ucarp"),
            "STATE": str(place / "state"),
        }
        self.set("node.conf", "".join(f'{name}="{value}"\n' for name, value in values.items()))
        self.running: subprocess.Popen[bytes] | None = None

    def set(self, name: str, text: str) -> Path:
        (self.place / name).write_text(text)
        return self.place / name

    def program(self, name: str, text: str) -> None:
        self.set(name, text).chmod(0o755)

    def grade(self, value: str) -> None:
        """As the sidecar writes it: whole."""
        self.set("grade.new", f"{value}\n").rename(self.place / "grade")

    def lines(self, name: str) -> list[str]:
        file = self.place / name
        return file.read_text().splitlines() if file.exists() else []

    def start(self, guard: str) -> None:
        self.program("guard", guard)
        path = f"{self.place}:{os.environ['PATH']}"
        with (self.place / "log").open("wb") as log:
            self.running = subprocess.Popen(
                [self.place / "home/run-ucarp", self.place / "node.conf"],
                env={**os.environ, "PATH": path, "PLACE": str(self.place)},
                stderr=log,
                start_new_session=True,
            )

    def ucarp(self) -> int:
        """The process of the ucarp that was started last."""
        return int(self.lines("ucarps")[-1])

    def deletes_from(self, begun: int) -> bool:
        """Whether the addresses were taken off after so many orders."""
        return "address del" in "".join(self.lines("orders")[begun:])

    def serve(self, guard: str = "#!/bin/sh\nexit 0\n") -> None:
        """Start, and have the addresses."""
        self.start(guard)
        wait_for(lambda: self.lines("ups"), "the up script has ended")

    def stop(self) -> None:
        if self.running is None:
            return
        self.running.send_signal(signal.SIGTERM)
        try:
            self.running.wait(SECONDS)
        finally:
            kill_group(self.running)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.stop()


def test_who_takes_the_addresses_is_not_started_anew_because_the_grade_changes_with_them(
    node: Node,
) -> None:
    node.serve()
    assert len(node.lines("ucarps")) == 1
    assert "address replace" in node.lines("orders")[-1]


def test_nor_while_others_are_asked_before(node: Node) -> None:
    """The grade falls in that moment, as that of one which is alone now does."""
    node.serve('#!/bin/sh\necho 120 >"$PLACE/new" && mv "$PLACE/new" "$PLACE/grade"\nsleep 0.5\n')
    assert len(node.lines("ucarps")) == 1


def test_a_ucarp_that_was_ended_while_others_were_asked_takes_nothing(node: Node) -> None:
    node.start('#!/bin/sh\necho >"$PLACE/asked"\nwhile [ ! -e "$PLACE/go" ]; do sleep 0.01; done\n')
    wait_for(lambda: (node.place / "asked").exists(), "others are asked")
    node.grade("-100")  # this node must not have them
    wait_for(lambda: not (node.place / "state/pid").exists(), "ucarp is ended")
    node.set("go", "")
    wait_for(lambda: "this ucarp has been ended" in (node.place / "log").read_text(), "it is told")
    assert not [line for line in node.lines("orders") if "replace" in line]


def test_the_addresses_go_while_a_log_is_stuck(node: Node) -> None:
    """The up script's last words are not waited for, nor is there a lock on them."""
    node.program("logger", '#!/bin/sh\necho >>"$PLACE/logs"\nexec sleep 60\n')
    node.start("#!/bin/sh\nexit 0\n")
    wait_for(lambda: node.lines("logs"), "the up script says that it is done")
    begun = len(node.lines("orders"))
    node.grade("-100")
    wait_for(lambda: "address del" in "".join(node.lines("orders")[begun:]), "they go")
    assert node.lines("ups") == []


def test_the_addresses_go_where_there_is_no_place_for_a_lock(node: Node) -> None:
    values = {"STATE": str(node.place / "nowhere"), "PLACE": str(node.place)}
    settings = dict(line.split("=", 1) for line in node.lines("node.conf"))
    environment = {name: value.strip('"') for name, value in settings.items()} | values
    path = {"PATH": f"{node.place}:{os.environ['PATH']}"}
    subprocess.run([node.place / "home/vip-down"], env=environment | path, check=True)
    assert "address del 192.0.2.10/24 dev lo" in node.lines("orders")


def test_an_address_that_somebody_takes_away_comes_back(node: Node) -> None:
    node.serve()
    before = len(node.lines("orders"))
    node.set("heals", "")
    node.set("shown", "")
    node.set("state/lacking", "")  # as `neighbours` says it
    wait_for(lambda: "taken away" in (node.place / "log").read_text(), "it is told")
    told = (node.place / "log").read_text().count("taken away")
    (set_again,) = {line.split()[1] for line in node.lines("orders")[before:]}
    assert set_again == "replace"

    # Nothing is missing any more: nothing is done, and no other ucarp was needed.
    before = len(node.lines("orders"))
    node.program("guard", '#!/bin/sh\necho >"$PLACE/asked"\nexit 1\n')
    node.grade("60")
    wait_for(lambda: (node.place / "asked").exists(), "it looks at what has changed")
    assert len(node.lines("ucarps")) == 1
    assert (node.place / "log").read_text().count("taken away") == told
    assert len(node.lines("orders")) == before


def test_nor_does_it_come_back_where_it_should_be_gone(node: Node) -> None:
    node.serve()
    node.set("shown", "")
    before = len(node.lines("orders"))
    (node.place / "state/master").unlink()  # ucarp's own down script has taken them
    environment = {**os.environ, "PATH": f"{node.place}:{os.environ['PATH']}", "AGAIN": "1"}
    up = node.place / "home" / "vip-up"
    command = ["bash", "-c", f"set -a; . {node.place}/node.conf; exec {up}"]
    subprocess.run(command, env={**environment, "PLACE": str(node.place)}, check=True)
    assert len(node.lines("orders")) == before


def test_the_addresses_come_whatever_becomes_of_the_files_about_them(node: Node) -> None:
    """The lock cannot be opened, the disk is full: ucarp says already that it has them."""
    (node.place / "state/lock").mkdir(parents=True)
    (node.place / "state/refused").mkdir()
    node.serve("#!/bin/sh\n: >$STATE/pid\nexit 0\n")  # others are asked: here is room to act
    assert "address replace" in node.lines("orders")[-1]


def test_an_address_that_cannot_be_set_is_told_once(node: Node) -> None:
    node.serve()
    before = len(node.lines("orders"))
    node.set("shown", "")
    node.set("state/lacking", "")
    wait_for(lambda: node.lines("orders")[before + 4 :], "it has been tried more than once")
    log = (node.place / "log").read_text()
    assert log.count("cannot be set here: 198.51.100.10/24 192.0.2.10/24") == 1
    assert "taken away" not in log


def test_addresses_that_were_kept_go_when_this_node_must_not_have_them(node: Node) -> None:
    """ucarp and OpenVPN are killed at once: no ucarp is started anew that would give them away."""
    node.serve()
    begun = len(node.lines("orders"))
    node.program("ucarp", '#!/bin/sh\necho $$ >>"$PLACE/ucarps"\nexec sleep 60\n')
    # The log is written between the two looks at the grade.
    node.program("logger", '#!/bin/sh\necho -254 >"$PLACE/grade"\n')
    os.kill(node.ucarp(), signal.SIGKILL)
    wait_for(lambda: node.deletes_from(begun), "the addresses go")


def test_addresses_that_were_kept_go_when_no_ucarp_comes_back(node: Node) -> None:
    node.serve()
    begun = len(node.lines("orders"))
    node.program("ucarp", '#!/bin/sh\necho $$ >>"$PLACE/ucarps"\nexit 1\n')
    os.kill(node.ucarp(), signal.SIGKILL)
    wait_for(lambda: node.deletes_from(begun), "the addresses go")
    assert len(node.lines("ucarps")) < 20, "as fast as it can"
    assert "trying again" in (node.place / "log").read_text()


def test_a_clock_that_is_set_back_keeps_nobody_waiting(node: Node) -> None:
    """The grade of a dead OpenVPN, which nobody writes any more: this node gives up at once."""
    home = node.place / "home" / "run-ucarp"
    text = home.read_text()
    home.write_text(text.replace("\nlook() {\n", "\nlook() {\n    SECONDS=$((-9000))\n"))
    node.serve()
    wait_for(lambda: (node.place / "state/master").exists(), "it serves")
    begun = len(node.lines("orders"))
    (node.place / "grade").unlink()
    wait_for(lambda: node.deletes_from(begun), "the addresses go")


@pytest.fixture
def leaving(node: Node) -> Node:
    """A master that has stopped its adverts, and waits very long for another one."""
    conf = (node.place / "node.conf").read_text().replace('DEAD_RATIO="2"', 'DEAD_RATIO="60"')
    node.set("node.conf", conf)
    lines = ("#!/bin/sh", "[ $1 = announce ] && exec sleep 60", 'echo >"$PLACE/hears"')
    node.program("home/neighbours", "\n".join([*lines, "exec sleep 60", ""]))
    node.serve()
    node.grade("30")
    wait_for(lambda: (node.place / "hears").exists(), "it waits for another one")
    return node


def test_who_waits_for_another_one_ends_at_once(leaving: Node) -> None:
    begun = len(leaving.lines("orders"))
    assert leaving.running is not None
    leaving.running.send_signal(signal.SIGTERM)
    assert leaving.running.wait(STOP_SECONDS) == 0
    assert leaving.deletes_from(begun)


def test_the_ucarp_of_one_that_was_killed_is_ended_before_another_begins(node: Node) -> None:
    """Its adverts would keep all others from the addresses, which this node does not have."""
    node.serve()
    left = node.ucarp()
    assert node.running is not None
    node.running.kill()
    node.running.wait(SECONDS)
    os.kill(left, 0)
    first = node.running.pid
    wait_for(lambda: not watchers(first), "what looked at the grade ends by itself")
    node.start("#!/bin/sh\nexit 0\n")
    wait_for(lambda: not is_alive(left), "it is ended")


def watchers(session: int) -> list[str]:
    """The processes of a session that are run-ucarp's own, and live."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(path.name)) == session and is_alive(int(path.name)):
                words = (path / "cmdline").read_bytes().split(b"\0")
                found += [path.name for word in words[1:2] if word.endswith(b"/run-ucarp")]
    return found


def is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_what_is_left_of_one_that_was_killed_is_taken_off_by_the_unit(node: Node) -> None:
    (order,) = [
        line.partition("=")[2].split()
        for line in (UCARP / "ovpnha-ucarp@.service").read_text().splitlines()
        if line.startswith("ExecStopPost=")
    ]
    home, conf = node.place / "home", str(node.place / "node.conf")
    told = {
        "/etc/ovpnha/ucarp/run-ucarp": str(home / "run-ucarp"),
        "/etc/ovpnha/ucarp/%i.conf": conf,
    }
    environment = {"PATH": f"{node.place}:{os.environ['PATH']}", "PLACE": str(node.place)}
    subprocess.run([told.get(word, word) for word in order], env=environment, check=True)
    assert [line for line in node.lines("orders") if line == "address del 192.0.2.10/24 dev lo"]


@pytest.mark.parametrize("name", ["GUARD", "CHECK_GRADE"])
def test_a_program_that_is_not_there_is_said_and_not_done_without(node: Node, name: str) -> None:
    node.set("node.conf", f'{(node.place / "node.conf").read_text()}{name}="/no/such one"\n')
    node.start("#!/bin/sh\nexit 0\n")
    assert node.running is not None
    assert node.running.wait(SECONDS) == 2
    assert f"{name}: there is no program /no/such" in (node.place / "log").read_text()


def test_who_cannot_have_the_outside_address_leaves_the_role_to_others(node: Node) -> None:
    node.set("fails", "")
    node.set("shown", "")
    node.start("#!/bin/sh\nexit 0\n")
    wait_for(lambda: len(node.lines("ucarps")) > 1, "another ucarp is started")
    # While the next one tries it is there again.
    wait_for(lambda: not (node.place / "state/master").exists(), "it is no master")
    assert node.lines("ups") == [], "the first one would have announced it"
