"""Versions compared as dpkg does."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from ovpnha.doctor.versions import _key, is_older, newest, source_version

SOME = """
    2.6.14-0+deb12u2 2.6.14-0+deb12u10 2.6.3-1+deb12u3 2.7~rc1-1 2.7.0-1 1:1.0-1 2.6.14 2.6.14-0
    2.6.14+dfsg-1 2.6.14a-1 2.6.14~beta-1 2.6.14-0~bpo12+1 02.6.14-0 2.6-14-1 1.0a~ 1.0a 2.6.14.1-0
"""
PAIRS = list(itertools.product(SOME.split(), SOME.split()[::4]))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_order_is_dpkg_s(one: str, other: str) -> None:
    command = ["dpkg", "--compare-versions", one, "lt", other]
    assert is_older(one, other) is (subprocess.run(command, check=False).returncode == 0)


def test_what_a_rebuild_and_the_patch_add_is_not_the_source_s() -> None:
    assert source_version("2.6.14-0+deb12u2+ovpnha1") == "2.6.14-0+deb12u2"
    assert source_version("2.6.14-1+b3") == "2.6.14-1"
    assert source_version("2.6.14-1") == "2.6.14-1"


def test_the_newest() -> None:
    assert newest(("2.6.3", "2.6.14", "2.6.9")) == "2.6.14"
    assert newest(()) == ""
    assert _key("1.0-0") == _key("1.0")
    assert _key("1.0") != _key("1.0-1")
    assert _key("1.0")[1] != "1.0"
