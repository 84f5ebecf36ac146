"""Talks to the service manager: ready, status text, watchdog (the protocol of ``sd_notify``).

Decides nothing; without systemd it does nothing. The watchdog is fed from the event loop, so that
a daemon whose loop hangs is restarted; OpenVPN goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket


class ServiceManager:
    """The service manager's view of this process."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self, status: str) -> None:
        """Start-up is complete."""
        self._notify(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._notify(f"STATUS={text}")

    def stopping(self) -> None:
        """An orderly stop has begun."""
        self._notify("STOPPING=1")

    async def run(self) -> None:
        """Feed the watchdog three times in its period, for ever, if there is one."""
        period = _watchdog_period()
        while period:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(period / 3)

    def _notify(self, text: str) -> None:
        """A service manager that does not listen is none, nor is one for want of a descriptor."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.sendto(text.encode(), self._address)


def _watchdog_period() -> float:
    """Seconds; 0.0 when no watchdog is set for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0
