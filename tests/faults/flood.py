"""Strangers at the HTTP port of a master: they get their answers, and nobody else notices."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.topology import inside
from tests.lab.waiting import wait_until

OPENVPN = Path("build/openvpn/openvpn").resolve()
CONNECTIONS = 1150
LOG_LIMIT = 256 * 1024
PORT = 9594
PATIENCE = 20.0
"""Seconds for an answer, on a machine that has all these threads to run, too."""


def flood_http(say: Say) -> str:
    """Idle connections and a flood of requests; the role stays and /health is answered."""
    with Lab(Setup(openvpn=OPENVPN), say) as lab:
        lab.start_cluster()
        lab.start_client()
        lab.wait_in_sync("b")
        master = lab.nodes["a"]
        log = master.sidecar.process.log
        before = log.stat().st_size
        say(f"{CONNECTIONS} idle connections, and a flood of requests")
        with _idle(master.namespace), _flooding(master.namespace):
            for _ in range(20):
                assert _health(master.namespace) == 200, "/health was not answered"
                assert lab.vips.holder() == "a", "the VIP has left a healthy master"
                assert master.grade() == 120, f"the grade is {master.grade()}"
            wait_until(lambda: _metrics(master.namespace), "/metrics", PATIENCE)
        written = log.stat().st_size - before
        assert written < LOG_LIMIT, f"{written} bytes of log"
        lab.clients[0].process.expect_running()
        return f"{written} bytes of log"


@contextlib.contextmanager
def _idle(namespace: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack, inside(namespace):
        for _ in range(CONNECTIONS):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", PORT))
        yield


@contextlib.contextmanager
def _flooding(namespace: str) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=_ask_on, args=(stop,)) for _ in range(8)]
    with inside(namespace):  # a thread begins where it was made
        for thread in threads:
            thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask_on(stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException):
            _get("/status")


def _get(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _health(namespace: str) -> int:
    with inside(namespace):
        return _get("/health")[0]


def _metrics(namespace: str) -> bool:
    with inside(namespace):
        return _get("/metrics")[0] == 200


FAULTS = (Fault("10-A5 a flood at the HTTP port", 1, flood_http),)
