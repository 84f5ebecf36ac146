"""Cuts the byte stream of the management socket into lines, within bounds.

Decides nothing about what a line means. Must never keep more than ``LINE_LIMIT`` unfinished bytes.
"""

from __future__ import annotations

from ovpnha.errors import ManagementError, PasswordAsked

LINE_LIMIT = 16 * 1024
"""Longest line in bytes. OpenVPN's own longest is a log line of 10 KiB."""

PASSWORD_PROMPT = b"ENTER PASSWORD:"


class LineReader:
    """Bytes in, whole lines out, without their line ends."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def unfinished(self) -> bool:
        """Whether bytes of a line that has not ended yet are kept."""
        return bool(self._rest)

    def receive_untrusted(self, data: bytes) -> list[bytes]:
        """Take what was read and return the lines it completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT or max(map(len, lines), default=0) > LINE_LIMIT:
            raise ManagementError(f"OpenVPN sent a line of more than {LINE_LIMIT} bytes")
        if self._rest.startswith(PASSWORD_PROMPT):
            raise PasswordAsked("OpenVPN's management socket asks for a password")
        return [line.removesuffix(b"\r") for line in lines]
