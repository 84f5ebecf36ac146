"""Finding out what OpenVPN is: its role, its clients, whether it has the patch, whether it answers.

Decides only what is known. Until everything is known nothing may be ordered: OpenVPN may be serving
clients at this very moment. Rules: docs/management.md, "Notifications" (last paragraph).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ovpnha.management.codes import VERSION, Code
from ovpnha.management.commands import Cookie, ListInstances, LoadStats, Status, Version
from ovpnha.management.notices import WaitingNotice
from ovpnha.management.replies import ListReply, LoadStatsReply, Refused, StatusReply, VersionReply
from ovpnha.model import HolderId, OpenvpnStatus, Uid, Unreachable
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import OpenvpnFound
from ovpnha.node.part import Part, PartStatistics, first
from ovpnha.problems import Problem, ProblemKind

ANSWER_WITHIN = 3.0
"""Seconds within which OpenVPN must have answered, from start or reconnect on. Longer: a node whose
OpenVPN never starts refuses the VIP later; shorter: a slow script of OpenVPN's makes it refuse."""

PATIENCE = 7.0
"""Seconds more for an OpenVPN that is there and says nothing yet: on a busy host one that serves
many clients takes its time, and a sidecar that has just started must not take the VIP from it."""

RETRY_AFTER = 0.2
"""Seconds until an OpenVPN that is not ready is asked again: it opens its socket before its clients
can come."""

PORT_WITHIN = 5.0
"""Seconds within which an OpenVPN that waits for link socket and tun is given them, or finds the
port free: it tries every second or two."""

RETRY_ORDER_AFTER = 1.0
"""Seconds until an OpenVPN that refused an order about its role is asked what it is."""

POLL_EVERY = 2.0
"""Seconds between questions to an OpenVPN without the patch."""

STOCK_FIX = (
    "clients reconnect at a failover; install the patched OpenVPN and write cluster into its "
    "configuration, or seamless = false into ovpnha.toml, if it is meant"
)
VERSION_FIX = (
    "install both from one release and start the older one anew; until then a refusal may cost a "
    "client its protection"
)


@dataclass(frozen=True)
class DiscoveryStatistics(PartStatistics):
    """What OpenVPN is."""

    openvpn: str  # its version; "" when not known
    seamless: bool  # its clients survive a failover
    stock: bool = False  # it is known to run without the patch, or without ``cluster``
    meant_stock: bool = False  # that is meant


class Discovery(Part):
    """What is known of one OpenVPN on this connection."""

    def __init__(
        self, openvpn: Openvpn, now: float, cookie_key: bytes, *, meant_stock: bool = False
    ) -> None:
        self._openvpn = openvpn
        self._meant_stock = meant_stock
        self._cookie_key = cookie_key
        self._cookieless: HolderId | None = None  # the OpenVPN that knows no cluster-cookie
        self.status: OpenvpnStatus | None = None
        self.clients: Mapping[Uid, int] | None = None
        self.settled = False  # the role that was found has been taken up
        self.stock = False  # an OpenVPN without the patch, or without the option ``cluster``
        self.slow = False  # taken for such a one, since it has said for long that it is not ready
        self.waiting = False  # for link socket and tun of the process beside it
        self.stock_clients: int | None = None  # not told yet
        self.stock_version = ""
        self._told_version = VERSION  # the last other version of the commands that was logged
        self.unreachable: Unreachable | None = None  # why the socket cannot be connected
        self.doubted = False  # it was asked anew whether it speaks early
        self.found_at: float | None = None  # when the role was first known
        self.overdue = False  # found at the last ``handle_timer``: no answer in time
        self._due: float | None = now + ANSWER_WITHIN
        self._ask_at: float | None = None
        self._unready = self._patient = False

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

    @property
    def local(self) -> str:
        """The one address that OpenVPN's socket is bound to; "" when it has many, or unknown."""
        return self.status.local if self.status is not None and not self.status.addresses else ""

    def speaks_early(self, vips: tuple[str, ...]) -> bool:
        """Whether it would send before a VIP is here: from an IPv6 address that it is bound to.

        One that takes any address does so where the kernel was told to let it.
        """
        if self.status is not None and self.status.addresses:
            return self.status.early
        return ":" in "".join((*vips, self.local))

    def doubt(self) -> bool:
        """Ask it anew whether it speaks early, where the kernel may have been told otherwise since.

        Returns whether it is asked; until it has answered it must not be promoted ahead of a VIP.
        """
        if self.status is None or not self.status.addresses:
            return False
        self._openvpn.send(Status())
        self.doubted = True
        return True

    @property
    def other_version(self) -> int | None:
        """The version of OpenVPN's management commands, if it is not ours."""
        version = self.status.version if self.status is not None else VERSION
        return version if version != VERSION else None

    @property
    def known(self) -> bool:
        """Whether it can be said what OpenVPN is."""
        return self.settled or self.stock

    @property
    def down(self) -> Problem:
        """What is wrong while there is no connection."""
        why = self.unreachable
        if why is None:
            return Problem(ProblemKind.SERVER_DOWN, "OpenVPN is down")
        return Problem(ProblemKind.SERVER_DOWN, f"OpenVPN is down: {why.reason}", why.fix)

    @property
    def sure(self) -> bool:
        """Whether what it is has been taken up, and nothing of it is being asked anew."""
        return self.settled and not self.doubted

    def settle(self, now: float) -> None:
        """The role that was found is taken up."""
        self.settled = True
        self.found_at = now if self.found_at is None else self.found_at

    def ask_later(self, at: float) -> None:
        """Find out at this moment what OpenVPN is."""
        self._ask_at = at

    def forget(self, now: float, *, wait: bool) -> None:
        """What was known is no more: wait for answers, or for a connection first."""
        self.status = self.clients = self.stock_clients = self._ask_at = None
        self.settled = self.stock = self._unready = self._patient = self.waiting = self.slow = False
        self.doubted = False
        self._due = now + ANSWER_WITHIN if wait else None

    def ask(self) -> None:
        """Ask for what must be known."""
        self._ask_at = None
        self._openvpn.send(Status())
        self._openvpn.send(ListInstances())
        if self.stock:
            self._openvpn.send(LoadStats())

    def take(self, event: object, now: float) -> None:
        """OpenVPN has answered."""
        match event:
            case WaitingNotice():
                self.waiting, self._due = True, now + PORT_WITHIN
            case StatusReply(status=status):
                self._take_status(status)
            case ListReply(clients=clients):
                self.clients = clients
            case LoadStatsReply(clients=number):
                self.stock_clients = number
            case VersionReply(openvpn=version):
                self.stock_version = version
            case Refused(command=Cookie()):
                self._take_cookie_refusal()

    def _take_status(self, status: OpenvpnStatus) -> None:
        """OpenVPN has the patch, and this is its state."""
        self._openvpn.put(OpenvpnFound(self._openvpn.instance, status))
        self.status = status
        self.stock = self._unready = self.waiting = self.slow = self.doubted = False
        self._compare_versions(status.version)
        self._give_cookie_key()

    def _compare_versions(self, version: int) -> None:
        if version not in (VERSION, self._told_version):
            self._told_version = version
            self._openvpn.log(
                "error", "openvpn is of another release", theirs=version, ours=VERSION
            )

    def use_cookie_key(self, key: bytes) -> None:
        """The key has changed with the cluster key."""
        self._cookie_key = key
        self._give_cookie_key()

    def _give_cookie_key(self) -> None:
        status = self.status
        if self._cookie_key and status is not None and status.holder != self._cookieless:
            self._openvpn.send(Cookie(self._cookie_key))

    def _take_cookie_refusal(self) -> None:
        """An older OpenVPN, which answers the key line too: ask no more, or it never ends."""
        self._cookieless = self._openvpn.holder

    def take_refusal(self, code: Code, now: float) -> None:
        """``cluster-status`` was refused: no patch, or OpenVPN is not ready."""
        if code is Code.UNKNOWN_COMMAND:
            self._be_stock("openvpn lacks the patch")
            self.slow = False
        elif code is Code.NO_CLUSTER or (self._unready and self._due is None and not self.waiting):
            self._be_stock("openvpn runs without the option cluster")
            self.slow = code is not Code.NO_CLUSTER
        self._unready = True
        self._ask_at = now + (POLL_EVERY if self.stock else RETRY_AFTER)

    def get_timer(self) -> float | None:
        """When it is to be asked, or must have answered."""
        return first((self._ask_at, None if self.answered else self._due))

    def handle_timer(self, now: float) -> None:
        """Ask again when due, and see whether OpenVPN has failed to answer in time."""
        if self._ask_at is not None and now >= self._ask_at:
            self.ask()
        self.overdue = self._is_overdue(now)

    def _is_overdue(self, now: float) -> bool:
        if self._due is None or now < self._due or self.answered:
            return False
        if self.waiting:
            self._due = None
            return True
        if self._openvpn.connected and not self._unready and not self._patient:
            self._patient, self._due = True, now + PATIENCE
            return False
        self._due = None
        return not self._unready

    def statistics(self, _now: float) -> DiscoveryStatistics:
        """What OpenVPN is, as far as is known."""
        return DiscoveryStatistics(self.version, self.settled, self.stock, self._meant_stock)

    def problems(self, _now: float) -> Iterator[Problem]:
        """An OpenVPN whose clients cannot be continued."""
        if self.stock and not self._meant_stock:
            yield Problem(ProblemKind.SERVER_STOCK, "OpenVPN runs without cluster", STOCK_FIX)
        if self.other_version is not None:
            versions = f"OpenVPN's cluster commands are of version {self.other_version}"
            what = f"{versions}, ovpnha's of {VERSION}"
            yield Problem(ProblemKind.SERVER_RELEASE, what, VERSION_FIX)

    def _be_stock(self, event: str) -> None:
        if not self.stock:
            level = "info" if self._meant_stock else "warning"
            self._openvpn.log(level, event, seamless=False)
            self._openvpn.send(Version())
            self._openvpn.send(LoadStats())
        self.stock, self._due = True, None
