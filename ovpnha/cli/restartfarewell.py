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
from ovpnha.runtime.restartunits import OtherUnits, UnitError

SAY_EVERY = 2.0
"""Seconds between two words about how far it is."""
AT_MOST = 30.0
"""Seconds after which OpenVPN is ended all the same: more than all clients take."""
BY_NOBODY = 3.0
"""The same, while the sidecar tells nobody: its OpenVPN does not answer, or is not a master now."""
LOOK_EVERY = 0.2


class ForcedRestart:
    """Of one restart.

    Args:
        ask: Has the sidecar do this step.
        say: Tells a person.
    """

    def __init__(self, ask: Callable[[Step], RestartAnswer], say: Callable[[str], None]) -> None:
        self._ask = ask
        self._say = say
        self._told = False  # all that are to be told have been

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
        except BaseException as error:
            # Ended by a signal while systemd is at it: it goes on, and nobody is to be let in. What
            # it is at before all have been told is another job.
            if isinstance(error, UnitError) or not (self._told and units.is_at_it()):
                self._stay()
            raise
        self._stay()

    def _stay(self) -> None:
        with contextlib.suppress(ControlError):
            self._ask("stay")

    def _tell(self) -> None:
        """Tell all of them, as far as it can be done."""
        try:
            answer = self._go_on()
        except ControlError as error:
            self._say(f"clients are not told one after the other: {error}")
        else:
            if answer.told and answer.parted:
                self._say(f"{answer.told} clients were told to reconnect, one after the other")
            elif not answer.parted:
                told = f"{answer.told} of {answer.clients} clients"
                self._say(f"{told} were told to reconnect, no more")
        self._told = True

    def _go_on(self) -> RestartAnswer:
        """Until all know it, or it is of no use any more."""
        answer, said = self._ask("farewell"), 0.0
        end, heard = time.monotonic() + AT_MOST, time.monotonic()
        while not answer.parted and time.monotonic() < min(end, heard + BY_NOBODY):
            if answer.telling:
                heard = time.monotonic()
            else:
                time.sleep(LOOK_EVERY)
            if answer.clients and time.monotonic() >= said + SAY_EVERY:
                said = time.monotonic()
                self._say(f"{answer.told} of {answer.clients} clients are told to reconnect")
            answer = self._ask("farewell")
        return answer
