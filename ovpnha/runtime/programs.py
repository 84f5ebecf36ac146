"""Runs another program of the host to read what it says: bounded in time, never by a shell.

Decides nothing. What goes wrong comes back as a sentence; no program that is missing or hangs may
end or stop who asks.
"""

from __future__ import annotations

import os
import subprocess

COMMAND_TIMEOUT = 10.0


def run_program(
    *command: str, given: str | None = None, within: float = COMMAND_TIMEOUT
) -> tuple[str, str]:
    """What a program prints, and why that is not to be believed ("" when it is)."""
    try:
        done = subprocess.run(
            command,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            errors="replace",  # a comment may hold anything
            timeout=within,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        return "", no_program(command[0])
    except subprocess.TimeoutExpired:
        return "", f"{command[0]}: no answer within {within:g} s"
    except OSError as error:
        return "", f"{command[0]}: {error}"
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return "", f"{command[0]}: {said[0]}"
    return done.stdout, ""


def no_program(name: str) -> str:
    """What is said of a program that is not there."""
    return f"there is no program {name} that this user may run"
