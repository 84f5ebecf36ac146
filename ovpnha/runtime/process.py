"""What the whole process promises: no core dump, no debugger, no late garbage run, no few files.

Live keys are in this memory: neither a crash nor a curious process of the same user may write
them out. A piped ``core_pattern`` ignores RLIMIT_CORE, so the process is marked undumpable too.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource

PR_SET_DUMPABLE = 4
YOUNGEST_THRESHOLD = 5_000
"""Objects: a run over them takes some milliseconds, and whoever connects meanwhile waits for it."""
OLDER_AFTER = 200
"""Such runs until all that they have kept is looked at again: seldom, that takes much longer."""
DESCRIPTORS = 65536


def protect_memory() -> None:
    """Forbid core dumps and ptrace by others; raises OSError when the kernel refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"PR_SET_DUMPABLE: {os.strerror(number)}")


def raise_descriptor_limit() -> None:
    """As many open files as this process may have, not the few that it is given at first."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def calm_garbage_collector() -> None:
    """Put what start-up made aside, and collect little at a time: a run delays promotions."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNGEST_THRESHOLD, OLDER_AFTER, 100)
