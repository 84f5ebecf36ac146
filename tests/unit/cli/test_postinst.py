"""What an upgrade of the package does to servers that run, with a systemctl that only tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "openvpn-patches" / "debian" / "openvpn-cluster.postinst"
MAIN, SPARE = "openvpn-cluster@{}.service", "openvpn-cluster-spare@{}.service"
ODD = r"a\x2db"

SYSTEMCTL = r"""#!/bin/sh
[ "$1" = list-units ] || exit 0
while read -r unit; do
    for pattern; do
        case $unit in $pattern) printf '%s loaded active running OpenVPN\n' "$unit" ;; esac
    done
done <"$UNITS"
"""
OVPNHA = r"""#!/bin/sh
for name; do :; done
case $2 in --dry-run) case " $REFUSED " in *" $name "*) exit 3 ;; esac; exit 0 ;; esac
printf '%s\n' "$name" >>"$RESTARTED"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Programs in the place of those of the system, and the script for a systemd that runs."""
    for name, text in (("systemctl", SYSTEMCTL), ("ovpnha", OVPNHA)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    text = SCRIPT.read_text()
    assert text.count("/run/systemd/system") == 1
    (tmp_path / "postinst").write_text(text.replace("/run/systemd/system", str(tmp_path)))
    return tmp_path


def upgrade(
    place: Path, *units: str, refused: str = "", version: str = "1"
) -> tuple[list[str], str]:
    """Names of the servers that were restarted, and what was said."""
    restarted = place / "restarted"
    restarted.write_text("")
    (place / "units").write_text("".join(f"{one}\n" for one in units))
    done = subprocess.run(
        ["/bin/sh", place / "postinst", "configure", version],
        env={
            "PATH": f"{place}:/usr/bin:/bin",
            "UNITS": str(place / "units"),
            "RESTARTED": str(restarted),
            "REFUSED": refused,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return restarted.read_text().splitlines(), done.stdout


def test_a_server_is_restarted_once_whichever_of_its_processes_runs(place: Path) -> None:
    units = (MAIN.format("a"), MAIN.format("b"), SPARE.format("b"), SPARE.format("c"))
    assert upgrade(place, *units) == (["a", "b", "c"], "")


def test_who_cannot_be_is_named_with_all_that_runs_of_it(place: Path) -> None:
    units = (MAIN.format("a"), SPARE.format("a"), MAIN.format("b"), SPARE.format("c"))
    restarted, said = upgrade(place, *units, refused="a c")
    assert restarted == ["b"]
    left = " ".join((units[0], units[1], units[3]))
    assert f"openvpn-cluster: {left} still run" in said
    assert said.endswith(f": systemctl restart {left}\n")


def test_a_name_with_a_backslash_is_that_of_the_unit(place: Path) -> None:
    assert upgrade(place, MAIN.format(ODD)) == ([ODD], "")
    _, said = upgrade(place, MAIN.format(ODD), refused=ODD)
    assert said.endswith(f": systemctl restart '{MAIN.format(ODD)}'\n")


def test_a_name_is_not_the_end_of_another_one(place: Path) -> None:
    restarted, said = upgrade(place, MAIN.format("a"), MAIN.format("b@a"), refused="a")
    assert restarted == ["b@a"]
    assert "b@a" not in said


@pytest.mark.parametrize(("units", "version"), [((), "1"), ((MAIN.format("a"),), "")])
def test_nothing_is_said_where_nothing_runs_or_it_is_new(
    place: Path, units: tuple[str, ...], version: str
) -> None:
    assert upgrade(place, *units, version=version) == ([], "")
