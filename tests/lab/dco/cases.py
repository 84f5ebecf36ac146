"""What happens to a client with its data channel in the kernel, and what it may cost.

All cases share one machine and one cluster, since a machine takes long to boot: each begins with
two nodes of which the standby is in sync, and leaves them so, the roles as they fell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cleanup import keep_files
from tests.lab.dco.guest import NAME, Guest
from tests.lab.dco.image import Image
from tests.lab.deaths import kill_openvpn
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.measure import MS
from tests.lab.node import Setup
from tests.lab.packetfilter import PacketFilter
from tests.lab.plan import TUNNEL, TUNNEL6
from tests.lab.renegotiation import CLIENT_WINDOW, INSTANTS, SERVER_WINDOW, Renegotiation
from tests.lab.session import Moment
from tests.lab.waiting import wait_until

SEAMLESS_MS = 2500.0
LOST_MS = (CLIENT_WINDOW + 5.0) * 1000
"""Longest gap that the death of a master inside a handshake may cost."""

WATCH_SECONDS = CLIENT_WINDOW + 8.0
ALIVE_SECONDS = 1.5
PATIENCE = 30.0
CLIENT_RENEGOTIATES = CLIENT_WINDOW + 6
CLIENT_FILES = "clients"


CRASHES_AT_MOST = 1
"""How often the machine may break, its kernel or its emulator, before a case has failed."""

ADDRESS, ADDRESS6 = TUNNEL[200], TUNNEL6[0x200]
"""Of the client, over all its connections: it is known by the answers that come from there. Left to
the pool, one that connects while its former self is still there would get another each time."""


@dataclass(frozen=True)
class Outcome:
    """One run of one case; ``back_after_s`` is when the longest gap ended, None for never.

    ``crashes``: how the machine broke in this case before, a line for each.
    """

    case: str
    lost: int
    longest_gap_ms: float
    back_after_s: float | None
    reconnected: bool
    crashes: tuple[str, ...] = ()

    @property
    def lost_for_good(self) -> bool:
        """No answer came at the end of the observation, and there was one."""
        return self.back_after_s is None and not self.broke

    @property
    def broke(self) -> bool:
        """There is no result: the machine broke as often as it may, and once more."""
        return len(self.crashes) > CRASHES_AT_MOST


class Stage:
    """The cluster and the client that all cases share."""

    def __init__(self, lab: Lab, guest: Guest) -> None:
        self.lab = lab
        self.guest = guest
        self.watch = guest.connect()
        self.wait_in_sync()

    @property
    def standby(self) -> str:
        """The name of the node without the addresses."""
        return self.lab.other(self.lab.master.name)

    def wait_in_sync(self) -> None:
        """Wait until either node could serve every client."""
        self.lab.wait_in_sync(self.standby)

    def restore(self) -> None:
        """Two nodes again, nothing filtered, and a client that is there."""
        for node in self.lab.nodes.values():
            PacketFilter(node.namespace).lift_if_any()
            if not node.openvpn.running:
                node.openvpn.start()
            if not node.sidecar.process.running:
                node.sidecar.process.start()
        if not self.is_alive():
            self.reconnect()
        self.wait_in_sync()

    def reconnect(self, *options: str) -> None:
        """Begin anew with a client that has these options too."""
        self.watch.forward.stop()
        self.watch = self.guest.connect(options)
        self.wait_in_sync()

    def is_alive(self) -> bool:
        """Whether the client answers now."""
        return self.watch.recovers(self.watch.mark(), ALIVE_SECONDS)

    def wait_renegotiated(self, since: Moment) -> None:
        """Wait until the client has a new key, and sends under it."""
        wait_until(
            lambda: self.watch.noticed(since).renegotiations, "a new key of the client", PATIENCE
        )
        self.watch.linger(CLIENT_WINDOW + 1.0)


@contextmanager
def on_stage(
    image: Image, openvpn: Path, *, userspace: bool, say: Callable[[str], None]
) -> Iterator[Stage]:
    """A lab with a machine as its client, whose data channel is where it ought to be."""
    setup = Setup(
        openvpn=openvpn.resolve(),
        vip_manager=None,
        server_options=(f"hand-window {SERVER_WINDOW}", f"client-config-dir {CLIENT_FILES}"),
        client_options=(
            f"hand-window {CLIENT_WINDOW}",
            *(["disable-dco"] if userspace else []),
        ),
    )
    with Lab(setup) as lab, keeping_files(lab.directory):
        give_address(lab)
        lab.start_cluster()
        guest = Guest(lab, image)
        with guest.machine:
            say(f"booting {image.versions}")
            guest.machine.start()
            stage = Stage(lab, guest)
            if guest.in_kernel() == userspace:
                raise LabError("the data channel of the machine's client is in the wrong place")
            yield stage


@contextmanager
def keeping_files(directory: Path) -> Iterator[None]:
    """When the lab fails, its logs stay: the machine's kernel has said there why it ended."""
    try:
        yield
    except LabError:
        keep_files(directory)
        raise


def give_address(lab: Lab) -> None:
    """The same files on every node, as an administrator keeps them."""
    text = f"ifconfig-push {ADDRESS} {TUNNEL.netmask}\nifconfig-ipv6-push {ADDRESS6}/64\n"
    for node in lab.nodes.values():
        files = node.directory / CLIENT_FILES
        files.mkdir()
        (files / NAME).write_text(text)


def takeover(stage: Stage) -> Moment:
    """The master's OpenVPN dies."""
    new = stage.standby
    moment = stage.watch.strike(kill_openvpn)
    stage.lab.move_vips(new)
    stage.watch.linger(WATCH_SECONDS)
    return moment


def rekey_by_server(stage: Stage) -> Moment:
    """The master renegotiates with a client that came from another."""
    stage.watch.linger(CLIENT_WINDOW)
    moment = stage.watch.mark()
    stage.lab.master.sidecar.renegotiate()
    stage.wait_renegotiated(moment)
    return moment


def failback(stage: Stage) -> Moment:
    """The addresses go back to a node that serves no longer or not yet."""
    moment = stage.watch.mark()
    stage.lab.move_vips(stage.standby)
    stage.watch.linger(WATCH_SECONDS)
    return moment


def rekey_by_client(stage: Stage) -> Moment:
    """The client renegotiates, for the first time after a takeover."""
    stage.reconnect(f"reneg-sec {CLIENT_RENEGOTIATES}")
    moment = stage.watch.mark()
    stage.lab.move_vips(stage.standby)
    stage.wait_renegotiated(moment)
    stage.watch.linger(CLIENT_RENEGOTIATES - CLIENT_WINDOW)
    return moment


def at_instant(name: str) -> Callable[[Stage], Moment]:
    """The master dies at an instant of a renegotiation."""

    def happen(stage: Stage) -> Moment:
        one = Renegotiation(stage.watch)
        INSTANTS[name](one)
        moment = stage.watch.strike(kill_openvpn)
        one.settle()
        stage.lab.move_vips(one.standby.name)
        stage.watch.linger(WATCH_SECONDS)
        return moment

    return happen


IN_FLIGHT = "in-the-handshake"
CASES: dict[str, Callable[[Stage], Moment]] = {
    "takeover": takeover,
    "rekey-by-server": rekey_by_server,
    "failback": failback,
    "rekey-by-client": rekey_by_client,
    "kill-in-tls-flight": at_instant(IN_FLIGHT),
}
MAY_RECONNECT = frozenset({"kill-in-tls-flight", IN_FLIGHT})


def case(name: str) -> Callable[[Stage], Moment]:
    """A case, or an instant of a renegotiation, by its name."""
    return CASES[name] if name in CASES else at_instant(name)


def try_case(name: str, stage: Stage) -> Outcome:
    """One run."""
    moment = case(name)(stage)
    stage.guest.machine.expect_running()
    outcome = _judge(name, stage, moment)
    stage.restore()
    return outcome


def _judge(name: str, stage: Stage, moment: Moment) -> Outcome:
    watch = stage.watch
    alive = stage.is_alive()
    gap, seen = watch.gap(moment), watch.noticed(moment)
    settled = time.monotonic_ns() - int(ALIVE_SECONDS * 1e9)
    missing = [
        probe
        for probe in watch.forward.probes()
        if probe.answered is None and moment.monotonic < probe.sent < settled
    ]
    return Outcome(
        case=name,
        lost=len(missing),
        longest_gap_ms=round(gap.length / MS, 1),
        back_after_s=round((gap.end - moment.monotonic) / 1e9, 2) if alive else None,
        reconnected=bool(seen.reconnects or seen.hard_resets or seen.restarts),
    )


def broken_promise(outcome: Outcome) -> str:
    """What is wrong with an outcome, or ""."""
    bound = LOST_MS if outcome.case in MAY_RECONNECT else SEAMLESS_MS
    if outcome.broke:
        return f"the machine broke {len(outcome.crashes)} times: {outcome.crashes[-1]}"
    if outcome.lost_for_good:
        return "the client is lost for good"
    if outcome.longest_gap_ms > bound:
        return f"{outcome.longest_gap_ms:.0f} ms without an answer, more than {bound:.0f}"
    if outcome.reconnected and outcome.case not in MAY_RECONNECT:
        return "the client reconnected"
    return ""
