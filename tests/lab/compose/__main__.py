"""``make compose-demo``: the container lab, its deaths under traffic, and what the client saw.

usage: python -m tests.lab.compose [--scenario NAME ...] [--output DIRECTORY] [--clean]

Exit code 1 when a promise was not kept, 2 when the demo itself could not do its work.
"""

from __future__ import annotations

from tests.lab.compose.cli import app

if __name__ == "__main__":
    app(prog_name="python -m tests.lab.compose")
