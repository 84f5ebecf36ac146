"""A lab whose OpenVPNs write down every nonce, with a sniffer at the client and traffic to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.process import Process
from tests.lab.traffic import agent


@contextmanager
def traced_lab(setup: Setup, say: Callable[[str], None]) -> Iterator[Lab]:
    """A lab of a traced build: each process of it has a file of its own (``traces_of``)."""
    lab = Lab(setup, say)
    os.environ["CLUSTER_TRACE"] = str(trace_of(lab))
    try:
        with lab:
            yield lab
    finally:
        del os.environ["CLUSTER_TRACE"]


def trace_of(lab: Lab, pid: int | None = None) -> Path:
    """Where a process writes its nonces; without a number what all of these begin with."""
    return lab.directory / ("nonces" if pid is None else f"nonces.{pid}")


def traces_of(lab: Lab) -> list[Path]:
    """What has been written so far, a file for each process that ever ran."""
    return sorted(lab.directory.glob(f"{trace_of(lab).name}.*"))


def wire_of(lab: Lab) -> Path:
    """What the sniffer has seen."""
    return lab.directory / "wire"


def sniffer(lab: Lab, mark: int) -> Process:
    """Notes what comes to the client; ``mark``: where a packet has what tells it from others."""
    return agent(
        "sniffer",
        "sniffer",
        [plan.OUT.interface, str(wire_of(lab)), str(mark)],
        namespace=lab.topology.namespace("client"),
        directory=lab.directory,
    )


def source(lab: Lab, name: str) -> Process:
    """Traffic from a node's own namespace through the tunnel, so that it has something to send."""
    return Process(
        ["ping", "-q", "-i", "0.005", "-s", "16", lab.tunnel_address()],
        namespace=lab.topology.namespace(name),
        directory=lab.directory,
        log=lab.directory / f"ping-{name}.log",
    )
