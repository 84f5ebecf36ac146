"""What the sidecar's user may do with a file, whoever asks.

Decides by the kernel's word, which knows of directories above a file, of access lists and of mounts
without programs. Root asks it as that user; anybody else can ask for himself only.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from ovpnha.doctor.facts import Unread
from ovpnha.runtime.programs import run_program

MODES = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
WITHIN = 2.0
ASK = 'while [ $# -gt 0 ]; do [ "-$1" "$2" ] && echo yes || echo no; shift 2; done'
Wanted = tuple[str, Path]
"""A letter of ``MODES``, and the file."""


def ask_access(user: int | None, wanted: Sequence[Wanted]) -> tuple[bool, ...] | Unread:
    """For each whether the user of this number may; None: whoever asks."""
    if not wanted:
        return ()
    if user is None or user == os.geteuid():
        return tuple(os.access(path, MODES[letter]) for letter, path in wanted)
    if os.geteuid() != 0:
        return Unread("this user cannot try as another one; run as root")
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        return Unread(f"user {user} has no name on this host")
    words = [word for letter, path in wanted for word in (letter, str(path))]
    said, problem = run_program(
        *("setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups"),
        *("sh", "-c", ASK, "sh", *words),
        within=WITHIN,
    )
    return Unread(problem) if problem else tuple(word == "yes" for word in said.split())
