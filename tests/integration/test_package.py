"""The package of the patched OpenVPN: beside the distribution's, and gone without a trace."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "openvpn"
NAME = "openvpn-cluster"
UNIT = f"lib/systemd/system/{NAME}@.service"  # below / or /usr
# Where every installation leaves something, under whatever name.
EVERYWHERE = ("var/lib/dpkg", "var/log", "var/cache")

# A copy of this machine that is forgotten: what is written to it lies in memory. No service starts.
COPY = """
mkdir "$WORK/upper" "$WORK/work" "$WORK/whole"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/whole"
printf '#!/bin/sh\\nexit 101\\n' >"$WORK/whole/usr/sbin/policy-rc.d"
chmod 755 "$WORK/whole/usr/sbin/policy-rc.d"
mount --rbind /proc "$WORK/whole/proc"
mount --rbind /dev "$WORK/whole/dev"
cp "$PACKAGE" "$WORK/whole/package.deb"
export DEBIAN_FRONTEND=noninteractive
exec chroot "$WORK/whole" bash -euo pipefail -c "$1"
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    """What ``make deb`` has built."""
    (found,) = BUILT.glob(f"{NAME}_*.deb")
    return found


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "--extract", package, directory)
    return directory


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory that an overlay can lie in, whatever this machine's own files are on."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "ovpnha-package", tmp_path)
    yield tmp_path
    run("umount", tmp_path)


@pytest.fixture
def on_a_copy(package: Path, memory: Path) -> OnACopy:
    return OnACopy(package, memory)


class OnACopy:
    """Runs commands on a copy of this machine, once; ``left`` is what they have written."""

    def __init__(self, package: Path, memory: Path) -> None:
        self._package = package
        self._memory = memory

    def __call__(self, script: str) -> list[str]:
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-euo", "pipefail", "-c", COPY, "copy", script],
            env={"PATH": "/usr/sbin:/usr/bin", "WORK": str(self._memory)}
            | {"PACKAGE": str(self._package)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def left(self) -> list[str]:
        """Paths of which the package's name is a part."""
        upper = self._memory / "upper"
        found = (str(path.relative_to(upper)) for path in upper.rglob("*"))
        return [path for path in found if NAME in path and not path.startswith(EVERYWHERE)]


def files(listing: list[str]) -> set[str]:
    """Of `dpkg -L`, in the words of a system on which /lib is a link to /usr/lib."""
    return {re.sub(r"^/(lib|sbin|bin)/", r"/usr/\1/", one) for one in listing}


def test_it_has_no_file_of_the_distributions(package: Path) -> None:
    listed = run("dpkg-deb", "--contents", package).splitlines()
    ours = files([one.split()[-1][1:] for one in listed if not one.startswith("d")])
    theirs = files(run("dpkg-query", "-L", "openvpn").splitlines())
    assert len(ours) >= 8
    assert not ours & theirs
    assert all(NAME in one for one in ours)


def test_its_version_says_what_it_is_built_from(package: Path, unpacked: Path) -> None:
    version = run("dpkg-deb", "--field", package, "Version").strip()
    source, _, ours = version.partition("+ovpnha")
    assert ours
    assert (unpacked / "usr/share" / NAME / "built-from").read_text() == f"{source}\n"
    assert f"openvpn_{source}.dsc" in pinned_here()


def pinned_here() -> str:
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    assert release
    return (ROOT / "openvpn-patches" / "2.6" / f"SHA256SUMS.{release[1]}").read_text()


def test_it_installs_without_anything_else(package: Path) -> None:
    """The simulation of apt: one package added, none removed or replaced."""
    said = run("apt-get", "--simulate", "--no-download", "install", package)
    acts = {line.split()[1] for line in said.splitlines() if line.startswith(("Inst", "Remv"))}
    assert acts == {NAME}


def test_it_needs_and_hinders_no_other_openvpn(package: Path) -> None:
    fields = ("Conflicts", "Breaks", "Replaces", "Provides", "Pre-Depends")
    assert run("dpkg-deb", "--field", package, *fields) == ""
    assert "openvpn" not in run("dpkg-deb", "--field", package, "Depends")


def test_its_program_knows_the_feature_and_its_own_plugins(unpacked: Path) -> None:
    binary = unpacked / "usr/sbin" / NAME
    usage = subprocess.run([binary, "--help"], capture_output=True, text=True, check=False).stdout
    assert "--cluster " in usage
    (plugin,) = unpacked.glob(f"usr/lib/*/{NAME}/plugins/openvpn-plugin-auth-pam.so")
    assert bytes(Path("/") / plugin.parent.relative_to(unpacked)) in binary.read_bytes()


def test_its_page_is_its_own(unpacked: Path) -> None:
    text = run("zcat", unpacked / "usr/share/man/man8" / f"{NAME}.8.gz")
    assert re.search(r'^\.TH "?OPENVPN-CLUSTER"? ', text, re.M)
    assert re.search(r"^openvpn\\-cluster \\- ", text, re.M)
    assert r"\-\-cluster" in text


def test_systemd_takes_its_unit(unpacked: Path, tmp_path: Path) -> None:
    (shipped,) = (path for top in (".", "usr") for path in unpacked.glob(f"{top}/{UNIT}"))
    unit = tmp_path / f"{NAME}@oha.service"
    unit.write_text(
        shipped.read_text().replace(f"/usr/sbin/{NAME} ", f"{unpacked}/usr/sbin/{NAME} ")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert not [line for line in done.stderr.splitlines() if NAME in line]


def test_both_are_whole_side_by_side_and_the_distributions_may_go_first(on_a_copy: OnACopy) -> None:
    said = on_a_copy(
        f"""
        dpkg --verify openvpn >before || true
        dpkg -i package.deb >&2
        dpkg --verify openvpn >after || true
        cmp before after >&2
        dpkg --verify {NAME} | grep -v /usr/share/ || true
        apt-get -q -y purge openvpn >&2
        {NAME} --version | head -n 1
        dpkg --verify {NAME} | grep -v /usr/share/ || true
        dpkg --purge {NAME} >&2
        """
    )
    assert len(said) == 1
    assert said[0].startswith("OpenVPN 2.6.")
    assert on_a_copy.left() == []


def test_it_goes_first_and_leaves_nothing(on_a_copy: OnACopy) -> None:
    said = on_a_copy(
        f"""
        dpkg --verify openvpn >before || true
        dpkg -i package.deb >&2
        ln -s /{UNIT} /etc/systemd/system/multi-user.target.wants/{NAME}@udp.service
        dpkg --remove {NAME} >&2
        dpkg --purge {NAME} >&2
        dpkg --verify openvpn >after || true
        cmp before after >&2
        dpkg --verify openvpn | grep -v /usr/share/ || true
        """
    )
    assert said == []
    assert on_a_copy.left() == []


def test_an_install_and_an_upgrade_start_nothing_and_ask_for_no_reboot(on_a_copy: OnACopy) -> None:
    said = on_a_copy(
        f"""
        dpkg -i package.deb
        dpkg -i package.deb
        ls /run/reboot-required* /etc/systemd/system/*/{NAME}* /etc/init.d/{NAME}* \\
            /etc/default/{NAME}* 2>/dev/null || true
        """
    )
    assert not [line for line in said if re.search("reboot|start|/etc/", line)]
