"""The codes of OpenVPN's errors are the same in C, in Python and in all that describes them."""

from __future__ import annotations

import re
from pathlib import Path

from ovpnha.management.codes import VERSION, Code

ROOT = Path(__file__).parents[2]
PATCHES = ROOT / "openvpn-patches"
CODES = [code.value for code in Code]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def section(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def test_c_has_these_codes_in_this_order() -> None:
    members = re.findall(
        r"^    CLUSTER_CODE_(\w+)", read(PATCHES / "common/cluster_reason.h"), re.M
    )
    words = re.findall(
        r'\[CLUSTER_CODE_(\w+)\] = "(.*)"', read(PATCHES / "common/cluster_reason.c")
    )
    assert members == [code.name for code in Code]
    assert words == [(code.name, code.value) for code in Code]


def test_the_contract_describes_each() -> None:
    errors = section(read(ROOT / "docs/management.md"), "## Errors", "##")
    assert re.findall(r"^\| `([a-z-]+)` \|", errors, re.M) == CODES


def test_the_notes_of_openvpn_describe_each() -> None:
    notes = read(PATCHES / "2.6/cluster-70-documentation.patch")
    errors = section(notes, "CODE is one of\n", "+cluster-status\n")
    assert re.findall(r"^\+  ([a-z-]+) ", errors, re.M) == CODES


def test_each_is_used() -> None:
    sources = PATCHES.glob("common/cluster*.c")
    text = "".join(read(path) for path in sources if path.name != "cluster_reason.c")
    assert {code.name for code in Code} == set(re.findall(r"CLUSTER_CODE_(\w+)", text))


def test_the_version_of_the_commands_is_the_same() -> None:
    (version,) = re.findall(
        r"#define CLUSTER_VERSION (\d+)", read(PATCHES / "common/cluster_manage.c")
    )
    assert int(version) == VERSION
    assert f"version={VERSION}," in read(ROOT / "docs/management.md")
