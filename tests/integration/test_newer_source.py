"""The pinned source package is gone from the archive, as after a security update of Debian's.

The archive is a directory, the machine's sources of apt are covered by one that names it, and the
build runs over a copy-on-write view of this very tree: only what changed is compiled.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "build" / "openvpn" / "src"
PINNED = "2.6.14-0+deb12u2"
NEWER = "2.6.14-0+deb12u99"
# A line of upstream's that a hook has as context, and one far from every hook.
HOOKED = ("src/openvpn/multi.c", '#include "push.h"')
FREE = ("src/openvpn/otime.c", "/* format a time_t as ascii")

VIEW = """
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$WORK/upper,workdir=$WORK/work" "$ROOT"
mount --bind "$WORK/sources" /etc/apt/sources.list.d
[[ ! -e /etc/apt/sources.list ]] || mount --bind /dev/null /etc/apt/sources.list
cd "$ROOT"
[[ $OVPNHA_OPENVPN_SOURCE == newest ]] || rm -rf build/openvpn/src build/openvpn/stamp/tree
exec openvpn-patches/build.sh binary
"""


def run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


class Archive:
    """A source archive with one version of OpenVPN."""

    def __init__(self, directory: Path) -> None:
        self.work = directory
        self.files = directory / "archive"
        for name in ("archive", "upper", "work", "sources"):
            (directory / name).mkdir()
        self.offer("[trusted=yes] ")

    def offer(self, options: str) -> None:
        line = f"deb {options}{self.files.as_uri()} ./\n"
        (self.work / "sources" / "test.list").write_text(line)

    def publish(self, file: str, line: str) -> None:
        """Debian's next revision: what is pinned here, with one more patch at this line."""
        tree = self.work / "tree"
        dsc = str(SOURCES / f"openvpn_{PINNED}.dsc")
        run("dpkg-source", "--no-check", "-x", dsc, str(tree), cwd=self.work)
        text = (tree / file).read_text()
        assert line in text
        (tree / file).write_text(text.replace(line, f"/* fixed by Debian */\n{line}", 1))
        changelog = tree / "debian" / "changelog"
        changelog.write_text(changelog.read_text().replace(PINNED, NEWER, 1))
        run("dpkg-source", "--commit", ".", "a-security-fix.patch", cwd=tree)
        run("dpkg-source", "-b", str(tree), cwd=self.work)
        for name in self.work.glob("openvpn_*"):
            name.rename(self.files / name.name)
        index = subprocess.run(
            ["dpkg-scansources", "."], cwd=self.files, check=True, capture_output=True, text=True
        )
        (self.files / "Sources").write_text(index.stdout)

    def build(self, wanted: str = "pinned") -> subprocess.CompletedProcess[str]:
        """With what is there when the newest is wanted, else with nothing."""
        return subprocess.run(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "bash",
                "-euo",
                "pipefail",
                "-c",
                VIEW,
            ],
            env={
                **os.environ,
                "ROOT": str(ROOT),
                "WORK": str(self.work),
                "OVPNHA_OPENVPN_SOURCE": wanted,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def binary(self) -> Path:
        return self.work / "upper" / "build" / "openvpn" / "openvpn"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setenv("EDITOR", "true")
    return Archive(tmp_path)


BUILT = {
    "pinned": f"the archive has openvpn {PINNED} no more: built from {NEWER}",
    "newest": f"asked for, where {PINNED} is pinned: built from {NEWER}",
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("wanted", BUILT)
def test_a_newer_revision_is_built_when_every_patch_applies(archive: Archive, wanted: str) -> None:
    """As a security update: where the pinned source is gone, or is here and the newest wanted."""
    archive.publish(*FREE)
    done = archive.build(wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert BUILT[wanted] in done.stdout
    assert "test programs passed (on)" in done.stdout


def test_a_newer_revision_that_a_patch_does_not_fit_is_one_clear_error(archive: Archive) -> None:
    archive.publish(*HOOKED)
    done = archive.build()
    assert done.returncode != 0
    *_, last = done.stderr.splitlines()
    assert "patches failed" in last
    assert f"openvpn {NEWER} was taken since the archive has openvpn {PINNED} no more" in last
    assert "pin it in SHA256SUMS" in last
    assert not archive.binary.exists()


def test_an_archive_without_a_signature_is_not_taken(archive: Archive) -> None:
    archive.publish(*FREE)
    archive.offer("")
    done = archive.build()
    assert done.returncode != 0
    assert f"apt has no source of openvpn {PINNED} nor of any 2.6" in done.stderr
    assert "correct the machine's sources of apt" in done.stderr
