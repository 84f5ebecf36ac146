"""Packages of a newer Debian, from the mirror that this machine uses, through an apt of our own.

The machine's apt learns nothing: lists, cache and what is installed (nothing) lie in one directory.
Archive signatures are checked with the keys that the machine's own sources name. Versions are what
the suite has today; none is pinned, since none stays.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.errors import LabError

SUITE = "testing"
APT_DIRECTORY = Path("/etc/apt")
_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s")

_CONFIGURATION = """\
Dir::State "{home}/state";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Etc::SourceList "{home}/suite.sources";
Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""


def download(home: Path, packages: tuple[str, ...]) -> list[Path]:
    """The newest of these packages and all that they need, as files below ``home``."""
    _prepare(home)
    _apt(home, "update", "--error-on=any")
    _apt(home, "install", "--yes", "--no-install-recommends", "--download-only", *packages)
    return sorted((home / "cache" / "archives").glob("*.deb"))


def _prepare(home: Path) -> None:
    for name in ("state/lists/partial", "cache/archives/partial"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "status").write_text("")
    (home / "suite.sources").write_text(newer_suite(APT_DIRECTORY, _codename()))
    (home / "apt.conf").write_text(_CONFIGURATION.format(home=home))


def _apt(home: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        env=dict(os.environ, APT_CONFIG=str(home / "apt.conf"), DEBIAN_FRONTEND="noninteractive"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        what = f"apt-get {arguments[0]} from Debian {SUITE} failed"
        raise LabError("\n".join([f"{what}; correct what it says and run again:", *said]))


def _codename() -> str:
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", release, re.MULTILINE)
    if found is None:
        raise LabError("/etc/os-release has no VERSION_CODENAME; run this on Debian")
    return found[1]


def newer_suite(apt: Path, codename: str) -> str:
    """A sources file for ``SUITE`` at the mirror from which this machine gets ``codename``."""
    files = [*sorted((apt / "sources.list.d").glob("*.sources")), *_one_line_files(apt)]
    for file in files:
        text = file.read_text()
        entries = _stanzas(text) if file.suffix == ".sources" else _lines(text)
        for entry in entries:
            if codename in entry["Suites"].split():
                wanted = {"Types": "deb", "Suites": SUITE, "Components": "main"}
                return "".join(f"{name}: {value}\n" for name, value in (entry | wanted).items())
    raise LabError(
        f"no source in {apt} names {codename}: add the Debian mirror of this machine there"
    )


def _one_line_files(apt: Path) -> list[Path]:
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    return [file for file in files if file.exists()]


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """What deb822 entries say about the mirror and its keys."""
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", "\n".join(lines), re.MULTILINE)
        entry = {name: value for name, value in fields if name in ("URIs", "Suites", "Signed-By")}
        types = dict(fields).get("Types", "").split()
        if "deb" in types and {"URIs", "Suites"} <= entry.keys():
            yield entry


def _lines(text: str) -> Iterator[dict[str, str]]:
    """The same of one-line entries."""
    for line in text.splitlines():
        if match := _ONE_LINE.match(line):
            key = re.search(r"signed-by=(\S+)", match["options"] or "")
            signed = {"Signed-By": key[1]} if key else {}
            yield {"URIs": match["uri"], "Suites": match["suite"], **signed}
