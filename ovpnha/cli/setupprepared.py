"""What one run of ``ovpnha init --alone`` or ``uninit`` will do, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ovpnha.setup.answers import Answers
from ovpnha.setup.commands import Before, Command, spell
from ovpnha.setup.manifest import Return
from ovpnha.setup.proposal import Proposal


@dataclass(frozen=True)
class PreparedServer:
    """The same for a server without any other node."""

    proposal: Proposal
    before: Before
    start: tuple[Command, ...]
    reload: tuple[Command, ...]
    answers: Answers
    rest: str

    @property
    def commands(self) -> tuple[Command, ...]:
        """All that is left to do."""
        return (*self.start, *self.reload)


@dataclass(frozen=True)
class PreparedReturn:
    """All that one run of uninit will do."""

    files: tuple[tuple[str, Return], ...]
    commands: tuple[Command, ...]
    before: Before | None = None
    """None: init has written nothing here."""

    def to_plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "files": [{"path": path, "what": what.name.lower()} for path, what in self.files],
            "commands": [list(one) for one in self.commands],
        }

    def show(self, *, written: bool, run: bool) -> str:
        """For people."""
        if not self.files:
            return "Nothing to put back: `ovpnha init` has written nothing here.\n"
        text = "".join(f"{path}: {what.value}\n" for path, what in self.files)
        if not written:
            text += "Nothing is changed yet: say it again with --write.\n"
        if self.commands and not run:
            text += f"Then, to have the stock server again (or with --now):\n{spell(self.commands)}"
        return text
