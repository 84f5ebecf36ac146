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


BURST = """
import gc
from ovpnha.runtime.process import calm_garbage_collector
calm_garbage_collector()
runs = []
gc.callbacks.append(lambda phase, info: runs.append(info["generation"]))
kept = [[number] for number in range(60_000)]
print(len(runs) // 2, max(runs))
"""


def test_many_clients_that_connect_are_looked_at_a_few_at_a_time() -> None:
    done = subprocess.run([sys.executable, "-c", BURST], capture_output=True, check=True)
    runs, oldest = map(int, done.stdout.split())
    assert runs >= 10, "each run holds up whoever connects meanwhile"
    assert oldest == 0, "a run over older ones takes much longer"
