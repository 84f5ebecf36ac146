"""What holds whenever a node is driven."""

from __future__ import annotations

import pytest

from ovpnha.node.cluster.grading import grade
from ovpnha.node.instance import Instance
from ovpnha.node.role.succession import Step, decide


@pytest.fixture(autouse=True)
def news_of_clients_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the short way nothing is left that the whole way would do.

    But for what time alone has made due: the timer is late, and will tell.
    """
    evaluate_clients = Instance.evaluate_clients

    def check(self: Instance, now: float) -> None:
        evaluate_clients(self, now)
        due, parts = self.get_timer(), self.parts
        if due is None or due > now:
            assert decide(parts.situation(now)) is Step.STAY
            assert parts.announcer.grade == grade(parts.grade_input(now))
            assert parts.announcer._last == parts.state(parts.announcer.grade[0], now)

    monkeypatch.setattr(Instance, "evaluate_clients", check)
