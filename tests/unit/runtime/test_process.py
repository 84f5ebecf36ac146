from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, gc, resource
from ovpnha.runtime.process import calm_garbage_collector, protect_memory
from ovpnha.runtime.process import raise_descriptor_limit
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
raise_descriptor_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65536)
protect_memory()
calm_garbage_collector()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(gc.isenabled(), gc.get_freeze_count() > 0)
"""


def test_the_process_leaves_no_core_and_no_debugger_in() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    assert done.stdout.split(b"\n")[:2] == [b"(0, 0) 0", b"True True"]
