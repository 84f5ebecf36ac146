"""The unit of the package: Debian's for the same configuration, and what a cluster needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
OURS = ROOT / "openvpn-patches" / "debian" / "openvpn-cluster@.service"
DROP_IN = ROOT / "deploy" / "systemd" / "openvpn-server@.service.d" / "ovpnha.conf"
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
