"""How a program of the lab ends: its exit status, and one line where it could not do its work."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from tests.lab.cleanup import ended_by_sigterm
from tests.lab.errors import LabError

FAILED = 2  # the lab could not do its work
STOPPED = 130  # as a shell has it


def run_to_end(name: str, work: Callable[[], int], console: Console) -> int:
    """Do the work; its exit status, or that of a lab that failed or was stopped."""
    try:
        with ended_by_sigterm():
            return work()
    except LabError as error:
        console.print(f"{name}: {error}", style="red", markup=False)
        return FAILED
    except KeyboardInterrupt:
        console.print(f"{name}: stopped; nothing is left behind", style="red")
        return STOPPED
