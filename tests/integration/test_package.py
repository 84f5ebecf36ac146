"""The package that replaces the distribution's: installable in its place, and complete."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

BUILT = Path(__file__).parents[2] / "build" / "openvpn"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    """What ``make deb`` has built."""
    (found,) = BUILT.glob("openvpn_*.deb")
    return found


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "--extract", package, directory)
    return directory


def test_it_is_newer_than_the_distributions(package: Path) -> None:
    version = run("dpkg-deb", "--field", package, "Version").strip()
    installed = run("dpkg-query", "-W", "-f", "${Version}", "openvpn")
    plain, _, ours = version.partition("+ovpnha")
    assert ours
    run("dpkg", "--compare-versions", version, "gt", plain)
    run("dpkg", "--compare-versions", version, "gt", installed)


def test_it_installs_without_anything_new(package: Path) -> None:
    """The simulation of apt: one package replaced, none removed, none added."""
    said = run("apt-get", "--simulate", "--no-download", "install", package)
    acts = {line.split()[1] for line in said.splitlines() if line.startswith(("Inst", "Remv"))}
    assert acts == {"openvpn"}


def test_it_has_every_file_of_the_distributions(unpacked: Path) -> None:
    theirs = run("dpkg-query", "-L", "openvpn").split()
    # A slim image leaves documentation out; a lab machine may be one.
    expected = [one for one in theirs if one != "/." and Path(one).is_file()]
    lacking = [one for one in expected if not (unpacked / one.lstrip("/")).exists()]
    assert expected
    assert lacking == []


def test_its_programs_know_the_feature(unpacked: Path) -> None:
    binary = unpacked / "usr/sbin/openvpn"
    usage = subprocess.run([binary, "--help"], capture_output=True, text=True, check=False).stdout
    assert "--cluster " in usage
    manual = unpacked / "usr/share/man/man8/openvpn.8.gz"
    assert "cluster" in run("zcat", manual)
