"""Limits that hold on a busy machine too.

A deadline is for what never comes, so it is long: a test that passes does not wait for it. A figure
is compared with a bound to which the machine's own lateness is added, as the traffic's sender saw
it in the same time: how late it got its turn.
"""

from __future__ import annotations

from tests.lab.session import TURNS, Moment, Watch

PATIENCE = 60.0


def is_short(session: Watch, moment: Moment, bound_ms: float) -> bool:
    """Whether the client was without answers for less than the bound, on a machine like this."""
    return session.outage_ms(moment) < bound_ms + TURNS * session.late_ms(moment)
