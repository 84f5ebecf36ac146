"""The manual says what the program says, all of it; completion knows every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ovpnha.cli.app import app
from ovpnha.cli.manual import EXITS
from ovpnha.cli.reference import keys, sections
from ovpnha.cli.roff import SIGNS, inline


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["reference", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def commands(group: Any, path: str = "ovpnha") -> dict[str, Any]:
    """Every command that is not hidden, by what somebody types."""
    found: dict[str, Any] = {}
    for name, one in group.commands.items():
        if not one.hidden:
            inner = commands(one, f"{path} {name}") if hasattr(one, "commands") else {}
            found |= inner or {f"{path} {name}": one}
    return found


ALL = commands(typer.main.get_command(app))


@pytest.mark.parametrize("path", ALL)
def test_the_manual_has_every_command_with_its_options(path: str) -> None:
    section = printed("--man", "1").partition(f'.SS "{path.translate(SIGNS)}"\n')[2]
    section = re.split(r"^\.S[SH] ", section, flags=re.MULTILINE)[0]
    assert inline(ALL[path].help.split("\n\n")[0]).split(" docs/")[0] in section
    for parameter in ALL[path].params:
        for option in parameter.opts:
            assert option.translate(SIGNS) in section


def test_the_page_for_operators_has_the_same_exit_codes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    section = page.partition("## Exit codes\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE)
    assert dict(rows) == EXITS


def test_the_manual_has_every_key_with_its_text() -> None:
    page = printed("--man", "5")
    for title, model in sections():
        assert f'.SS "{title}"' in page
        for one in keys(model):
            assert inline(f"`{one.name}`") in page
            assert inline(one.text) in page


@pytest.mark.parametrize(("section", "name"), [("1", "ovpnha"), ("5", "ovpnha.toml")])
def test_a_page_begins_as_whatis_reads_it(section: str, name: str) -> None:
    page = printed("--man", section)
    assert page.startswith(f'.TH "{name.upper()}" "{section}" ')
    assert re.search(rf'^\.SH "NAME"\n{re.escape(name)} \\- \w.*\n\.SH ', page, re.MULTILINE)


def test_the_documents_are_named_where_the_package_has_them() -> None:
    page = printed("--man", "1")
    assert "/usr/share/doc/ovpnha/operations.md" in page
    assert " docs/" not in page


@pytest.mark.parametrize("arguments", [["--man", "8"], ["--completion", "csh"]])
def test_what_there_is_not_is_refused_with_what_there_is(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["reference", *arguments])
    assert done.exit_code == 2
    assert "is not one of" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_that_asks_the_program(shell: str) -> None:
    script = printed("--completion", shell)
    assert f"_OVPNHA_COMPLETE=complete_{shell}" in script
    assert script == script.strip() + "\n"


def completed(line: str) -> set[str]:
    """What bash offers at the end of this line, with the program in the search path."""
    words = line.split(" ")
    script = f"""
        source <(ovpnha reference --completion bash)
        COMP_WORDS=({" ".join(words[:-1])} "{words[-1]}")
        COMP_CWORD={len(words) - 1}
        _ovpnha_completion ovpnha
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": path, "LANG": "C.UTF-8"},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_and_options() -> None:
    assert {one.split()[1] for one in ALL} <= completed("ovpnha ")
    assert completed("ovpnha stat") == {"status"}
    assert {"--config", "--node", "--json"} <= completed("ovpnha status --")
