"""A site with two lines, a centre with two lines and two nodes, by the files of deploy/uplinks.

Lines and servers die, one by one and at once; whatever goes through the tunnels goes on, at the
rate of what is left. The site's clients are stock OpenVPN, which nothing restarts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.process import Process
from tests.lab.session import TURNS, Moment, Watch
from tests.lab.traffic import ProbeStream, TcpSession, agent
from tests.lab.uplinks import CENTRE, HOME, LAN, SITE, add_addresses
from tests.lab.uplinks_cluster import NAMES, UplinkKeepalived, Uplinks, uplinks
from tests.lab.waiting import Tail, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TUNNELS = {"one": "tun1", "two": "tun2"}
BOTH = set(TUNNELS.values())
DESK = HOME.address(plan.OTHERS)
CANDIDATES = range(plan.OTHERS + 1, plan.OTHERS + 150)
DETECTION_MS = 350.0
"""Six rounds of 50 ms, and one."""


class Site:
    """The site under observation: a probe stream by each line, and a TCP session."""

    def __init__(self, made: Uplinks) -> None:
        self.made = made
        lab = made.lab
        self.space, self.lan = (lab.topology.namespace(name) for name in ("client", "lan"))
        add_addresses(lab.topology, "lan", LAN, CANDIDATES)
        self.watches = {
            name: Watch(lab, made.clients[name], self._stream(name, TUNNELS[name]))
            for name in NAMES
        }
        self.tcp = TcpSession(self.space, self.lan, lab.directory, LAN.address(plan.OTHERS))
        for process in self.tcp.processes:
            lab.look_after(process)
        self.tcp.start()
        self.begun = time.time_ns()

    def _stream(self, name: str, tunnel: str) -> ProbeStream:
        """Probes that take this tunnel, and whose answers do."""
        way = self.made.topology.way
        target = next(
            target
            for target in map(LAN.address, CANDIDATES)
            if way(SITE, DESK, target, HOME.interface) == tunnel
            and way("a", target, DESK, LAN.interface) == tunnel
        )
        stream = ProbeStream(f"probe-{name}", self.space, target, self.made.lab.directory)
        self.made.lab.look_after(stream.process)
        return stream.start()

    def strike(self, *deeds: Callable[[], object]) -> Moment:
        """Do something terrible, or several things at once; the time just before."""
        moment = Moment("", time.monotonic_ns(), time.time_ns())
        for deed in deeds:
            deed()
        return moment

    def outages(self, moment: Moment, what: str) -> dict[str, float]:
        """How long the streams were without answers, once both are answered again; printed."""
        recent = time.monotonic_ns()
        for watch in self.watches.values():
            stream = watch.forward
            wait_until(lambda: stream.answered_since(recent), f"{what}: an answer", PATIENCE)  # noqa: B023
        found = {name: watch.outage_ms(moment) for name, watch in self.watches.items()}
        print(what, {name: round(ms) for name, ms in found.items()})
        return found

    def is_short(self, name: str, moment: Moment, bound_ms: float) -> bool:
        """Whether a stream was without answers for less than the bound, on a machine like this."""
        watch = self.watches[name]
        return watch.outage_ms(moment) < bound_ms + TURNS * watch.late_ms(moment)

    def wait_ways(self, ways: set[str], *hosts: str) -> None:
        """Wait until the routes of these hosts go over these tunnels and no other."""
        for host in hosts:
            what = f"{host} goes by {ways}"
            wait_until(lambda: self.made.ways(host) == ways, what, PATIENCE)  # noqa: B023

    def check(self, *names: str) -> None:
        """Nothing of the TCP session is lost, and the clients of these lines noticed nothing."""
        for name in names or NAMES:
            assert self.watches[name].noticed(self.begun_at).nothing
        assert self.tcp.finish() == ""

    @property
    def begun_at(self) -> Moment:
        """When the watching began."""
        return Moment("", 0, self.begun)


@contextmanager
def running(make_lab: MakeLab, keepalive: str = "10 60") -> Iterator[Site]:
    with uplinks(make_lab(vip_manager=UplinkKeepalived), keepalive) as made:
        made.start()
        site = Site(made)
        site.wait_ways(BOTH, SITE, "a", "b")
        yield site


def test_lines_and_servers_die_and_nobody_notices(make_lab: MakeLab) -> None:
    with running(make_lab) as site:
        made = site.made

        # A line dies, and comes back.
        moment = site.strike(lambda: made.topology.set_line(0, "down"))
        site.wait_ways({"tun2"}, SITE, "a")
        site.outages(moment, "line one dies")
        assert site.is_short("one", moment, 2 * DETECTION_MS)
        assert site.is_short("two", moment, DETECTION_MS / 2)
        moment = site.strike(lambda: made.topology.set_line(0, "up"))
        site.wait_ways(BOTH, SITE, "a")
        site.outages(moment, "line one is back")
        assert all(site.is_short(name, moment, 2 * DETECTION_MS) for name in NAMES)

        # A server dies, and comes back.
        moment = site.strike(lambda: made.kill_node("a"))
        made.wait_master("b")
        site.outages(moment, "server a dies")
        site.wait_ways(BOTH, SITE, "b")
        made.boot_node("a")
        made.wait_in_sync("a")

        # A line and a server die at once.
        moment = site.strike(lambda: made.topology.set_line(1, "down"), lambda: made.kill_node("b"))
        made.wait_master("a")
        site.wait_ways({"tun1"}, SITE, "a")
        site.outages(moment, "line two and server b die at once")

        # Its successor, which has heard of no tunnel so far, knows the one that lives at once.
        made.boot_node("b")
        made.wait_in_sync("b")
        site.wait_ways(BOTH, "b")
        moment = site.strike(lambda: made.kill_node("a"))
        made.wait_master("b")
        site.wait_ways({"tun1"}, "b")
        site.outages(moment, "server a dies, line two is dead")
        assert made.ways(SITE) == {"tun1"}
        made.topology.set_line(1, "up")
        made.boot_node("a")
        site.wait_ways(BOTH, SITE, "a", "b")
        made.wait_in_sync("a")
        site.check()


def test_a_line_is_dead_for_longer_than_a_client_waits(make_lab: MakeLab) -> None:
    """The client on it begins anew; what went over it has long gone on over the other."""
    with running(make_lab, "1 4") as site:
        made = site.made
        moment = site.strike(lambda: made.topology.set_line(0, "down"))
        first = site.watches["one"]
        wait_until(lambda: first.noticed(moment).restarts, "the client gives up", PATIENCE)
        made.topology.set_line(0, "up")
        site.wait_ways(BOTH, SITE, "a")
        site.outages(moment, "line one is dead for long")
        assert first.noticed(moment).reconnects == 1

        # Its interface is taken down, and up: until its routes are back it takes no other line.
        topology = made.topology
        assert [topology.line_of(SITE, mark) for mark in (1, 2)] == ["eth0", "eth1"]
        topology.set_interface(SITE, "eth0", "down")
        topology.set_interface(SITE, "eth0", "up")
        assert [topology.line_of(SITE, mark) for mark in (1, 2)] == ["", "eth1"]
        site.wait_ways({"tun2"}, SITE, "a")
        for _ in range(2):
            topology.run_lines(SITE)
            assert [topology.line_of(SITE, mark) for mark in (1, 2)] == ["eth0", "eth1"]
        site.wait_ways(BOTH, SITE, "a")
        site.check("two")


CONNECTIONS = 40
BULK_PORT = 5002
MEGABITS = (10, 4)
WINDOW_NS = 1_500_000_000


@dataclass(frozen=True)
class Report:
    """What an end of the transfer has moved, by how many connections that live, and when."""

    total: int
    alive: int
    when: int


class Transfer:
    """Many connections at once from the site to the centre."""

    def __init__(self, site: Site) -> None:
        self.topology = site.made.topology
        self._processes: list[Process] = []
        self._tails: dict[str, Tail] = {}
        self._last: dict[str, Report] = {}
        for role, space in (("take", site.lan), ("give", site.space)):
            self._start(site, role, space)
        wait_until(lambda: self._report("take").total, "bytes arrive", PATIENCE)

    def _start(self, site: Site, role: str, space: str) -> None:
        directory = site.made.lab.directory
        events = directory / f"bulk-{role}.events"
        arguments = [role, LAN.address(plan.OTHERS), str(BULK_PORT), str(CONNECTIONS), str(events)]
        process = agent("bulk", f"bulk-{role}", arguments, namespace=space, directory=directory)
        self._processes.append(site.made.lab.look_after(process).start())
        self._tails[role] = Tail(events)

    def _report(self, role: str) -> Report:
        """The last one of an end."""
        if lines := self._tails[role].lines():
            _, total, alive, when = lines[-1].split()
            self._last[role] = Report(int(total), int(alive), int(when))
        return self._last.get(role, Report(0, 0, 0))

    def alive(self) -> int:
        """How many connections live at both ends."""
        return min(self._report(role).alive for role in self._tails)

    def stop(self) -> None:
        """End it, so that the lines are free again."""
        for process in self._processes:
            process.stop()

    def rate(self, what: str) -> tuple[float, list[float]]:
        """Mbit/s that arrive in a window, and that each line is given; printed."""
        carried = [self.topology.carried(line) for line in (0, 1)]
        begin = self._report("take")

        def after() -> Report | None:
            last = self._report("take")
            return last if last.when - begin.when > WINDOW_NS else None

        end = wait_until(after, "the end of a window", PATIENCE)
        assert end is not None
        seconds = (end.when - begin.when) / 1e9
        loads = [
            (self.topology.carried(line) - before) * 8e-6 / seconds
            for line, before in enumerate(carried)
        ]
        found = (end.total - begin.total) * 8e-6 / seconds
        print(f"{what}: {found:.1f} Mbit/s, lines {loads[0]:.1f} and {loads[1]:.1f}")
        return found, loads


def are_used(transfer: Transfer) -> bool:
    """Whether both lines carry, in a window, more than half of what they could.

    In the first one the transfer may not have come into its own, and the machine has others to do.
    """
    _rate, loads = transfer.rate("both lines")
    return all(load > megabits / 2 for load, megabits in zip(loads, MEGABITS, strict=True))


def test_both_lines_carry_and_all_addresses_move_as_one(make_lab: MakeLab) -> None:
    with running(make_lab) as site:
        made = site.made
        topology = made.topology
        for number, megabits in enumerate(MEGABITS):
            topology.limit(number, megabits)
        transfer = Transfer(site)
        wait_until(lambda: are_used(transfer), "both lines carry", PATIENCE)

        alone = []
        for number, other in ((0, "tun2"), (1, "tun1")):
            topology.set_line(number, "down")
            site.wait_ways({other}, SITE, "a")
            alone.append(transfer.rate(f"without line {number + 1}")[0])
            topology.set_line(number, "up")
            site.wait_ways(BOTH, SITE, "a")
        most = 1.15 * max(alone)
        wait_until(lambda: transfer.rate("both again")[0] > most, "more than one carries", PATIENCE)

        # One OpenVPN of the master dies: the other instance's addresses move, too.
        moment = site.strike(made.openvpns["a", "one"].kill)
        made.wait_master("b")
        site.outages(moment, "one OpenVPN of server a dies")
        made.openvpns["a", "one"].start()
        made.wait_in_sync("a")

        # A cable of the master: the node that has both lines goes first.
        line = (CENTRE[1],)
        site.wait_ways(BOTH, SITE, "b")
        moment = site.strike(lambda: topology.set_links("b", "down", line))
        made.wait_master("a")
        site.outages(moment, "server b loses a cable")

        # Where no node has it, the master stays: the other line serves.
        site.wait_ways(BOTH, SITE, "a")
        moment = site.strike(lambda: topology.set_links("a", "down", line))
        site.wait_ways({"tun1"}, SITE, "a")
        site.outages(moment, "line two is gone for both")
        assert made.roles("a") == ["master"] * 2
        for node in made.lab.nodes:
            topology.set_links(node, "up", line)
        site.wait_ways(BOTH, SITE, "a")
        assert transfer.alive() == CONNECTIONS
        transfer.stop()
        site.check()
