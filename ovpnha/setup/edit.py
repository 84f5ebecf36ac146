"""Changes a server's configuration for ``cluster``, and nothing else in it.

Decides which lines go and which come. A line that says something else than it must is left as a
comment in its place; what must be said stands in a block at the end. Whoever has said it all
already gets the same text back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ovpnha.setup.server import ServerLine, split_lines

HEADING = "# From here on by `ovpnha init`; `ovpnha uninit` puts the file back as it was."

Wanted = Sequence[tuple[str, ...]]
"""Options that the file must have, each once, with their arguments."""


def edit_server(text: str, wanted: Wanted, unwanted: Collection[str] = ()) -> str:
    """The text with these options, and without those that are unwanted by their names."""
    lines = list(split_lines(text))
    kept = {option: _find(lines, option) for option in wanted}
    names = {option[0] for option in wanted} | set(unwanted)
    new = [
        f"#{line.raw}" if line.name in names and line not in kept.values() else line.raw
        for line in _single(lines, kept)
    ]
    missing = [" ".join(option) for option, line in kept.items() if line is None]
    return "".join(new) + (_block(text, missing) if missing else "")


def _find(lines: Sequence[ServerLine], option: tuple[str, ...]) -> ServerLine | None:
    return next((line for line in lines if line.words == option and not line.block), None)


def _single(
    lines: Sequence[ServerLine], kept: dict[tuple[str, ...], ServerLine | None]
) -> list[ServerLine]:
    """What is said twice is said once: the second one is as wrong as another word would be."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for line in lines:
        twice = line.words in seen and line.words in kept
        found.append(ServerLine(f"#{line.raw}", (), "") if twice else line)
        seen.add(line.words)
    return found


def _block(text: str, missing: Sequence[str]) -> str:
    end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    first = "" if not text or text.endswith("\n") else end
    heading = () if HEADING in text else (HEADING,)
    return first + "".join(f"{line}{end}" for line in (*heading, *missing))
