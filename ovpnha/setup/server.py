"""An OpenVPN server's configuration as its options, and as the lines that it is made of.

Decides what counts as an option there: not what stands in a comment, nor in an inline block. Lines
keep every byte, so that a file can be changed in one place and be the same in all others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LINE = re.compile(r"[^\n]*\n|[^\n]+")
BLOCK = re.compile(r"<([a-z0-9-]+)>")
INLINE = "[inline]"
BYTE_ORDER_MARK = "\ufeff"
"""OpenVPN skips it at the beginning of a file."""

Load = Callable[[str], str | None]
"""Gives the text of a file that is included, by the word that names it; None when it has been."""


@dataclass(frozen=True)
class ServerLine:
    """One line of the file."""

    raw: str
    """As it stands there, with its end."""
    words: tuple[str, ...]
    """An option and its arguments; empty for a comment, and inside of an inline block."""
    block: str
    """The inline block that it is the beginning, a part or the end of; else empty."""

    @property
    def name(self) -> str:
        """The option; empty without one."""
        return self.words[0] if self.words else ""


@dataclass
class Server:
    """The options of one file: of each, the words of every line that has it."""

    path: Path
    options: dict[str, list[list[str]]] = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict, repr=False)
    """What stands between ``<NAME>`` and ``</NAME>``; among it private keys."""

    def has(self, name: str) -> bool:
        """Whether a line has this option."""
        return name in self.options

    def last(self, name: str) -> list[str]:
        """The words of the last line with this option; empty without one."""
        return self.options.get(name, [[]])[-1]

    def word(self, name: str) -> str:
        """The first word of that line."""
        return next(iter(self.last(name)), "")

    def take(self, lines: Iterable[ServerLine], load: Load) -> None:
        """Add the options of these lines, and those of the files that they include."""
        for line in lines:
            if not line.words:
                self._take_inline(line)
                continue
            self.options.setdefault(line.name, []).append(list(line.words[1:]))
            more = load(line.words[1]) if line.name == "config" and line.words[1:] else None
            self.take(split_lines(more or ""), load)

    def _take_inline(self, line: ServerLine) -> None:
        if line.block and not _ends_block(line.raw, line.block):
            self.inline[line.block] = self.inline.get(line.block, "") + line.raw


def split_lines(text: str) -> Iterator[ServerLine]:
    """The lines of a file, each with what OpenVPN would read in it."""
    block = ""
    for number, raw in enumerate(LINE.findall(text)):
        plain = (raw if number else raw.removeprefix(BYTE_ORDER_MARK)).strip()
        if block:
            yield ServerLine(raw, (), block)
            block = "" if _ends_block(raw, block) else block
            continue
        words = _split(plain)
        if match := BLOCK.fullmatch(" ".join(words)):
            block = match[1]
            yield ServerLine(raw, (block, INLINE), block)
        else:
            yield ServerLine(raw, (words[0].removeprefix("--"), *words[1:]) if words else (), "")


def find_open_block(text: str) -> str:
    """The inline block that the end of the file leaves open; empty when there is none."""
    last = next(reversed(list(split_lines(text))), None)
    is_open = last is not None and last.block and not _ends_block(last.raw, last.block)
    return last.block if last is not None and is_open else ""


def parse_server(path: Path, text: str, load: Load = lambda _name: None) -> Server:
    """The options of a file, and of those that it includes."""
    server = Server(path)
    server.take(split_lines(text), load)
    return server


def _ends_block(raw: str, block: str) -> bool:
    """OpenVPN reads no further in that line."""
    return raw.lstrip().startswith(f"</{block}>")


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ";#"
    try:
        return list(lexer)
    except ValueError:  # a quote without end: OpenVPN will say so
        return text.split()
