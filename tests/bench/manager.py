"""A management client for a few commands, without the sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.waiting import connect

SECONDS = 15.0


class Manager:
    """A management client for a few commands."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path, "OpenVPN's management socket", SECONDS)
        self._file = self._socket.makefile("r", encoding="ascii", newline="\n")

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str) -> list[str]:
        """The lines of the reply, with its SUCCESS, ERROR or END."""
        self._socket.sendall(f"{command}\n".encode())
        return list(self._reply())

    def load(self, commands: list[bytes]) -> None:
        """Import; each must succeed."""
        self._socket.sendall(b"".join(commands))
        for _ in commands:
            *_, last = self._reply()
            if not last.startswith("SUCCESS"):
                raise LabError(f"import refused: {last}")

    def _reply(self) -> Iterator[str]:
        for line in self._file:
            text = line.rstrip("\r\n")
            if text.startswith(">"):
                continue
            yield text
            if text == "END" or text.startswith(("SUCCESS", "ERROR")):
                return
