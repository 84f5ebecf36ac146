"""Names are words of the glossary: a class is named by what stands there, or by words of the trade.

A name that nobody has explained is found here. The fix is a better name, or a row in
docs/glossary.md; ``TRADE`` is for what every programmer of networks knows.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ovpnha"

TRADE = {
    "programs": """
        app application channel collector config configuration cookie core current daemon
        definition driver error errors event events figures file flag flags format found id
        identities input item kind line metrics mode name order packer password policy reader
        runner section sequence server start statistics stats status time times timings token
        tolerated two type version watcher
    """,
    "networks": """
        address addresses client clients datagram firewall host http interface link netlink network
        one received send sent snat socket sockets unreachable user way
    """,
    "other programs": """
        conntrack conntrackd hook hooks keepalived management openvpn ovpnha
    """,
    "what is done to a thing": """
        added answer cache changed close closed connect connected done down drop expected export
        fatal heard import kick late left list listed load need open opened own place progress
        reading refused request scrape service set stored sync transition unreadable up update
        wait waiting withdrawn write
    """,
    "what is left": """
        body counter counts
    """,
}
"""By where they come from."""


def classes() -> Iterator[tuple[str, str]]:
    """File and name of each public class."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield str(path.relative_to(ROOT)), node.name


@cache
def explained() -> set[str]:
    """All words in the first columns of the glossary."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    return {word.lower() for row in rows for word in re.findall(r"[A-Za-z]+", row)}


def forms(word: str) -> set[str]:
    """A word of a name as it may stand in the glossary."""
    stems = {word, word.removesuffix("s"), re.sub("ies$", "y", word), re.sub("(ed|ing)$", "", word)}
    return stems | {stem + "e" for stem in stems}


def words_of(name: str) -> list[str]:
    """``CamelCase`` as its words."""
    return [one.lower() for one in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)]


def strange_words(name: str) -> list[str]:
    """What in a name nobody has explained."""
    known = explained() | {word for words in TRADE.values() for word in words.split()}
    return [word for word in words_of(name) if not forms(word) & known]


def test_classes_are_named_by_words_that_are_explained() -> None:
    found = [(file, name, strange_words(name)) for file, name in classes()]
    assert len(found) > 100
    assert not [one for one in found if one[2]]


def test_a_strange_word_is_found() -> None:
    assert strange_words("GradeFrobnicator") == ["frobnicator"]
    assert words_of("BCNLinks") == ["bcn", "links"]


def test_no_two_classes_have_one_name() -> None:
    twice = [name for name, count in Counter(name for _, name in classes()).items() if count > 1]
    assert not twice
