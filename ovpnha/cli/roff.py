"""The text of a manual page, in roff with the man macros.

Decides how our own texts look there: paragraphs between empty lines, `code` in bold, *emphasis* in
italics, links as their words alone. Must never let a text become a command of roff: whatever begins
a line or means something to roff is escaped (groff_char(7), man(7)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# ASCII signs that roff would set as typographic ones, or read as its own.
SIGNS = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
)
LINK = re.compile(r"\[([^]]+)\]\([^()\s]+\)")
CODE = re.compile(r"(`[^`]+`|\*[^*\s][^*]*\*)")


def title(name: str, section: int, source: str) -> str:
    """The first line of a page, and how its paragraphs are set: never broken inside a word."""
    return f'.TH "{name}" "{section}" "" "{source}" "ovpnha"\n.nh\n.ad l'


def heading(text: str) -> str:
    """A heading of the page."""
    return f".SH {_quoted(text.upper())}"


def subheading(text: str) -> str:
    """A heading below one."""
    return f".SS {_quoted(text)}"


def paragraphs(text: str) -> str:
    """Each as its own, all their lines joined."""
    return "\n".join(f".PP\n{inline(one)}" for one in _split(text))


def item(tag: str, text: str) -> str:
    """A tag, and what it means, indented."""
    first, *more = _split(text) or [""]
    rest = "".join(f"\n.IP\n{inline(one)}" for one in more)
    return f".TP\n{inline(tag)}\n{inline(first)}{rest}"


def example(text: str) -> str:
    """Lines as they are."""
    lines = "\n".join(_line(one.translate(SIGNS)) for one in text.splitlines())
    return f".PP\n.RS 4\n.nf\n{lines}\n.fi\n.RE"


def inline(text: str) -> str:
    """A paragraph's words, in one line."""
    joined = " ".join(LINK.sub(r"\1", text).split())
    return _line("".join(_spans(joined)))


def _spans(text: str) -> Iterator[str]:
    for part in CODE.split(text):
        font = {"`": r"\fB", "*": r"\fI"}.get(part[:1], "") if CODE.fullmatch(part) else ""
        plain = (part[1:-1] if font else part).translate(SIGNS)
        yield f"{font}{plain}\\fR" if font else plain


def _split(text: str) -> list[str]:
    return [one for one in re.split(r"\n\s*\n", text.strip()) if one]


def _line(text: str) -> str:
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _quoted(text: str) -> str:
    return '"{}"'.format(text.translate(SIGNS).replace('"', r"\(dq"))
