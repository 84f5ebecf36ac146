from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, gc, resource
from ovpnha.runtime.process import calm_garbage_collector, protect_memory
protect_memory()
calm_garbage_collector()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(gc.isenabled(), gc.get_freeze_count() > 0)
"""


def test_the_process_leaves_no_core_and_no_debugger_in() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    assert done.stdout.split(b"\n")[:2] == [b"(0, 0) 0", b"True True"]
