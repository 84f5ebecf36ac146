"""What is refused, and every metric: code and pages name the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovpnha.replication.protocol import NOT_REFUSALS
from ovpnha.runtime.datagramlabels import REASONS
from ovpnha.runtime.definitions import TABLE
from ovpnha.runtime.eventkinds import EVENTS

ROOT = Path(__file__).parents[2]
SERVED = {
    name
    for one in TABLE
    for name in (
        [one.name, *(f"{one.name}_{part}" for part in ("bucket", "sum", "count"))]
        if one.kind == "histogram"
        else [f"{one.name}_total" if one.kind == "counter" else one.name]
    )
}
KNOWN_LABELS = {
    "ovpnha_events_total": set(EVENTS),
    "ovpnha_datagrams_refused_total": set(REASONS),
}
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.yml"),
        *ROOT.glob("deploy/**/*.json"),
        *ROOT.glob("deploy/**/*.md"),
    )
)
NAME = re.compile(
    r"\b((?:ovpnha|openvpn)_\w+?)(_?\*|\b)(?:\{\s*\\?(?:kind|reason)=~?\\?\"([\w|]+))?"
)


def read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def section(text: str, start: str, end: str) -> str:
    assert start in text, start
    return text.partition(start)[2].partition(end)[0]


def described() -> list[tuple[str, str]]:
    """Each reason of docs/wire.md, and what it says of the datagram."""
    table = section(read("docs/wire.md"), "**Order of the checks**", "\n\nMagic")
    return re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M)


def words(node: ast.AST) -> Iterator[str]:
    """The texts that are written in it."""
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def raised() -> set[str]:
    """Each reason that the replication raises, chooses or counts by itself."""
    found: set[str] = set()
    for path in ROOT.glob("ovpnha/replication/*.py"):
        for node in ast.walk(ast.parse(read(path))):
            match node:
                case ast.Call(func=ast.Name(id="RefusedDatagram")):
                    found.update(word for one in node.args for word in words(one))
                case ast.FunctionDef(name="_why_not_ours"):
                    returned = (one for one in ast.walk(node) if isinstance(one, ast.Return))
                    found.update(word for one in returned for word in words(one))
                case ast.AugAssign(target=ast.Subscript(value=ast.Attribute(attr="refused"))):
                    found.update(words(node.target))
    return found


def test_the_page_has_every_reason_why_a_datagram_is_refused() -> None:
    names = [name for name, _ in described()]
    assert len(names) == len(set(names))
    assert set(names) == raised()


def test_what_is_no_fault_is_said_to_be_none() -> None:
    assert {name for name, text in described() if "(no fault)" in text} == NOT_REFUSALS


def test_every_reason_is_counted_from_zero_in_the_order_of_the_page() -> None:
    assert list(REASONS) == [
        *(name for name, _ in described() if name not in NOT_REFUSALS),
        "kernel",
    ]
    assert "`kernel`" in section(read("docs/wire.md"), "**Order of the checks**", "\n**")


def refused_sentences() -> set[str]:
    """What OpenVPN says of a client that it refuses; what it fills in is an ellipsis."""
    sources = "".join(read(path) for path in sorted(ROOT.glob("openvpn-patches/common/cluster*.c")))
    joined = re.sub(r'"\s*PRI\w+\s*"', "d", sources)
    texts = re.findall(r'cluster_refuse\(why, CLUSTER_CODE_\w+,\s*"((?:[^"\\]|\\.)*)"', joined)
    return {re.sub(r"%\w+", "…", text) for text in texts}


def is_quoted_from(quote: str, sentences: set[str]) -> bool:
    """A quote may leave out words at an ellipsis, nothing else."""
    pattern = re.compile(".*".join(map(re.escape, re.split(r" ?… ?", quote))))
    return any(pattern.fullmatch(one) or pattern.match(one) for one in sentences)


def quotes() -> list[str]:
    runbook = section(read("docs/operations.md"), "### A node refuses clients", "\n### ")
    return [one for one in re.findall(r"`([^`]*)`", runbook) if "…" in one]


def test_the_runbook_quotes_what_openvpn_says_of_a_client_that_it_refuses() -> None:
    sentences = refused_sentences()
    assert len(quotes()) >= 3
    assert [one for one in quotes() if not is_quoted_from(one, sentences)] == []


@pytest.mark.parametrize("quote", ["cipher … is missing", "--route refuses …", "… is use"])
def test_a_sentence_that_openvpn_does_not_say_is_found(quote: str) -> None:
    assert not is_quoted_from(quote, refused_sentences())


def unknown_metrics(text: str) -> Iterator[str]:
    """Metrics, or kinds and reasons of them, that nothing serves."""
    for name, more, labels in NAME.findall(text):
        if not (any(one.startswith(name) for one in SERVED) if more else name in SERVED):
            yield name
        for label in labels.split("|") if labels else ():
            if label not in KNOWN_LABELS.get(name, {label}):
                yield f"{name}: {label}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_metric_of_a_page_is_served(page: Path) -> None:
    assert list(unknown_metrics(read(page))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`ovpnha_resyncs_total` and `ovpnha_conntrack_*`", []),
        ("ovpnha_resyncs", ["ovpnha_resyncs"]),
        ("ovpnha_snapshots_*", ["ovpnha_snapshots"]),
        ('ovpnha_events_total{kind="capped"}', []),
        ('ovpnha_events_total{kind=~"capped|hats"}', ["ovpnha_events_total: hats"]),
        ('ovpnha_datagrams_refused_total{reason="ugly"}', ["ovpnha_datagrams_refused_total: ugly"]),
    ],
)
def test_a_metric_that_nothing_serves_is_found(text: str, found: list[str]) -> None:
    assert list(unknown_metrics(text)) == found
