"""The management channel of one OpenVPN: matches replies to pipelined commands, in order.

Decides which reply belongs to which command. Must never own a socket, and never keep more than a
command's own bound of a reply. Rules: docs/management.md, "The socket".
"""

from __future__ import annotations

from collections import deque

from ovpnha.errors import ManagementError
from ovpnha.management.commands import Command
from ovpnha.management.lines import LineReader
from ovpnha.management.notices import Notice, read_notice_untrusted
from ovpnha.management.replies import (
    Reply,
    read_block_untrusted,
    read_error_untrusted,
    read_success_untrusted,
)
from ovpnha.management.words import printable

SUCCESS = b"SUCCESS: "
ERROR = b"ERROR: "
END = b"END"


class Channel:
    """One connection, from connect to close."""

    def __init__(self) -> None:
        self._lines = LineReader()
        self._commands: deque[Command] = deque()
        self._block: list[str] = []
        self._block_size = 0
        self._events: deque[Notice | Reply] = deque()

    def send(self, command: Command) -> bytes:
        """Expect this command's reply after those already expected; returns what to write."""
        self._commands.append(command)
        return command.encode()

    def receive_untrusted(self, data: bytes) -> None:
        """Take what was read. After ManagementError the connection is of no more use."""
        lines = self._lines.receive_untrusted(data)
        noticed = b"\n>" in data or (bool(lines) and lines[0].startswith(b">"))
        at = 0
        while at < len(lines):
            if self._block and not noticed and not self._commands[0].free_text:
                at = self._take_run_untrusted(self._commands[0], lines, at)
            if at < len(lines):
                self._take_untrusted(lines[at])
                at += 1

    def next_event(self) -> Notice | Reply | None:
        """The next notice or reply, in the order OpenVPN sent them."""
        return self._events.popleft() if self._events else None

    @property
    def unfinished(self) -> bool:
        """Whether the bytes so far end within a line or within a reply."""
        return self._lines.unfinished or bool(self._block)

    def _take_run_untrusted(self, command: Command, lines: list[bytes], at: int) -> int:
        """Take the rest of a block, as far as it is here, at once; returns where it ends."""
        try:
            end = lines.index(END, at)
        except ValueError:
            end = len(lines)
        if end > at:
            run = b"\n".join(lines[at:end])
            self._grow_untrusted(command, len(run) + 1)
            self._block += _ascii_untrusted(run).split("\n")
        return end

    def _take_untrusted(self, line: bytes) -> None:
        if line.startswith(b">"):
            self._events.append(read_notice_untrusted(line))
        elif not self._commands:
            raise ManagementError("OpenVPN answered without having been asked")
        elif self._block or (self._commands[0].block_limit and not line.startswith(ERROR)):
            self._take_block_untrusted(self._commands[0], line)
        else:
            self._take_line_untrusted(self._commands[0], line)

    def _take_line_untrusted(self, command: Command, line: bytes) -> None:
        if line.startswith(SUCCESS):
            reply = read_success_untrusted(command, _ascii_untrusted(line.removeprefix(SUCCESS)))
        elif line.startswith(ERROR):
            reply = read_error_untrusted(command, printable(line.removeprefix(ERROR)))
        else:
            raise ManagementError(f"OpenVPN answered neither SUCCESS nor ERROR to {command.name}")
        self._finish(reply)

    def _take_block_untrusted(self, command: Command, line: bytes) -> None:
        if line == END:
            self._finish(read_block_untrusted(command, self._block))
            return
        self._grow_untrusted(command, len(line) + 1)
        if command.free_text:
            self._block.append(line.decode(errors="replace"))
        else:
            self._block.append(_ascii_untrusted(line))

    def _grow_untrusted(self, command: Command, size: int) -> None:
        self._block_size += size
        if self._block_size > command.block_limit:
            raise ManagementError(
                f"OpenVPN's answer to {command.name} has more than {command.block_limit} bytes"
            )

    def _finish(self, reply: Reply) -> None:
        self._commands.popleft()
        self._block, self._block_size = [], 0
        self._events.append(reply)


def _ascii_untrusted(line: bytes) -> str:
    try:
        return line.decode("ascii")
    except UnicodeDecodeError:
        raise ManagementError("OpenVPN sent a reply that is not ASCII") from None
