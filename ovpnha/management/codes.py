"""Why OpenVPN refuses a command: the code at the head of its error.

What follows from a refusal is decided by its code alone; the text behind it is for people. Rules:
docs/management.md, "Errors".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

VERSION = 2
"""Of the management commands as they are spoken here; from 2 on errors have a code."""


class Code(StrEnum):
    """All codes; ``FAILED`` stands for those that are not known here, too."""

    FAILED = "failed"
    NO_CLUSTER = "no-cluster"
    NOT_READY = "not-ready"
    UNKNOWN_COMMAND = "unknown-command"
    WRONG_ROLE = "wrong-role"
    MALFORMED = "malformed"
    UNKNOWN_CLIENT = "unknown-client"
    NO_KEY = "no-key"
    BAD_RECORD = "bad-record"
    OTHER_HOLDER = "other-holder"
    BAD_GRANT = "bad-grant"
    STALE = "stale"
    DROP_FIRST = "drop-first"
    IN_THE_WAY = "in-the-way"
    FULL = "full"
    UNSUITABLE = "unsuitable"
    DENIED = "denied"


def read_code(text: str) -> tuple[Code, str]:
    """The code at the head of a text, and the rest; all of it when the code is not known here."""
    word, _, rest = text.partition(" ")
    return (_CODES[word], rest) if word in _CODES else (Code.FAILED, text)


_CODES: Mapping[str, Code] = {code.value: code for code in Code}
