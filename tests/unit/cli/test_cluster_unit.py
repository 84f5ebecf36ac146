"""The unit of the package: Debian's for the same configuration, and what a cluster needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from typer.testing import CliRunner

from ovpnha.cli import restartsteps
from ovpnha.cli.app import app
from ovpnha.node import moving
from ovpnha.runtime import restarting, restartunits
from ovpnha.runtime.restartrequest import RestartRequest

ROOT = Path(__file__).parents[3]
OURS = ROOT / "openvpn-patches" / "debian" / "openvpn-cluster@.service"
SPARE = OURS.with_name("openvpn-cluster-spare@.service")
DROP_IN = ROOT / "deploy" / "systemd" / "openvpn-server@.service.d" / "ovpnha.conf"
BESIDE = ROOT / "deploy" / "systemd" / "openvpn-beside@.service"
THEIRS = Path("/usr/lib/systemd/system/openvpn-server@.service")
OTHERS = {"openvpn-server@%i.service", "openvpn@%i.service"}
LISTS = ("After", "Before", "CapabilityBoundingSet", "Conflicts", "DeviceAllow")


def settings(path: Path) -> dict[str, list[str]]:
    """Of both sections; a list's words are one each."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)", path.read_text(), re.MULTILINE):
        found.setdefault(key, []).extend(value.split() if key in LISTS else [value])
    return found


def test_it_lets_a_server_do_what_debians_unit_lets_it() -> None:
    ours, theirs = settings(OURS), settings(THEIRS)
    for key in set(theirs) - {"Description", "Documentation", "ExecStart", "Restart", "RestartSec"}:
        assert set(theirs[key]) <= set(ours[key]), key
    (command,) = theirs["ExecStart"]
    renamed = command.replace("/openvpn-server/", "/openvpn-cluster/")
    assert ours["ExecStart"] == [renamed.replace("/openvpn ", "/openvpn-cluster ")]


def test_it_has_all_that_the_drop_in_adds_to_debians() -> None:
    ours, added = settings(OURS), settings(DROP_IN)
    for key in set(added) - {"ExecStop"}:
        assert set(added[key]) <= set(ours[key]), key
    assert ours["CapabilityBoundingSet"].count("CAP_CHOWN") == 1


def test_it_waits_for_the_end_of_the_other_units_of_its_name() -> None:
    ours = settings(OURS)
    assert set(ours["Conflicts"]) == OTHERS
    assert set(ours["After"]) > OTHERS


def test_no_two_units_run_one_configuration() -> None:
    """Of each pair one names the other; but the two processes of a server run together.

    systemd takes both settings for either of the two, and stops the one before it starts the other.
    In both files ``After`` would be a circle.
    """
    of_one = {"openvpn-cluster@%i.service", "openvpn-cluster-spare@%i.service"}
    for path, others in ((OURS, OTHERS), (SPARE, OTHERS), (BESIDE, OTHERS | of_one)):
        found = settings(path)
        assert set(found["Conflicts"]) == others, path
        assert others <= set(found["After"]), path


def test_the_sidecars_user_gets_through_to_the_socket_and_no_other_can_list_it() -> None:
    ours = settings(OURS)
    assert ours["RuntimeDirectory"] == ["openvpn-cluster"]
    assert ours["RuntimeDirectoryMode"] == ["0711"]
    # Other instances have theirs there.
    assert ours["RuntimeDirectoryPreserve"] == ["yes"]


def stop(path: str, pid: str = "77") -> subprocess.CompletedProcess[str]:
    """What systemd would run, with the programs of this path."""
    (line,) = settings(OURS)["ExecStop"]
    command = re.fullmatch(r"-/bin/sh -c '(.*)'", line)
    assert command is not None
    return subprocess.run(
        ["/bin/sh", "-c", command[1].replace("$$", "$")],
        env={"PATH": path, "MAINPID": pid},
        capture_output=True,
        text=True,
        check=True,
    )


def test_it_hands_over_before_it_stops(tmp_path: Path) -> None:
    (tmp_path / "ovpnha").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "ovpnha").chmod(0o755)
    assert stop(f"{tmp_path}:/bin").stdout == "hand-over --pid 77\n"
    assert stop(f"{tmp_path}:/bin", pid="").stdout == ""


def test_it_stops_without_a_word_where_there_is_no_sidecar(tmp_path: Path) -> None:
    done = stop(str(tmp_path))
    assert done.stdout + done.stderr == ""


def test_it_never_gives_up() -> None:
    ours = settings(OURS)
    assert (ours["Restart"], ours["StartLimitIntervalSec"]) == (["always"], ["0"])


def test_the_second_process_is_run_as_the_first_one_is() -> None:
    """It differs in where it is managed and tells its status."""
    ours, spare = settings(OURS), settings(SPARE)
    (command,), (theirs,) = spare.pop("ExecStart"), ours.pop("ExecStart")
    socket = " --management %t/openvpn-cluster/%i-spare.sock unix"
    assert command == theirs.replace("status-%i.log", "status-%i-spare.log") + socket
    for one in (ours, spare):
        one.pop("Description")
    assert spare == ours


def test_neither_process_ends_with_the_other() -> None:
    """systemd restarts what is bound to a unit with it, also when it does so by ``Restart=``."""
    bound = {"PartOf", "BindsTo", "Requires", "Requisite", "StopPropagatedFrom"}
    assert not bound & (settings(OURS).keys() | settings(SPARE).keys())


def test_a_reload_is_a_restart_that_nobody_notices() -> None:
    assert settings(OURS)["ExecReload"] == ["/usr/bin/env ovpnha restart-openvpn %i"]
    assert CliRunner().invoke(app, ["restart-openvpn", "--help"]).exit_code == 0


def seconds(key: str) -> float:
    """Of the usual unit; the spare's is the same.

    ``test_the_second_process_is_run_as_the_first_one_is`` sees to that.
    """
    (value,) = settings(OURS)[key]
    return float(value.removesuffix("s"))


def test_a_reload_is_over_before_systemd_kills_it() -> None:
    """It would leave half of it behind: there is no signal that it could heed."""
    move = RestartRequest().within + 2 * moving.ANSWER_MAX + moving.RETURN_MAX
    longest = 2 * restarting.GONE_WITHIN + move + restartsteps.WATCH
    assert seconds("TimeoutStartSec") > longest + 10


def test_one_that_hangs_is_killed_and_started_while_the_command_waits() -> None:
    """Each of ExecStop, SIGTERM and SIGKILL may take as long; a hand-over takes 10 s."""
    stop, start = seconds("TimeoutStopSec"), seconds("TimeoutStartSec")
    assert 10 < stop <= 30
    assert 3 * stop + start < restartunits.TIMEOUT


def test_the_sidecar_may_end_an_openvpn_that_hangs() -> None:
    """Whatever ``spare`` says: no other process may serve before that one is dead."""
    sidecar = settings(ROOT / "deploy" / "systemd" / "ovpnha.service")
    for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert "CAP_KILL" in " ".join(sidecar[name]).split()
    in_container = (ROOT / "deploy" / "docker" / "run-ovpnha").read_text()
    assert "capabilities=-all,+kill," in in_container
