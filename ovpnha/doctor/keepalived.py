"""What a keepalived configuration says, as far as the grade and the VIP depend on it.

Decides how its text is read: words in lines, blocks in braces, ``#`` and ``!`` begin a comment,
``$NAME=value`` defines what ``$NAME`` and ``${NAME}`` stand for. Files that it includes were put in
place before (``runtime.keepalivedfiles``). keepalived has the last word: what it refuses is what
its own ``--config-test`` says, and nothing here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_DEFINITION = re.compile(r"\s*\$([A-Za-z_][A-Za-z0-9_]*)\s*=\s?(.*)$")
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_DEPTH = 8
"""How often a value may name another one."""
_INCLUDE = re.compile(r"\s*include[rmwba]?\s+\"?([^\s\"]+)")
ADDRESSES = ("virtual_ipaddress", "virtual_ipaddress_excluded")


@dataclass(frozen=True)
class KeepalivedBlock:
    """One line, and what stands in the braces behind it."""

    words: tuple[str, ...]
    inner: tuple[KeepalivedBlock, ...] = ()

    @property
    def name(self) -> str:
        """The word that it begins with."""
        return self.words[0]

    @property
    def title(self) -> str:
        """The second word: what a block is called; "" when there is none."""
        return self.words[1] if len(self.words) > 1 else ""

    def find(self, name: str) -> Iterator[KeepalivedBlock]:
        """The lines within it that begin with this word."""
        return (one for one in self.inner if one.name == name)

    def value(self, name: str) -> str:
        """The second word of the last of these lines; "" when there is none."""
        return next((one.title for one in reversed([*self.find(name)])), "")

    def has(self, name: str) -> bool:
        """Whether such a line is there."""
        return any(self.find(name))

    def listed(self, name: str) -> Iterator[KeepalivedBlock]:
        """What such blocks list, one after the other."""
        for one in self.find(name):
            yield from one.inner


def find_include(line: str) -> str:
    """The pattern of the files that this line includes; "" for another line."""
    found = _INCLUDE.match(line)
    return found[1] if found else ""


def find_words(lines: Iterable[str]) -> Iterator[str]:
    """Every word that is no comment, also of what variables stand for and what is in quotes."""
    for line in lines:
        found = _DEFINITION.match(line)
        for words, _ in _pieces(found[2] if found else line):
            for word in words:
                yield from word.split()


def read_blocks(lines: Iterable[str]) -> tuple[KeepalivedBlock, ...]:
    """The configuration as blocks; an open brace at the end is closed."""
    values: dict[str, str] = {}
    stack: list[tuple[tuple[str, ...], list[KeepalivedBlock]]] = [((), [])]
    for line in lines:
        if found := _DEFINITION.match(line):
            values[found[1]] = _without_comment(found[2]).strip()
            continue
        for words, brace in _pieces(_filled(line, values)):
            if words and brace != "{":
                stack[-1][1].append(KeepalivedBlock(words))
            if brace == "{":
                stack.append((words or _borrowed(stack[-1][1]), []))
            elif brace == "}" and len(stack) > 1:
                _close(stack)
    while len(stack) > 1:
        _close(stack)
    return tuple(stack[0][1])


def _close(stack: list[tuple[tuple[str, ...], list[KeepalivedBlock]]]) -> None:
    words, inner = stack.pop()
    stack[-1][1].append(KeepalivedBlock(words or ("",), tuple(inner)))


def _borrowed(before: list[KeepalivedBlock]) -> tuple[str, ...]:
    """A brace on a line of its own belongs to the line before."""
    return before.pop().words if before else ()


def _filled(line: str, values: dict[str, str]) -> str:
    """The line with what its variables stand for; one that is not defined stays."""
    for _ in range(_DEPTH):
        filled = _REFERENCE.sub(lambda one: values.get(one[1] or one[2], one[0]), line)
        if filled == line:
            break
        line = filled
    return line


def _without_comment(text: str) -> str:
    quoted = ""
    for at, sign in enumerate(text):
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "\"'":
            quoted = sign
        elif sign in "#!":
            return text[:at]
    return text


def _pieces(line: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of a line up to each brace, with the brace; at last with ""."""
    words: list[str] = []
    for word in _split(_without_comment(line)):
        for part in _around_braces(word):
            if part in "{}":
                yield tuple(words), part
                words = []
            else:
                words.append(part)
    yield tuple(words), ""


def _around_braces(word: str) -> Sequence[str]:
    if " " in word:  # it was quoted
        return (word,)
    return [part for part in re.split(r"([{}])", word) if part]


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote without end: keepalived will say so
        return text.split()


@dataclass(frozen=True)
class KeepalivedConfig:
    """The configuration, as the checks ask it."""

    blocks: Sequence[KeepalivedBlock]

    def all(self, *names: str) -> Iterator[KeepalivedBlock]:
        """Blocks with one of these names."""
        return (one for one in self.blocks if one.name in names)

    @property
    def instances(self) -> list[KeepalivedBlock]:
        """Each ``vrrp_instance``."""
        return list(self.all("vrrp_instance"))

    def holder(self, vip: str) -> KeepalivedBlock | None:
        """The ``vrrp_instance`` that moves an address."""
        for one in self.instances:
            if any(address_in(line) == vip for line in addresses_of(one)):
                return one
        return None

    def group(self, instance: KeepalivedBlock) -> KeepalivedBlock | None:
        """The ``vrrp_sync_group`` that it is in."""
        for one in self.all("vrrp_sync_group"):
            if any(instance.title in line.words for line in one.listed("group")):
                return one
        return None

    def together(self, instance: KeepalivedBlock) -> list[KeepalivedBlock]:
        """Those that move with it, itself among them."""
        group = self.group(instance)
        if group is None:
            return [instance]
        return [one for one in self.instances if self.group(one) == group]

    def setting(self, name: str) -> bool:
        """Whether ``global_defs`` has it."""
        return any(one.has(name) for one in self.all("global_defs"))


def addresses_of(instance: KeepalivedBlock) -> Iterator[KeepalivedBlock]:
    """The lines of a ``vrrp_instance`` that name an address."""
    for name in ADDRESSES:
        yield from instance.listed(name)


def address_in(line: KeepalivedBlock) -> str:
    """The address in such a line."""
    return line.name.partition("/")[0]


def device_of(line: KeepalivedBlock, instance: KeepalivedBlock) -> str:
    """Where it goes."""
    words = line.words
    return words[words.index("dev") + 1] if "dev" in words[:-1] else instance.value("interface")
