"""Finding out what OpenVPN is: its role, its clients, whether it has the patch, whether it answers.

Decides only what is known. Until everything is known nothing may be ordered: OpenVPN may be serving
clients at this very moment. Rules: docs/management.md, Notifications (last paragraph).
"""

from __future__ import annotations

from collections.abc import Mapping

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import OpenvpnFound
from ovpnha.management.commands import Cookie, ListInstances, LoadStats, Status, Version
from ovpnha.model import HolderId, OpenvpnStatus, Uid

ANSWER_WITHIN = 3.0
"""Seconds within which OpenVPN must have answered, from start or reconnect on. Longer: a node whose
OpenVPN never starts refuses the VIP later; shorter: a slow script of OpenVPN's makes it refuse."""

RETRY_AFTER = 0.2
"""Seconds until an OpenVPN that is not ready is asked again: it opens its socket before its clients
can come."""

POLL_EVERY = 2.0
"""Seconds between questions to an OpenVPN without the patch."""

UNKNOWN = "unknown command"
UNUSED = "needs --cluster"


class Discovery:
    """What is known of one OpenVPN on this connection."""

    def __init__(self, openvpn: Openvpn, now: float, cookie_key: bytes = b"") -> None:
        self._openvpn = openvpn
        self._cookie_key = cookie_key
        self._cookieless: HolderId | None = None  # the OpenVPN that knows no cluster-cookie
        self.status: OpenvpnStatus | None = None
        self.clients: Mapping[Uid, int] | None = None
        self.settled = False  # the role that was found has been taken up
        self.stock = False  # an OpenVPN without the patch, or without the option ``cluster``
        self.stock_clients = 0
        self.stock_version = ""
        self.due: float | None = now + ANSWER_WITHIN
        self.ask_at: float | None = None
        self._unready = False

    @property
    def answered(self) -> bool:
        """Whether all that must be known before the first order is known."""
        return self.status is not None and self.clients is not None

    @property
    def seamless(self) -> bool:
        """Whether clients of this OpenVPN can be continued elsewhere, as far as is known."""
        return not self.stock

    @property
    def version(self) -> str:
        """OpenVPN's version; "" when not known."""
        return self.status.openvpn if self.status is not None else self.stock_version

    def forget(self, now: float, *, wait: bool) -> None:
        """What was known is no more: wait for answers, or for a connection first."""
        self.status = self.clients = self.ask_at = None
        self.settled = self.stock = self._unready = False
        self.due = now + ANSWER_WITHIN if wait else None

    def ask(self) -> None:
        """Ask for what must be known."""
        self.ask_at = None
        self._openvpn.send(Status())
        self._openvpn.send(ListInstances())
        if self.stock:
            self._openvpn.send(LoadStats())

    def take_status(self, status: OpenvpnStatus) -> None:
        """OpenVPN has the patch, and this is its state."""
        self._openvpn.put(OpenvpnFound(self._openvpn.instance, status))
        self.status = status
        self.stock = self._unready = False
        self._openvpn.holder = status.holder
        self._give_cookie_key()

    def use_cookie_key(self, key: bytes) -> None:
        """The key has changed with the cluster key."""
        self._cookie_key = key
        self._give_cookie_key()

    def _give_cookie_key(self) -> None:
        status = self.status
        if self._cookie_key and status is not None and status.holder != self._cookieless:
            self._openvpn.send(Cookie(self._cookie_key))

    def take_cookie_refusal(self) -> None:
        """An older OpenVPN, which answers the key line too: ask no more, or it never ends."""
        self._cookieless = self._openvpn.holder

    def take_refusal(self, reason: str, now: float) -> None:
        """``cluster-status`` was refused: no patch, or OpenVPN is not ready."""
        if UNKNOWN in reason:
            self._be_stock("openvpn lacks the patch")
        elif UNUSED in reason or (self._unready and self.due is None):
            self._be_stock("openvpn runs without the option cluster")
        self._unready = True
        self.ask_at = now + (POLL_EVERY if self.stock else RETRY_AFTER)

    def handle_timer(self, now: float) -> bool:
        """Ask again when due. Returns whether OpenVPN has failed to answer in time."""
        if self.ask_at is not None and now >= self.ask_at:
            self.ask()
        if self.due is None or now < self.due or self.answered:
            return False
        self.due = None
        return not self._unready

    def _be_stock(self, event: str) -> None:
        if not self.stock:
            self._openvpn.log("warning", event, seamless=False)
            self._openvpn.send(Version())
            self._openvpn.send(LoadStats())
        self.stock, self.due = True, None
