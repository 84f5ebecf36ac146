"""docs/metrics.md: a row for each metric, and the kinds of events that are counted."""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.runtime.definition import Definition
from ovpnha.runtime.definitions import TABLE
from ovpnha.runtime.eventkinds import EVENTS


def render_metrics() -> str:
    """docs/metrics.md."""
    return "\n".join(
        [
            "# Metrics",
            "",
            "Every node serves them at `http://127.0.0.1:9594/metrics` (`listen` under `[http]`).",
            "No client's name, address or id is a label, but for the last two metrics, which",
            "`client_metrics` switches on. A counter with a known `kind`, `reason` or `phase` is",
            "there from the start, at 0. What a metric that is about to alarm means, and what to",
            "do, is in [operations.md](operations.md).",
            "",
            "| metric | kind | labels | what it says |",
            "|---|---|---|---|",
            *(_row(one) for one in TABLE),
            "",
            *_kinds(),
        ]
    )


def _row(one: Definition) -> str:
    name = f"{one.name}_total" if one.kind == "counter" else one.name
    labels = ", ".join(one.labels)
    return f"| `{name}` | {one.kind} | {labels} | {one.help} |"


def _kinds() -> Iterator[str]:
    yield "`kind` of `ovpnha_events_total`:"
    yield ""
    yield "| kind | counts |"
    yield "|---|---|"
    for kind, text in EVENTS.items():
        yield f"| `{kind}` | {text} |"
    yield ""
