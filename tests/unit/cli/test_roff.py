"""Texts become roff, and never its commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.cli import roff


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain words", "plain words"),
        ("two\n  lines", "two lines"),
        ("`--node NAME`", r"\fB\-\-node NAME\fR"),
        ("*Firewall* and `a` `b`", r"\fIFirewall\fR and \fBa\fR \fBb\fR"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("[the page](docs/wire.md) says", "the page says"),
        ("[firewall] manage", "[firewall] manage"),
        (".so /etc/passwd", r"\&.so /etc/passwd"),
        ("'s", r"\(aqs"),
        (r"a\b ~ ^ `", r"a\eb \(ti \(ha \(ga"),
    ],
)
def test_a_text_is_set_as_somebody_reads_it(text: str, wanted: str) -> None:
    assert roff.inline(text) == wanted


def test_an_item_has_its_paragraphs_below_its_tag() -> None:
    assert roff.item("`--add`", "One.\n\nTwo.") == ".TP\n\\fB\\-\\-add\\fR\nOne.\n.IP\nTwo."
    assert roff.item("file", "") == ".TP\nfile\n"


def test_an_example_keeps_its_lines() -> None:
    shown = roff.example("[log]\n.level\n\n  'x'")
    assert shown == ".PP\n.RS 4\n.nf\n[log]\n\\&.level\n\n  \\(aqx\\(aq\n.fi\n.RE"


def test_a_heading_is_one_argument() -> None:
    assert roff.heading('say "so"') == '.SH "SAY \\(dqSO\\(dq"'
    assert roff.subheading("[node.NAME]") == '.SS "[node.NAME]"'


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_text_begins_a_command(text: str) -> None:
    for made in (roff.inline(text), roff.item(text, text), roff.example(text)):
        commands = {".TP", ".IP", ".PP", ".RS 4", ".nf", ".fi", ".RE"}
        for line in made.split("\n"):
            assert line in commands or not line.startswith((".", "'"))
