"""Clients that must notice a restart are told to reconnect, one after the other, before it.

Decides what is said of it to people, and that a sidecar that cannot do it keeps nobody from a
restart: clients are told by OpenVPN then, or find out. Rules:
docs/adr/0081-told-one-after-the-other.md.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ovpnha.machines import Process
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.restartrequest import RestartAnswer, Step, is_master
from ovpnha.runtime.restartunits import OtherUnits

SAY_EVERY = 2.0
"""Seconds between two words about how far it is."""
AT_MOST = 30.0
"""Seconds after which OpenVPN is ended all the same: more than all clients take."""


class ForcedRestart:
    """Of one restart.

    Args:
        ask: Has the sidecar do this step.
        say: Tells a person.
    """

    def __init__(self, ask: Callable[[Step], RestartAnswer], say: Callable[[str], None]) -> None:
        self._ask = ask
        self._say = say

    def restart(self, units: OtherUnits, told: RestartAnswer) -> None:
        """End the server, and start its main process.

        Should that not come to pass, who has been told comes back to whoever serves on.

        Raises:
            UnitError: systemd refuses, or has not done it yet.
        """
        if not is_master(told):
            self._say("OpenVPN is stopped and started")
            units.restart(Process.MAIN)
            return
        self._say("OpenVPN is stopped and started, its clients reconnect")
        try:
            units.restart(told.serving, self._tell)
        finally:
            with contextlib.suppress(ControlError):
                self._ask("stay")

    def _tell(self) -> None:
        """Tell all of them."""
        begun, said = time.monotonic(), 0.0
        try:
            answer = self._ask("farewell")
            while answer.telling and time.monotonic() < begun + AT_MOST:
                if answer.clients and time.monotonic() >= said + SAY_EVERY:
                    said = time.monotonic()
                    self._say(f"{answer.told} of {answer.clients} clients are told to reconnect")
                answer = self._ask("farewell")
        except ControlError as error:
            self._say(f"clients are not told one after the other: {error}")
            return
        if answer.told:
            self._say(f"{answer.told} clients were told to reconnect, one after the other")
