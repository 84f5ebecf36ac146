"""The commands: what they take, what they say, how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovpnha.cli.common import parse_duration
from ovpnha.cli.manual import EXITS
from ovpnha.cli.observe import parse_since
from ovpnha.model import Epoch, InstanceName, NodeName, Role
from ovpnha.node.statistics import NodeStatistics
from ovpnha.replication.history import HistoryEntry
from ovpnha.runtime import eventclient
from ovpnha.runtime.codec import from_plain
from ovpnha.runtime.control import (
    HandOverRequest,
    HistoryRequest,
    PromoteRequest,
    Request,
)
from ovpnha.runtime.historyfile import HistoryFile
from ovpnha.runtime.problems import to_plain_status
from tests.unit.cli.answers import CONNECTED, STATUS, run
from tests.unit.cli.sockets import listening


@pytest.mark.parametrize("spelling", ["version", "--version"])
def test_version(spelling: str) -> None:
    code, out, _ = run(spelling)
    assert code == 0
    assert out.startswith("ovpnha 0.")


def test_the_list_of_commands_is_cut_nowhere() -> None:
    assert "..." not in run("--help")[1].partition("Commands:")[2]


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ovpnha", "version"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"ovpnha ")


def test_the_command_line_loads_what_only_one_command_needs_with_that() -> None:
    """A VIP manager may wait for ``promote``."""
    heavy = "{'matplotlib', 'rich', 'ovpnha.node.statistics', 'ovpnha.runtime.rows'}"
    script = f"import sys, ovpnha.cli.app; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


def test_keygen_and_check_config(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    assert run("keygen", key)[0] == 0
    code, out, err = run("check-config", "-c", config)
    assert code == 0
    assert out == f"{config}: good. Node a of cluster office, 1 key(s), instances: udp\n"
    assert "warning: bcn.links: interface bcn0 is missing on this host" in err
    assert run("keygen", "--add", key)[0] == 0
    assert "2 key(s)" in run("check-config", "-c", config)[1]


NAMES_PROGRAMS = """
[fence]
command = ["/none/fence"]
[[hook]]
events = ["fault"]
command = ["/none/hook"]
[[check]]
name = "lan"
kind = "command"
command = ["/none/check"]
"""


def test_a_sidecar_starts_without_its_programs_and_who_writes_is_told(
    config: Path, tmp_path: Path
) -> None:
    """A node that serves is not left without its sidecar because a package took a hook along."""
    run("keygen", tmp_path / "cluster.key")
    config.write_text(config.read_text() + NAMES_PROGRAMS)
    code, out, err = run("check-config", "-c", config)
    assert (code, out) == (2, "")
    assert [line.partition(" /none/")[0] for line in err.splitlines()] == [
        f"ovpnha: {where}.command: there is no program" for where in ("fence", "hook", "check[lan]")
    ]
    code, out, err = run("check-config", "--starting", "-c", config)
    assert code == 0
    assert out.startswith(f"{config}: good. ")
    for where, name in (("fence", "fence"), ("hook", "hook"), ("check[lan]", "check")):
        line = f"warning: {where}.command: there is no program /none/{name}; install it, or"
        assert err.count(line) == 1


def test_a_sidecar_does_not_start_with_any_other_mistake(config: Path, tmp_path: Path) -> None:
    run("keygen", tmp_path / "cluster.key")
    config.write_text(config.read_text().replace("/udp.sock", "/cluster.key") + NAMES_PROGRAMS)
    code, out, err = run("check-config", "--starting", "-c", config)
    assert (code, out) == (2, "")
    assert err
    assert "/none/" not in err
    config.write_text(config.read_text() + "[http]\nport = 3\n")
    assert run("check-config", "--starting", "-c", config)[0] == 2


def test_what_openvpn_reads_when_it_starts_next_keeps_no_sidecar_from_starting(
    config: Path, tmp_path: Path
) -> None:
    """Its file was changed since: whoever is there is served on, and told, and needs a copy."""
    server = tmp_path / "udp.conf"
    server.write_text("cluster\nlocal 192.0.2.99\n")
    err = warned_where_it_serves(config, f'server_config = "{server}"')
    assert "is not its local 192.0.2.99; write the same into both" in err


def test_what_the_addresses_of_a_moment_say_keeps_no_sidecar_from_starting(config: Path) -> None:
    """It is told, where clients are served already."""
    err = warned_where_it_serves(config, 'vip_interface = "bcn0"')
    assert "warning: bcn.links: bcn0 is also the interface that clients of udp reach" in err


def warned_where_it_serves(config: Path, line: str) -> str:
    """What is said of an instance with this line, which is refused unless its OpenVPN runs."""
    run("keygen", config.parent / "cluster.key")
    config.write_text(config.read_text().replace("[control]", f"{line}\n[control]"))
    assert run("check-config", "--starting", "-c", config)[0] == 2
    with listening(config.parent / "udp.sock"):
        assert run("check-config", "-c", config)[0] == 2
        code, _, err = run("check-config", "--starting", "-c", config)
    assert code == 0
    return err


def test_a_warning_has_its_priority_in_the_journal(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keygen", tmp_path / "cluster.key")
    monkeypatch.setattr("ovpnha.cli.checkconfig.is_journal", lambda _: True)
    lines = run("check-config", "-c", config)[2].splitlines()
    assert lines
    assert all(line.startswith("<4>warning: ") for line in lines)


def test_keygen_does_not_overwrite(tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    run("keygen", key)
    before = key.read_bytes()
    code, _, err = run("keygen", key)
    assert code == 2
    assert err == f"ovpnha: {key}: exists and is not overwritten; " + (
        "add a key with --add, or remove it first\n"
    )
    assert key.read_bytes() == before


def test_a_wrong_key_file_is_one_line(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    run("keygen", key)
    key.chmod(0o644)
    for command in ("check-config", "run"):
        code, out, err = run(command, "-c", config)
        assert (code, out) == (2, "")
        assert err == f"ovpnha: {key}: others may open it (mode 0644); run: chmod 600 {key}\n"


def test_each_mistake_is_a_line(config: Path) -> None:
    config.write_text(config.read_text() + "[http]\nport = 3\n[log]\nlevel = 3\n")
    code, out, err = run("check-config", "-c", config)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert all(line.startswith(f"ovpnha: {config}: ") for line in err.splitlines())


@pytest.mark.parametrize("command", ["run", "check-config", "status", "promote", "demote"])
def test_a_missing_configuration_is_one_line(command: str, tmp_path: Path) -> None:
    code, out, err = run(command, "-c", tmp_path / "none.toml")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "cannot be read: No such file" in err


@pytest.mark.parametrize("command", ["status", "promote", "demote", "renegotiate"])
def test_a_daemon_that_does_not_run_is_a_failure(command: str, config: Path) -> None:
    code, out, err = run(command, "-c", config)
    assert (code, out) == (1, "")
    assert err.endswith("control.sock: ovpnha does not run here; start it first\n")


@pytest.mark.parametrize(
    "arguments", [["elect"], ["promote", "--expect-vip", "soon"], ["renegotiate", "--uid", "x"]]
)
def test_a_wrong_command_line(arguments: list[str], config: Path) -> None:
    code, _, err = run(*arguments, *(() if arguments == ["elect"] else ("-c", str(config))))
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["promote", "--expect-vip", "99s"], "--expect-vip"),
        (["hand-over", "--within", "61s"], "--within"),
        (["switchover", "--to", ""], "--to"),
        (["reset", 65 * "x"], "check"),
        (["reset", "\udcff"], "check"),  # bytes that are no text
    ],
)
def test_what_nobody_can_ask_for_is_one_line(
    arguments: list[str], option: str, config: Path
) -> None:
    code, out, err = run(*arguments, "-c", config)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"ovpnha: {option}: ")


def test_durations() -> None:
    assert [parse_duration(text, "--x") for text in ("2s", "500ms", "1.5", "0")] == [
        2.0,
        0.5,
        1.5,
        0.0,
    ]


@pytest.mark.usefixtures("daemon")
def test_status_for_the_eye(config: Path) -> None:
    code, out, _ = run("status", "-c", config)
    assert code == 0
    for word in (
        "node a",
        "master",
        "VIP │ here",
        "3, only 2 protected (one has waited for 4.0 s)",
        "in sync",
        "7 (begun by a)",
        "bcn0",
        "seal 5",
        "4.2 ms",
        "22 of 30 clients that moved here, 1 keep theirs by policy",
        "No problems.",
    ):
        assert word in " ".join(out.split())


@pytest.mark.usefixtures("daemon")
def test_status_for_programs(config: Path) -> None:
    code, out, _ = run("status", "-c", config, "--json")
    assert code == 0
    assert json.loads(out) == to_plain_status(from_plain(NodeStatistics, STATUS))


def test_promote(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("promote", "-c", config, "--expect-vip", "500ms")
    assert (code, out) == (0, "udp: master, epoch 8/a\n")
    assert daemon == [PromoteRequest(expect_vip=0.5)]


@pytest.mark.usefixtures("daemon")
def test_demote_says_what_it_found(config: Path) -> None:
    code, out, _ = run("demote", "-c", config, "-i", "udp6")
    assert (code, out) == (0, "udp6: standby (b is master)\n")


def test_hand_over_says_what_became_of_it(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("hand-over", "-c", config, "--within", "500ms")
    assert (code, out) == (0, "udp: standby, b is master\n")
    assert daemon == [HandOverRequest(within=0.5)]
    code, out, _ = run("hand-over", "-c", config, "--pid", "77")
    assert (code, out) == (1, "udp: master, no other node is in sync\n")
    code, out, _ = run("hand-over", "-c", config, "--pid", "78")
    assert (code, out) == (0, "no instance has such an OpenVPN: nothing to hand over\n")


def test_hand_over_without_a_daemon_is_quick(config: Path) -> None:
    code, _, err = run("hand-over", "-c", config, "--pid", "77")
    assert (code, "ovpnha does not run here" in err) == (1, True)


@pytest.mark.usefixtures("daemon")
def test_renegotiate_and_clients(config: Path) -> None:
    code, out, _ = run("renegotiate", "-c", config)
    assert (code, out) == (0, "udp: OpenVPN is asked to renegotiate 3 clients\n")
    _, out, _ = run("renegotiate", "-c", config, "--uid", "00112233445566ff")
    assert out == "udp: OpenVPN is asked to renegotiate 1 client\n"


@pytest.mark.usefixtures("daemon")
def test_clients(config: Path, told_role: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "200")
    time.tzset()
    code, out, _ = run("clients", "-c", config)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert out.startswith("udp: 2 clients; this node is master, serves them\n")
    assert lines[2] == [
        *("alice", "(al)", "192.0.2.1:5000", "10.8.0.2", "2001:db8::2", "2026-09-21", "14:13:20"),
        *("1.5", "kB", "20", "B", "no,", "for", "2.5", "s", "node", "b", "00112233445566ff"),
    ]
    assert lines[3] == [
        *("bob", "192.0.2.2:5000", "-", "0", "B", "5000.0", "TB", "yes", "connected", "here"),
        "ff112233445566ff",
    ]
    _, out, _ = run("clients", "-c", config, "--json")
    assert json.loads(out) == {"instance": "udp", "role": "master", "clients": CONNECTED}
    told_role[0] = "standby"
    _, out, _ = run("clients", "-c", config)
    assert out.count("this is the copy") == 2


@pytest.mark.usefixtures("daemon")
def test_a_refusal_is_one_line(config: Path) -> None:
    code, out, err = run("demote", "-c", config)
    assert (code, out) == (1, "")
    assert err == "ovpnha: udp: this node has the VIP; move it away first, then demote\n"


@pytest.mark.usefixtures("daemon")
def test_guard_says_whether_the_vip_may_come(config: Path) -> None:
    assert run("guard", "-c", config)[:2] == (3, "udp: taken: b has it\n")
    assert run("guard", "-c", config, "--leave", "--to", "b")[:2] == (0, "udp: leave: b\n")
    assert run("guard", "-c", config, "--to", "b")[0] == 2


def test_guard_without_a_daemon_does_not_know(config: Path) -> None:
    assert run("guard", "-c", config)[0] == 1


def change(number: int) -> HistoryEntry:
    place = (number.to_bytes(8, "big"), 0, NodeName("b"), InstanceName("udp"), time.time() - 60)
    roles = (Role.STANDBY, Role.MASTER, Epoch(number, NodeName("b")))
    return HistoryEntry(*place, *roles, "the VIP arrived", {"clients": 3.0})


def test_the_history_of_a_daemon_is_shown(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("history", "--config", config, "--last", "7", "--here", "--since", "1h")
    assert code == 0
    assert "1 change of a role, as node a knows them" in out
    (asked,) = daemon
    assert isinstance(asked, HistoryRequest)
    assert (asked.last, asked.here, asked.instance) == (7, True, None)
    assert time.time() - 3700 < asked.since < time.time() - 3500
    code, out, _ = run("history", "--config", config, "--json")
    assert json.loads(out)["entries"][0]["figures"] == {"clients": 3.0}


def test_without_a_daemon_the_disk_is_read(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with config.open("a") as file:
        file.write(f'[history]\nfile = "{path}"\n')
    HistoryFile(path).append([change(1)])
    with path.open("a") as raw:
        raw.write("torn")
    code, out, err = run("history", "--config", config, "--instance", "udp")
    assert code == 0
    assert "1 change of a role" in out
    assert "does not run" in err
    assert "1 lines are damaged" in err
    path.unlink()
    path.mkdir()
    code, _, err = run("history", "--config", config)
    assert code == 1
    assert str(path) in err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 910.0), ("1.5m", 910.0), ("9w", 0.0), ("1970-01-01T00:01Z", 60.0)]
)
def test_since_when(text: str, seconds: float) -> None:
    assert parse_since(text, 1000.0) == seconds


@pytest.mark.parametrize("text", ["2", "h", "yesterday", "-1h", "2026-13-01", "1e9d", "٣h"])
def test_no_time_is_one_clear_line(config: Path, text: str) -> None:
    code, _, err = run("history", "--config", config, f"--since={text}")
    assert code == 2
    assert "2h or 7d" in err


def test_what_a_daemon_remembers_is_shown(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("events", "--config", config, "--since", "10m")
    assert code == 0
    assert out.endswith("node_left  udp node b: node lost: reason silent\n")
    [asked] = daemon
    assert asked.model_dump()["since"] is not None
    code, out, _ = run("events", "--config", config, "--json")
    assert json.loads(out)["kind"] == "node_left"


def test_without_a_daemon_there_are_no_events(config: Path) -> None:
    for arguments in (["--follow"], []):
        code, _, err = run("events", "--config", config, *arguments)
        assert code == 1
        assert "does not run here" in err


def test_ctrl_c_ends_the_events_cleanly(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(eventclient, "follow_events", interrupt)
    assert run("events", "--config", config, "--follow") == (0, "", "")


@pytest.mark.usefixtures("daemon")
def test_all_nodes_are_shown(config: Path) -> None:
    code, out, _ = run("nodes", "--config", config)
    assert code == 0
    assert "How they are heard" in out
    assert "roblems" in out
    code, out, _ = run("nodes", "--config", config, "--json")
    assert [one["name"] for one in json.loads(out)["nodes"]] == ["a", "b"]


@pytest.fixture
def rotating(tmp_path: Path) -> Path:
    """The key file of the configuration, with a key that is not in use yet."""
    path = tmp_path / "cluster.key"
    assert run("keygen", path)[0] == run("keygen", "--add", path)[0] == 0
    return path


@pytest.mark.parametrize("step", ["--use-newest", "--drop-old"])
def test_without_a_daemon_no_step_of_a_rotation_is_made(
    config: Path, rotating: Path, step: str
) -> None:
    before = rotating.read_text()
    code, _, err = run("keygen", step, "--config", config, rotating)
    assert code == 1
    assert "does not run here" in err
    assert "is not known; to do it all the same, --force" in err
    assert rotating.read_text() == before
    assert run("keygen", step, "--force", "--config", config, rotating)[0] == 0
    assert rotating.read_text() != before


def test_a_node_that_is_not_ready_stops_a_step(
    config: Path, rotating: Path, daemon: list[Request]
) -> None:
    before = rotating.read_text()
    code, _, err = run("keygen", "--use-newest", "--config", config, rotating)
    assert code == 1
    assert "systemctl reload ovpnha" in err
    assert "node b is not heard" in err
    assert "not changed" in err
    assert rotating.read_text() == before
    assert [one.command for one in daemon] == ["status"]


@pytest.mark.usefixtures("daemon")
def test_another_key_file_than_the_configuration_has_is_refused(
    config: Path, rotating: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(rotating.read_bytes())
    other.chmod(0o600)
    code, _, err = run("keygen", "--use-newest", "--config", config, other)
    assert code == 2
    assert str(rotating) in err


def test_one_step_at_a_time(rotating: Path) -> None:
    assert run("keygen", "--add", "--drop-old", rotating)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["status", "--no-such-option"], 2),
        (["no-such-command"], 2),
        (["status", "--config", "/nowhere"], 2),
        (["run", "--config", "/nowhere"], 2),
        (["status"], 1),
        (["nodes"], 1),
        (["events"], 1),
        (["history"], 0),
    ],
)
def test_exit_codes_are_those_of_the_table(config: Path, arguments: list[str], code: int) -> None:
    given = arguments if len(arguments) > 1 or code == 2 else [*arguments, "--config", str(config)]
    if arguments == ["--version"]:
        given = arguments
    assert run(*given)[0] == code
    assert str(code) in EXITS


@pytest.mark.parametrize("journal", [True, False])
def test_why_it_did_not_start_has_its_priority_in_the_journal(
    tmp_path: Path, *, journal: bool
) -> None:
    with (tmp_path / "stderr").open("w+") as stream:
        found = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"} if journal else {}
        command = [sys.executable, "-m", "ovpnha", "run", "--config", "/nowhere"]
        done = subprocess.run(command, stderr=stream, env=os.environ | named, check=False)
        stream.seek(0)
        lines = stream.read().splitlines()
    assert done.returncode == 2
    assert lines
    assert all(line.startswith("<3>ovpnha: " if journal else "ovpnha: ") for line in lines)
