"""What is remembered, and what comes of it."""

from __future__ import annotations

import pytest

from ovpnha.errors import ConfigError
from ovpnha.setup.manifest import (
    FileState,
    Manifest,
    ManifestEntry,
    Return,
    decide_return,
    is_edited,
    parse_manifest,
    render_manifest,
)

OLD = FileState("old", 0o644, 0, 0)
NEW = FileState("new", 0o644, 0, 0)
OTHER = FileState("other", 0o644, 0, 0)
CHANGED = ManifestEntry("/f", OLD, "001", ("new",))
MADE = ManifestEntry("/f", None, "", ("new",))


@pytest.mark.parametrize(
    ("entry", "now", "what"),
    [
        (CHANGED, OLD, Return.NOTHING),
        (CHANGED, NEW, Return.RESTORE),
        (CHANGED, FileState("old", 0o600, 0, 0), Return.RESTORE),
        (CHANGED, None, Return.RESTORE),
        (CHANGED, OTHER, Return.KEEP_AND_RESTORE),
        (MADE, None, Return.NOTHING),
        (MADE, NEW, Return.REMOVE),
        (MADE, OTHER, Return.KEEP_AND_REMOVE),
    ],
)
def test_the_way_back(entry: ManifestEntry, now: FileState | None, what: Return) -> None:
    assert decide_return(entry, now) is what


def test_what_was_there_first_counts_however_often_something_is_written() -> None:
    manifest = Manifest().with_entry("/f", OLD, "new").with_entry("/g", None, "g")
    manifest = (
        manifest.with_entry("/f", NEW, "newer").with_directories(["/d"]).with_directories(["/d"])
    )
    assert manifest.entry("/f") == ManifestEntry("/f", OLD, "001", ("new", "newer"))
    again = manifest.with_entry("/f", NEW, "new").entry("/f")
    assert again == ManifestEntry("/f", OLD, "001", ("newer", "new"))
    assert manifest.with_entry("/f", OTHER, "carried on") == manifest
    assert is_edited(CHANGED, OTHER)
    assert not is_edited(CHANGED, FileState("old", 0o600, 0, 0))
    assert manifest.entry("/g") == ManifestEntry("/g", None, "", ("g",))
    assert manifest.entry("/h") is None
    assert parse_manifest(render_manifest(manifest), "m") == manifest


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 1}', '{"version": 1, "entries": [{}]}']
)
def test_a_damaged_manifest_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="m: is damaged"):
        parse_manifest(text, "m")


def test_a_manifest_of_another_release_is_told() -> None:
    with pytest.raises(ConfigError, match="m: is version 2 of another release"):
        parse_manifest('{"version": 2}', "m")
