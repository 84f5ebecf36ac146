"""The lock is installed as it is while an index offers a newer version of everything in it.

The index lies in a directory and is asked beside the machine's own, so that the locked versions
are found too. Its packages do not work: who takes one fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
NEWER = "99999"


def publish_newer(index: Path, name: str) -> None:
    """A wheel whose only module fails when it is imported, on a page as PEP 503 wants it."""
    page, module = index / name, name.replace("-", "_")
    page.mkdir(parents=True)
    wheel, info = f"{module}-{NEWER}-py3-none-any.whl", f"{module}-{NEWER}.dist-info"
    with ZipFile(page / wheel, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise ImportError('newer than the lock')\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel}">{wheel}</a>')


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in pins(LOCK):
        publish_newer(tmp_path / "simple", name)
    return {**os.environ, "PIP_EXTRA_INDEX_URL": (tmp_path / "simple").as_uri()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree of its own, since an editable ovpnha points to where it came from."""
    tree = tmp_path / "tree"
    for name in ("deploy", "ovpnha"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def installed(venv: Path) -> dict[str, str]:
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    command = [*pip, "list", "--format=freeze"]
    return pins(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def in_lock(*names: str) -> str:
    command = [sys.executable, "deploy/part_of_lock.py", "pyproject.toml", "requirements.lock"]
    return subprocess.run(
        [*command, *names], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def pip(
    python: str, arguments: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("options", [[], ["--node"]], ids=["for tests", "for a node"])
def test_newer_versions_in_the_index_change_nothing(
    tree: Path, tmp_path: Path, environment: dict[str, str], options: list[str]
) -> None:
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["deploy/venv.sh", str(venv), *options],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    locked = pins(in_lock() if options else LOCK)
    assert installed(venv) == locked | {"ovpnha": version("ovpnha")}
    assert subprocess.run([venv / "bin" / "ovpnha", "--help"], capture_output=True).returncode == 0


def test_resolving_the_lock_fails_there(tmp_path: Path, environment: dict[str, str]) -> None:
    """The control: pytest-cov asks for coverage[toml]; Debian 12's pip finds the newer one."""
    run_venv = ["/usr/bin/python3", "-m", "venv", str(tmp_path / "old")]
    subprocess.run(run_venv, check=True, capture_output=True)
    old = str(tmp_path / "old" / "bin" / "python")
    lock = tmp_path / "part.lock"
    lock.write_text(in_lock("pytest-cov"))
    command = ["install", "--dry-run", "--require-hashes", "-r", str(lock)]
    assert "coverage" in pip(old, command, environment).stderr
    assert pip(old, [*command, "--no-deps"], environment).returncode == 0


def test_building_with_what_the_index_has_fails_there(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The control: a package without a wheel is built with the newest setuptools, if pip may."""
    lock = tmp_path / "part.lock"
    lock.write_text(in_lock("sdnotify"))
    command = ["wheel", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", str(lock)]
    command += ["--wheel-dir", str(tmp_path / "wheels")]
    assert pip(sys.executable, command, environment).returncode != 0
    assert pip(sys.executable, [*command, "--no-build-isolation"], environment).returncode == 0
