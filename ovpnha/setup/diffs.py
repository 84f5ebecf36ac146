"""What `ovpnha init` shows of a file before it changes it: a unified diff without secrets.

Must never show a private key: what stands in an inline block that holds one, or in a file that is
one, is replaced before anything is compared.
"""

from __future__ import annotations

import difflib

from ovpnha.setup.server import split_lines

_SECRETS = """
    key tls-auth tls-crypt tls-crypt-v2 pkcs12 secret auth-gen-token-secret auth-user-pass
    http-proxy-user-pass
"""
SECRET_BLOCKS = frozenset(_SECRETS.split())
HIDDEN = "[secret]"


def mask_secrets(text: str) -> str:
    """A server's configuration, with each line of a secret block hidden."""
    return "".join(
        f"{HIDDEN}\n"
        if line.block in SECRET_BLOCKS and not line.raw.lstrip().startswith("<")
        else line.raw
        for line in split_lines(text)
    )


def show_diff(path: str, before: str | None, after: str, *, secret: bool) -> str:
    """A diff for the eye; "" when nothing changes."""
    if before == after:
        return ""
    if secret:
        what = "new" if before is None else "changed"
        return f"--- {path}\n+++ {path}\n@@ {what}, secret: its content is not shown @@\n"
    if "\0" in after:
        return f"--- {path}\n+++ {path}\n@@ {len(after)} bytes that are no text @@\n"
    old, new = (_lines(mask_secrets(text)) for text in (before or "", after))
    lines = difflib.unified_diff(
        old, new, "/dev/null" if before is None else path, path, lineterm=""
    )
    return "".join(f"{_printable(line)}\n" for line in lines)


def _lines(text: str) -> list[str]:
    """An end of the file without a newline is no line, and shows as one."""
    *lines, last = text.split("\n")
    return [*lines, f"{last} (no newline at the end)"] if last else lines


def _printable(line: str) -> str:
    return line.encode("utf-8", errors="replace").decode().rstrip("\r")
