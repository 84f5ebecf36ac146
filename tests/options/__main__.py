"""``python -m tests.options > docs/options.md``."""

from __future__ import annotations

import sys

from tests.options.table import render

sys.stdout.write(render())
