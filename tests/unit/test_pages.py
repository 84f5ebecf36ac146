"""What the pages and the code say of pages is there: files, headings, decisions.

A place in a page is named in one form only: a link in a page, ``docs/NAME.md, "Heading"`` in code,
``[NAME.md](NAME.md), *Heading*`` where a page names a section in words.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "adr"

FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)")
IN_WORDS = re.compile(r"\]\(([^()\s#]+\.md)\), \*([^*]+)\*")
BELOW = re.compile(r"\*([A-Z][^*]+)\* (?:below|above)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)
# Where a line of code goes on: behind its indentation and the sign of a comment.
LINE_END = re.compile(r"\n[ \t]*(?:#|//|\*(?!/))?[ \t]*")
MENTION = re.compile(r'docs/([a-z-]+\.md), "([^"]+)"')
UNQUOTED = re.compile(r"docs/[a-z-]+\.md, \*?[A-Z][A-Za-z ]*")
PAGE = re.compile(r"\bdocs/[a-z-]+\.md")
DECISION = re.compile(r"\bdocs/adr/(\d{4})(-[a-z-]+\.md)?")
QUOTED = re.compile(r"`([^`\n]+)`")
# A row of a walk through the code: a file, and which functions of it.
WHO = re.compile(r"^\|(?: [^`|]+ \|)? `([\w./-]+\.(?:py|c|h|patch))` \| (`[^|]+) \|", re.M)
# And the same in a sentence.
NAMED = re.compile(r"`([\w./-]+\.(?:py|c|h))` \(([^()]*)\)")
OF_OPENVPN = {"check"}
STATUS = re.compile(
    r"^Accepted 20\d\d-\d\d-\d\d(?:; superseded by \[decision \d+\]\((\d{4}-[a-z-]+\.md)\))?\.$"
)


def committed(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def slugs(text: str) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(text):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{words}-{seen[words]}" if seen[words] else words)
        seen[words] += 1
    return frozenset(found)


def headings(text: str) -> list[str]:
    """As somebody reads them: without code quotes and without where a link leads."""
    plain = FENCE.sub("", text)
    return [re.sub(r"\[([^]]+)\]\([^)]*\)|`", r"\1", one) for one in HEADING.findall(plain)]


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def dead_links(page: Path, text: str) -> Iterator[str]:
    """What a page points at and what is not there."""
    plain = FENCE.sub("", text)
    for target in LINK.findall(plain):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", name):
            continue
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in slugs(text if path == page else read(path)):
            yield f"{target}: no such heading"
    for name, heading in IN_WORDS.findall(plain):
        path = (page.parent / name).resolve()
        if path.exists() and heading not in headings(read(path)):
            yield f"{name}, {heading}: no such heading"
    for heading in BELOW.findall(plain):
        if heading not in headings(text):
            yield f"{heading}: no such heading"


def dead_mentions(text: str) -> Iterator[str]:
    """What a file of code, of a script or of settings says of pages and what is not so."""
    plain = LINE_END.sub(" ", text)
    for name, heading in MENTION.findall(plain):
        if (ROOT / "docs" / name).exists() and heading not in headings(read(ROOT / "docs" / name)):
            yield f'docs/{name}, "{heading}": no such heading'
    for place in UNQUOTED.findall(plain):
        yield f"{place}: put the heading into quotes"
    for name in PAGE.findall(plain):
        if not (ROOT / name).exists():
            yield f"{name}: no such page"
    for number, rest in DECISION.findall(plain):
        if not list(DECISIONS.glob(f"{number}{rest or '-*.md'}")):
            yield f"docs/adr/{number}{rest}: no such decision"


def dead_names(text: str) -> Iterator[str]:
    """Files that a page names, and what it says is in them."""
    for place in QUOTED.findall(text):
        if "/" in place[1:] and re.match(r"[.\w/-]+$", place) and not (ROOT / place).exists():
            yield f"{place}: no such file"
    for place, names in [*WHO.findall(text), *NAMED.findall(text)]:
        source = read(ROOT / place) if (ROOT / place).is_file() else ""
        for name in re.findall(r"`([\w.]+)`", names):
            for word in name.split("."):
                if not re.search(rf"\b{re.escape(word)}\b", source):
                    yield f"{place}: has no {name}"


def dead_targets(text: str) -> Iterator[str]:
    """What a page tells somebody to make."""
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.M)) | OF_OPENVPN
    for command in re.findall(r"(?:`|^)make ([a-z -]+)", text, re.M):
        yield from (f"make {one}: no such target" for one in command.split() if one not in targets)


def collect(found: Iterable[tuple[Path, str]]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}: {problem}" for path, problem in found)


def test_every_link_of_a_page_leads_somewhere() -> None:
    pages = committed("*.md")
    assert {ROOT / "README.md", ROOT / "docs/wire.md"} <= set(pages)
    dead = collect((page, one) for page in pages for one in dead_links(page, read(page)))
    assert not dead, dead


def test_every_make_target_of_a_page_is_one() -> None:
    dead = collect((page, one) for page in committed("*.md") for one in dead_targets(read(page)))
    assert not dead, dead


def test_the_walks_through_the_code_go_by_what_is_there() -> None:
    text = read(ROOT / "docs" / "development.md")
    assert len(WHO.findall(text)) > 50
    assert list(dead_names(text)) == []


def test_what_code_says_of_a_page_is_there() -> None:
    patterns = ("*.py", "*.[ch]", "*.sh", "*.toml", "*.yml", "*.patch", "Makefile", "deploy")
    files = [path for path in committed(*patterns) if path != Path(__file__)]
    dead = collect((path, one) for path in files for one in dead_mentions(readable(path)))
    assert not dead, dead


def readable(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def decisions() -> list[Path]:
    return sorted(DECISIONS.glob("[0-9]*.md"))


def has_no_status(text: str) -> str:
    """Why the third line of a decision is not its date and its status; empty when it is."""
    title, _, rest = text.partition("\n\n")
    line = rest.partition("\n")[0]
    if not re.match(r"# \d+\. ", title):
        return "does not begin with its number"
    found = STATUS.match(line)
    if found is None:
        return f"says {line[:40]!r} for its date and status"
    successor = found[1]
    return "" if successor is None or (DECISIONS / successor).exists() else f"no {successor}"


def test_every_decision_has_a_date_and_a_status() -> None:
    lacking = collect((path, why) for path in decisions() if (why := has_no_status(read(path))))
    assert not lacking, lacking


def test_the_index_of_decisions_has_each_with_its_title_and_date() -> None:
    found = re.findall(
        r"^\| \[(\d+)\]\(([^)]+)\) \| (.+?) \| (\S+) \|$", read(DECISIONS / "README.md"), re.M
    )
    wanted = []
    for path in decisions():
        number, title, date = re.findall(r"# (\d+)\. (.+)\n\nAccepted ([\d-]+)", read(path))[0]
        wanted.append((number, path.name, title, date))
    assert found == wanted


@pytest.mark.parametrize(
    "text",
    [
        "[gone](docs/gone.md)",
        "[gone](docs/wire.md#gone)",
        "[gone](#gone)\n# Here",
        "[wire.md](docs/wire.md), *Gone*",
        "*Gone* below\n# Here",
    ],
)
def test_a_dead_link_is_found(text: str) -> None:
    assert len(list(dead_links(ROOT / "README.md", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[page](docs/wire.md#who-is-believed) [place](docs/adr/) [web](https://example.org/#x)",
        "[here](#what-ovpnha-says) [twice](#twice-1)\n# What `ovpnha` says?\n# Twice\n# Twice",
        "[wire.md](docs/wire.md), *Who is believed*; *Here* above\n# Here",
        "```\n[no link](gone.md)\n```",
    ],
)
def test_a_live_link_is_not_blamed(text: str) -> None:
    assert list(dead_links(ROOT / "README.md", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        'Rules: docs/wire.md, "Gone".',
        '# Rules: docs/wire.md,\n# "Gone".',
        " * docs/wire.md,\n * Datagrams.",
        "Rules: docs/gone.md.",
        "docs/adr/0099",
        "docs/adr/0001-gone.md",
    ],
)
def test_a_dead_mention_is_found(text: str) -> None:
    assert len(list(dead_mentions(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`ovpnha/gone.py`",
        "| `ovpnha/model.py` | `Role`, `Gone.take` | what |",
        "| lost | `ovpnha/model.py` | `gone` notices |",
        "`ovpnha/model.py` (the class `Gone`)",
    ],
)
def test_a_name_that_is_gone_is_found(text: str) -> None:
    assert list(dead_names(text))


@pytest.mark.parametrize("text", ["`make gone ONLY=it`", "```sh\nmake lint gone\n```"])
def test_a_target_that_is_gone_is_found(text: str) -> None:
    assert list(dead_targets(text)) == ["make gone: no such target"]


def test_a_mention_that_goes_on_in_the_next_line_is_read() -> None:
    assert not list(dead_mentions('    # docs/wire.md, "Who is\n    # believed"; docs/adr/0001'))


@pytest.mark.parametrize(
    "text",
    [
        "# 1. Title\n\n**Decision.** No status.",
        "# 1. Title\n\nAccepted some day.\n",
        "# 1. Title\n\nAccepted 2026-01-01; superseded by [decision 99](0099-gone.md).\n",
        "# Title\n\nAccepted 2026-01-01.\n",
    ],
)
def test_a_decision_without_status_is_found(text: str) -> None:
    assert has_no_status(text)
