"""``deploy/bootstrap.sh`` beside another apt.

apt and dpkg are programs of the test, which note what they see. All of it happens in a mount
namespace, so that the machine's own policy-rc.d is never touched.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BUSY = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)"

# Nothing is installed until apt has done it.
DPKG_QUERY = """\
#!/bin/bash
shift 2
for package; do [[ -e $STATE/$package ]] && echo "installed $package"; done
exit 0
"""
APT_GET = """\
#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done
if [[ $1 == update && -s $STATE/busy ]]; then
    sed -i 1d "$STATE/busy"
    echo "%s" >&2
    exit 100
fi
[[ $1 != update || ! -e $STATE/unreachable ]] || { echo "E: unreachable" >&2; exit 100; }
[[ $1 == install ]] || exit 0
mkdir "$STATE/at-work" || { echo overlap >>"$STATE/seen"; exit 100; }
for ((n = 0; n < 20; n++)); do
    [[ -e /usr/sbin/policy-rc.d ]] || echo "services may start" >>"$STATE/seen"
    read -rt 0.02 <> <(:)
done
for package; do touch "$STATE/$package"; done
rmdir "$STATE/at-work"
echo installed >>"$STATE/seen"
"""
INSIDE = """\
set -e
mount -t tmpfs tmpfs /run/lock
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/usr/sbin,upperdir=/mnt/upper,workdir=/mnt/work overlay /usr/sbin
rm -f /usr/sbin/policy-rc.d
status=0
for part; do deploy/bootstrap.sh $part & done
for part; do wait -n || status=1; done
[[ ! -e /usr/sbin/policy-rc.d ]] || { echo "policy-rc.d was left behind"; exit 1; }
exit $status
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "state").mkdir()
    for name, text in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET % BUSY)):
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path / "state"


def bootstrap(state: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", INSIDE, "inside", *parts],
        cwd=ROOT,
        env={"PATH": f"{state.parent}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def seen(state: Path) -> list[str]:
    return (state / "seen").read_text().splitlines()


def test_two_at_once_install_one_after_the_other(state: Path) -> None:
    done = bootstrap(state, "base", "fuzz")
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(state) == ["installed", "installed"]


def test_what_another_has_installed_meanwhile_is_not_installed_again(state: Path) -> None:
    done = bootstrap(state, "base", "base")
    assert done.returncode == 0
    assert seen(state) == ["installed"]


def test_it_waits_while_the_lists_are_another_ones(state: Path) -> None:
    (state / "busy").write_text("once\ntwice\n")
    done = bootstrap(state, "base")
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(state) == ["installed"]


def test_lists_that_cannot_be_had_are_an_error_at_once(state: Path) -> None:
    (state / "unreachable").touch()
    done = bootstrap(state, "base")
    assert done.returncode == 1
    assert "E: unreachable" in done.stderr
    assert not (state / "seen").exists()
