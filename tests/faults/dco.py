"""Clients that begin a new session within their connection, as after a handshake that failed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.integration.conftest import OPENVPN
from tests.integration.test_begun_anew import try_renegotiation_after_reset
from tests.lab.dco.cases import broken_promise, on_stage, try_case
from tests.lab.dco.image import ready_image
from tests.lab.dco.series import Series


def renegotiation_after_reset(_say: Say) -> str:
    """A client in its process, which is asked for a renegotiation afterwards."""
    return try_renegotiation_after_reset(OPENVPN, moved=False)


def killed_in_flight(say: Say) -> str:
    """A client in its kernel, whose master dies when it has said its ClientHello."""
    image = ready_image(Path("build/dco").resolve())
    boot = partial(on_stage, image, OPENVPN, userspace=False, say=say)
    (outcome,) = Series(["kill-in-tls-flight"], say).run(boot, try_case)
    assert not (broken := broken_promise(outcome)), broken
    return f"{outcome.longest_gap_ms:.0f} ms"


FAULTS = (
    Fault(
        "B13 the renegotiation after a hard reset within a session", 1, renegotiation_after_reset
    ),
    Fault("B13 a DCO client whose master dies in its TLS flight", 1, killed_in_flight),
)
