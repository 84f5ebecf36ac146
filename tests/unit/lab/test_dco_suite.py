"""The newer suite comes from the machine's own mirror, with the machine's own keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.dco.suite import SUITE, newer_suite
from tests.lab.errors import LabError

OLD = "oldname"
KEY = "/usr/share/keyrings/some.gpg"
STANZAS = f"""\
Types: deb
URIs: http://elsewhere.invalid/tools
Suites: {OLD}-tools
Components: main

# a comment
Types: deb deb-src
URIs: http://mirror.invalid/debian
Suites: {OLD} {OLD}-updates
Components: main contrib
Signed-By: {KEY}
"""
ONE_LINE = f"""\
# deb http://no.invalid/x {OLD} main
deb [arch=amd64 signed-by={KEY}] http://m.invalid/d {OLD} main
"""


def write(apt: Path, name: str, text: str) -> Path:
    file = apt / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return apt


def fields(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_a_deb822_entry_keeps_mirror_and_keys(tmp_path: Path) -> None:
    apt = write(tmp_path, "sources.list.d/debian.sources", STANZAS)
    assert fields(newer_suite(apt, OLD)) == {
        "Types": "deb",
        "URIs": "http://mirror.invalid/debian",
        "Suites": SUITE,
        "Components": "main",
        "Signed-By": KEY,
    }


@pytest.mark.parametrize("name", ["sources.list", "sources.list.d/debian.list"])
def test_so_does_a_one_line_entry(tmp_path: Path, name: str) -> None:
    found = fields(newer_suite(write(tmp_path, name, ONE_LINE), OLD))
    assert (found["URIs"], found["Signed-By"]) == ("http://m.invalid/d", KEY)


def test_keys_that_stand_in_the_entry_are_kept(tmp_path: Path) -> None:
    key = "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n -----END\n"
    text = f"Types: deb\nURIs: http://m.invalid/d\nSuites: {OLD}\nComponents: main\n{key}"
    assert key in newer_suite(write(tmp_path, "sources.list.d/debian.sources", text), OLD)


def test_a_source_package_entry_is_no_mirror(tmp_path: Path) -> None:
    text = f"Types: deb-src\nURIs: http://m.invalid/d\nSuites: {OLD}\nComponents: main\n"
    with pytest.raises(LabError, match=OLD):
        newer_suite(write(tmp_path, "sources.list.d/debian.sources", text), OLD)
