"""What is left to do when the files are written: commands, in an order that has reasons.

On the way there the stock server says goodbye while it still has its address, so that its clients
believe it; then it loses the address, and only then it ends: a client that comes again after its
pause of 1 s must never be half answered by one that is on its way out. It would hold to that
answer until its hand-window is over, 60 s; one that hears nothing asks again after 2 s. Then
everything starts. Whatever takes time is done before or after. The way back is the same the other
way round. What is so already is left out, so that the list can be carried out again.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ovpnha.machines import Process
from ovpnha.setup.cluster import ClusterPlan, MovingAddress, cluster_unit
from ovpnha.setup.files import KEY_PATH, TOML_PATH
from ovpnha.setup.host import VIP_MANAGER_FILES, Host
from ovpnha.setup.network import give_up, promoting, read_again, take_own

Command = tuple[str, ...]
KEEPALIVED_UNIT = "keepalived.service"
SIDECAR_UNIT = "ovpnha.service"
ONLINE_UNIT = "network-online.target"
"""What the patched OpenVPN waits for: two minutes, where some interface has no address."""
GOODBYE = 0.4
"""Seconds for it to be sent in. Clients come again 1 s after they have it."""
PATIENCE = 150
"""Tenths of a second for what a unit does before its OpenVPN is told to end."""


@dataclass(frozen=True)
class StockUnit:
    """The unit of the server as the distribution has it, and how it was found."""

    name: str
    """Empty for a server that some other way starts."""
    enabled: bool = False
    active: bool = False

    @property
    def generated(self) -> bool:
        """Whether Debian starts it at boot because its file is there, enabled or not."""
        return self.name.startswith("openvpn@")


@dataclass(frozen=True)
class Units:
    """The two processes of the server, as they are now."""

    runs_main: bool
    runs_spare: bool
    starts_spare: bool
    """Whether the second one starts at boot."""


def find_start(
    plan: ClusterPlan,
    stock: StockUnit,
    host: Host,
    *,
    joins: bool = False,
    given_up: bool = False,
) -> Iterator[Command]:
    """From the stock server to the cluster: all that takes time comes before its stop.

    However keepalived was found, it runs at the end: one that ran with another configuration is
    stopped before, and one that is left to its owner is started where it must have an address that
    this host gives up. On a node that joins it comes last, by itself: it would take the VIP from a
    stock server elsewhere that has not been stopped yet. ``given_up`` is whether an earlier run has
    taken an address away, and may not have come to its end.
    """
    cluster = plan.unit
    moving = find_moving(plan, host)
    left = plan.keepalived == "leave" and not moving and not given_up
    manager = () if left else (KEEPALIVED_UNIT,)
    for place in moving:
        yield from take_own(place)
    yield from _unmask((SIDECAR_UNIT, cluster, *manager), host)
    yield from _enable((SIDECAR_UNIT,), host, now=True)
    yield from _enable((cluster,) if joins else (cluster, *manager), host, now=joins)
    if stock.active:
        yield ("systemctl", "start", ONLINE_UNIT)
        yield _say_goodbye(stock.name)
    if plan.keepalived != "leave" and cluster not in host.active and KEEPALIVED_UNIT in host.active:
        in_the_gap = stock.active and not joins
        yield _stop_keepalived([str(one.ip) for one in plan.vips] if in_the_gap else [])
        host = replace(host, active=host.active - {KEEPALIVED_UNIT})
    for place in moving:
        yield from _give_up(place, host)
    if moving:
        yield from read_again(host.files)
    if stock.active:
        yield _end(stock.name)
    yield from _enable(manager, host, now=True) if joins else _start((cluster, *manager), host)
    if stock.generated and stock.name not in host.masked:
        yield ("systemctl", "mask", stock.name)
    elif stock.enabled:
        yield ("systemctl", "disable", stock.name)


def find_start_alone(instance: str, stock: StockUnit, host: Host) -> Iterator[Command]:
    """From the stock server to one without any other node, and to its second process."""
    cluster, spare = cluster_unit(instance), spare_unit(instance)
    yield from _unmask((SIDECAR_UNIT, cluster, spare), host)
    yield from _enable((SIDECAR_UNIT,), host, now=True)
    yield from _enable((cluster, spare), host, now=False)
    if stock.active:
        yield ("systemctl", "start", ONLINE_UNIT)
        yield _say_goodbye(stock.name)
        yield _end(stock.name)
    yield from _start((cluster, spare), host)
    if stock.generated and stock.name not in host.masked:
        yield ("systemctl", "mask", stock.name)
    elif stock.enabled:
        yield ("systemctl", "disable", stock.name)


def find_reload_alone(instance: str, host: Host, changed: Collection[str]) -> Iterator[Command]:
    """What makes a server without any other node take up files that were written while it ran."""
    if TOML_PATH in changed and SIDECAR_UNIT in host.active:
        yield ("systemctl", "restart", _short(SIDECAR_UNIT))
    runs = host.active & {cluster_unit(instance), spare_unit(instance)}
    if runs and any(one != TOML_PATH for one in changed):
        yield ("ovpnha", "restart-openvpn", "--force", instance)


def find_reload(
    plan: ClusterPlan, host: Host, changed: Iterable[str], known: Iterable[str] = ()
) -> Iterator[Command]:
    """What makes services take up files that were written while they ran.

    ``changed`` is written now; ``known`` are all files of ours, which an earlier run may have
    written without ``--now``. Of two processes of the server both are started anew: one alone would
    leave its clients to the other, which goes on with the files of before.
    """
    now, earlier = {*changed}, {*known}
    cluster, spare = plan.unit, spare_unit(plan.instance)

    def find(unit: str) -> set[str]:
        newer = {one for one in earlier if host.is_newer(one, unit)}
        return now | newer if unit in host.active else set()

    if own := find(SIDECAR_UNIT) & {TOML_PATH, KEY_PATH}:
        yield ("systemctl", "restart" if TOML_PATH in own else "reload", _short(SIDECAR_UNIT))
    changes = any(one.startswith("/etc/openvpn/") for one in find(cluster) | find(spare))
    if changes and spare in host.active:
        yield ("ovpnha", "restart-openvpn", "--force", plan.instance)
    elif changes:
        yield ("systemctl", "restart", _short(cluster))
    if cluster not in host.active:
        return  # all others are started anew
    if any(one.startswith(VIP_MANAGER_FILES) for one in find(KEEPALIVED_UNIT)):
        yield ("systemctl", "reload", _short(KEEPALIVED_UNIT))


def find_moving(plan: ClusterPlan, host: Host) -> list[MovingAddress]:
    """The addresses that this host gives up: keepalived must have them afterwards."""
    if plan.unit in host.active:
        return []
    return [one for one in plan.vips if host.has_as_own(one.ip)]


def _unmask(units: Sequence[str], host: Host) -> Iterator[Command]:
    masked = [one for one in units if one in host.masked]
    if masked:
        yield ("systemctl", "unmask", *map(_short, masked))


def _enable(units: Sequence[str], host: Host, *, now: bool) -> Iterator[Command]:
    lacking = [one for one in units if one not in host.enabled or (now and one not in host.active)]
    if lacking:
        yield ("systemctl", "enable", *(("--now",) if now else ()), *map(_short, lacking))


def _start(units: Sequence[str], host: Host) -> Iterator[Command]:
    """Both in one: keepalived waits for OpenVPN."""
    lacking = [one for one in units if one not in host.active]
    if lacking:
        yield ("systemctl", "start", *map(_short, lacking))


def _say_goodbye(unit: str) -> Command:
    """Let an OpenVPN tell its clients to come again, and be on its way out.

    By itself it would go on for 2 s from then on. It is told when nothing else is left to do for
    the unit (a hand-over, say), and sends its goodbye within milliseconds.
    """
    told = f"case $(systemctl show -P SubState {unit}) in running|reload|stop)"
    wait = f"for i in $(seq {PATIENCE}); do {told} sleep 0.1;; *) break;; esac; done"
    return ("sh", "-c", f"systemctl stop --no-block {unit}; {wait}; sleep {GOODBYE}")


def _end(unit: str) -> Command:
    """End an OpenVPN that has said goodbye, and wait until it is gone.

    A second signal ends its wait in good order: clients try again 1 s after the goodbye, and, by
    whole seconds of the clock, 1.3 to 2 s after that; the next server must be there by then.
    """
    again = f"systemctl kill --kill-who=main {unit} 2>/dev/null"
    return ("sh", "-c", f"{again}; systemctl stop {unit}")


def _stop_keepalived(addresses: Sequence[str]) -> Command:
    """Stop it, and wait until it has taken these addresses away.

    It does that at once and then goes on for a second, which nobody has to wait for.
    """
    stop, unit = "systemctl stop", _short(KEEPALIVED_UNIT)
    if not addresses:
        return (*stop.split(), unit)
    there = " ".join(f"-e ' {one}/'" for one in addresses)
    wait = f"for i in $(seq 50); do ip -o address | grep -qF {there} || break; sleep 0.1; done"
    return ("sh", "-c", f"{stop} --no-block {unit}; {wait}")


def _short(unit: str) -> str:
    return unit.removesuffix(".service")


def _give_up(place: MovingAddress, host: Host) -> Iterator[Command]:
    route = host.default_route(place.ip.version)
    source = route is not None and route.source == str(place.ip)
    yield from give_up(place, source, route.gateway if route is not None else "")


def find_return(
    before: Before,
    *,
    managed: bool = True,
    gone: frozenset[str] = frozenset(),
    files: Iterable[str] = (),
    now: Units | None = None,
) -> Iterator[Command]:
    """From the cluster to the stock server, as it was found.

    ``managed`` is whether we have written keepalived's files. One that was left to its owner, and
    that we did not have to start, is left alone here as well. ``gone`` are addresses that this
    host has been given by us and has not any more: an earlier run did not come to its end.
    ``files`` are those that were put back. ``now`` is which of its processes run; None when nobody
    can be asked.

    OpenVPN says goodbye first, while it has the address: its clients believe it, and come back at
    once. Then the address goes, before it ends. Whatever takes time comes when the stock server
    runs.
    """
    spared, last = _find_ends(before, now)
    stock = before.stock
    manager = _short(KEEPALIVED_UNIT)
    ours = managed or (bool(before.addresses) and not before.keepalived.active)
    if spared:
        yield ("systemctl", "disable", "--now", spared)
    yield _say_goodbye(last)
    if ours:
        had = [address.partition("/")[0] for _, address, _ in before.addresses]
        yield _stop_keepalived(had)
    yield _end(last)
    if ours and before.keepalived.active:
        yield ("systemctl", "start", manager)
    for interface, address, own in before.addresses:
        yield ("ip", "address", "replace", address, "dev", interface)
        if own and own not in gone:
            yield ("sysctl", "--quiet", promoting(interface))
            yield ("ip", "address", "del", own, "dev", interface)
    yield from read_again(files)
    if stock.generated and stock.name not in before.masked:
        yield ("systemctl", "unmask", stock.name)
    if stock.active:
        yield ("systemctl", "start", stock.name)
    boots_not = ours and not before.keepalived.enabled
    stopped = () if before.keepalived.active or not boots_not else (manager,)
    yield ("systemctl", "disable", "--now", last, _short(SIDECAR_UNIT), *stopped)
    if boots_not and before.keepalived.active:
        yield ("systemctl", "disable", manager)
    if stock.enabled:
        yield ("systemctl", "enable", stock.name)
    left = {stock.name} if ours else {stock.name, KEEPALIVED_UNIT}
    if masked := [_short(one) for one in before.masked if one not in left]:
        yield ("systemctl", "mask", *masked)


def _find_ends(before: Before, now: Units | None) -> tuple[str, str]:
    """The process that ends first, "" for none, and the one that says goodbye and ends last.

    Of two processes the one that is not needed ends first, whoever has started it: the other one
    would leave without a word, and be followed by one that nobody tells to say goodbye. That is the
    spare, which gives its clients to the main one if it serves, or else the main one, where only
    the spare runs.
    """
    main = _short(cluster_unit(before.instance, stock=before.beside))
    spare = _short(spare_unit(before.instance))
    if now is not None and now.runs_spare and not now.runs_main:
        return main, spare
    there = now is not None and (now.runs_spare or now.starts_spare)
    return (spare if before.spare or there else ""), main


def touches_keepalived(command: Command) -> bool:
    """Whether keepalived starts or stops by it: one that runs is not stopped too early either."""
    verb = command[1:2]
    return _short(command[-1]) == _short(KEEPALIVED_UNIT) and verb in {("stop",), ("enable",)}


def spare_unit(instance: str) -> str:
    """The unit of its second process."""
    return f"{Process.SPARE.unit}{instance}.service"


def units_of(instance: str, stock_unit: str) -> tuple[str, ...]:
    """Those whose state decides what is to be done; no ``stock_unit`` is an empty one."""
    ours = (cluster_unit(instance), cluster_unit(instance, stock=True), spare_unit(instance))
    return (*([stock_unit] if stock_unit else ()), *ours, SIDECAR_UNIT, KEEPALIVED_UNIT)


@dataclass(frozen=True)
class Before:
    """How the host was when `ovpnha init` first wrote: what no file tells on the way back."""

    instance: str
    source: str
    """The server's file that was chosen; empty on a node that joined by a sealed file."""
    stock: StockUnit
    keepalived: StockUnit
    """How keepalived was."""
    addresses: tuple[tuple[str, str, str], ...]
    """Of each address that the host had and that moves: interface, address, and what it got
    instead, or empty."""
    masked: tuple[str, ...] = ()
    """Units that could not start, of those that init starts or masks."""
    beside: bool = False
    """OpenVPN stays the distribution's."""
    spare: bool = False
    """Whether init has started a second process: the server has no other node."""

    def to_plain(self) -> dict[str, Any]:
        """For the manifest."""
        stock = self.stock
        return {
            "instance": self.instance,
            "source": self.source,
            "unit": stock.name,
            "enabled": stock.enabled,
            "active": stock.active,
            "keepalived_enabled": self.keepalived.enabled,
            "keepalived_active": self.keepalived.active,
            "addresses": [list(one) for one in self.addresses],
            "masked": list(self.masked),
            "beside": self.beside,
            "spare": self.spare,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Before:
        """Back from there."""
        return cls(
            instance=plain["instance"],
            source=plain["source"],
            stock=StockUnit(plain["unit"], plain["enabled"], plain["active"]),
            keepalived=StockUnit(
                KEEPALIVED_UNIT, plain["keepalived_enabled"], plain["keepalived_active"]
            ),
            addresses=tuple((a, b, c) for a, b, c in plain["addresses"]),
            masked=tuple(plain.get("masked", ())),  # an earlier version did not note it
            beside=plain.get("beside", False),
            spare=bool(plain.get("spare")),
        )


def note_before(plan: ClusterPlan, source: str, stock: StockUnit, host: Host) -> Before:
    """What must be remembered now."""
    keepalived = StockUnit(
        KEEPALIVED_UNIT, KEEPALIVED_UNIT in host.enabled, KEEPALIVED_UNIT in host.active
    )
    addresses = (
        (one.interface, str(one.address), "" if one.own is None else str(one.own))
        for one in plan.vips
        if host.has_as_own(one.ip)
    )
    units = (SIDECAR_UNIT, plan.unit, KEEPALIVED_UNIT, stock.name)
    masked = tuple(one for one in units if one in host.masked)
    given = tuple(addresses)
    return Before(plan.instance, source, stock, keepalived, given, masked, plan.stock)


def note_before_alone(instance: str, source: str, stock: StockUnit, host: Host) -> Before:
    """The same for a server without any other node: no address moves."""
    keepalived = StockUnit(
        KEEPALIVED_UNIT, KEEPALIVED_UNIT in host.enabled, KEEPALIVED_UNIT in host.active
    )
    units = (SIDECAR_UNIT, cluster_unit(instance), spare_unit(instance), stock.name)
    masked = tuple(one for one in units if one in host.masked)
    return Before(instance, source, stock, keepalived, (), masked, spare=True)


def spell(commands: Sequence[Command]) -> str:
    """As somebody would type them."""
    return "".join(f"    {shlex.join(one)}\n" for one in commands)
