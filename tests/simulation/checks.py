"""What must hold: while things go wrong, and once everything is healed.

Each check gives a list of what is wrong, in words; an empty list is good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ovpnha.model import Grade, Role, Sync
from tests.model_openvpn import ModelClient
from tests.simulation.clients import Client
from tests.simulation.cluster import Cluster
from tests.simulation.keepalived import State
from tests.simulation.server import Server
from tests.simulation.service import Service
from tests.simulation.truth import PROTECT_WAIT, WatchedOpenvpn

CALM = 1.5
"""Seconds after which an undisturbed node must do what its VIP says."""

PATIENCE = PROTECT_WAIT + 0.05
"""Most seconds for which a new client may wait for a standby."""

MEMORY_BASE = 4000
MEMORY_PER_CLIENT = 250
"""Most things that a core may keep: for itself, and for every client of every session."""


def check_roles(cluster: Cluster) -> None:
    """The role follows the VIP, wherever nothing has happened for a while."""
    for service in cluster.services:
        _check_roles(service)


def _check_roles(service: Service) -> None:
    truth = service.truth
    masters = [one for one in service.running if one.vip and one.serving() is not None]
    for server in service.running:
        if server.undisturbed < CALM or server.openvpn is None:
            continue
        openvpn, serves = server.openvpn, server.openvpn.plays(Role.MASTER)
        if any(openvpn.waited(uid) > PATIENCE for uid in openvpn.held_back):
            truth.violate("a new client waits too long", server.name)
        if any(openvpn.waited(uid) > PATIENCE for uid in openvpn.messages_held):
            truth.violate("a new key waits too long", server.name)
        if serves and not server.vip:
            truth.violate("master without the vip", server.name)
        rivalled = any(one is not server for one in masters)
        rivalled |= any(differ(one, server) for one in service.running)
        excused = rivalled or server.machine.fence.excuses(server)
        if server.vip and not serves and not excused:
            truth.violate("the vip is not served", server.name)


def check_keys(service: Service, heir: WatchedOpenvpn, begun: Collection[bytes]) -> None:
    """A client that was renegotiating when a protected master died can go on with its heir."""
    for uid in begun:
        client, held = service.clients.by_uid.get(uid), heir.clients.get(uid)
        if client is None or held is None:
            continue
        if _is_stranger(client, heir):
            text = f"{client.name} ends on {client.keys[0].hex()}, {heir.who} has not"
            service.truth.violate("a key nobody has", text)
        if held.sending().fingerprint not in client.keys:
            text = f"{client.name} has not {held.sending().fingerprint.hex()} of {heir.who}"
            service.truth.violate("sent to under a key it lacks", text)


def _is_stranger(client: Client, openvpn: WatchedOpenvpn) -> bool:
    """Whether a server lacks its client's newest key, and is not about to have it."""
    known = [key.fingerprint for key in openvpn.clients[client.uid].keys]
    one = client.handshake
    if one is not None and one.openvpn is openvpn:
        known.append(one.key)
    return client.keys[0] not in known


def is_caught(client: Client, openvpn: WatchedOpenvpn) -> bool:
    """Whether a client of this server is inside a handshake with another."""
    there = client.uid in openvpn.clients
    return there and client.handshake is not None and client.handshake.openvpn is not openvpn


def unsettled(cluster: Cluster) -> list[str]:
    """What keeps the healed cluster from being as it should be."""
    return [fault for service in cluster.services for fault in unsettled_service(service)]


def unsettled_service(service: Service) -> list[str]:
    """The same, for one instance."""
    holders = [one for one in service.running if one.vip]
    if len(holders) != 1:
        return [f"the VIP is on {[one.name for one in holders]}"]
    master = holders[0]
    alike = [one for one in service.running if not differ(one, master)]
    faults = [f"{one.name}: {fault}" for one in alike for fault in _machine(one, master)]
    others = [one for one in service.running if one not in alike]
    faults += [f"{one.name}: {fault}" for one in others for fault in _outsider(one, master)]
    if not faults:
        standbys = [one for one in alike if one is not master]
        faults = _protection(master, standbys)
        tables = [(one, fault) for one in standbys for fault in _table(one.openvpn, master)]
        faults += [f"{one.name}: {fault}" for one, fault in tables]
        stale = [(one, one.figures.importer.stale) for one in standbys]
        faults += [f"{one.name}: {number} stale" for one, number in stale if number]
        faults += _strangers(service, master)
        faults += [f"{one.name}: {fault}" for one in alike for fault in unsettled_pair(one, master)]
    return faults


def _strangers(service: Service, master: Server) -> Iterator[str]:
    """Clients that use a key which their server has not."""
    assert master.openvpn is not None
    for uid in master.openvpn.clients:
        client = service.clients.by_uid.get(uid)
        if client is not None and _is_stranger(client, master.openvpn):
            yield f"{client.name} is on a key that {master.name} has not"


def differ(one: Server, other: Server) -> bool:
    """Whether both OpenVPN run, with different options."""
    if one.openvpn is None or other.openvpn is None:
        return False
    return one.openvpn.told.digest != other.openvpn.told.digest


def _outsider(server: Server, master: Server) -> Iterator[str]:
    """A node with other options than the master's refuses the VIP and holds none of its clients."""
    assert server.openvpn is not None
    assert master.openvpn is not None
    if server.machine.node is None or server.figures.role is not Role.FAULT:
        yield "not in fault, though its options differ from the master's"
    elif "configuration differs" not in server.figures.announcer.grade_reason:
        yield f"in fault because of {server.figures.announcer.grade_reason}"
    if server.grade != Grade.FAULT or server.keepalived.state is not State.FAULT:
        yield f"grade {server.grade}, keepalived in {server.keepalived.state.value}"
    for uid in server.openvpn.clients.keys() & master.openvpn.clients.keys():
        yield f"has {uid.hex()}, though its options differ from the master's"


def _machine(server: Server, master: Server) -> Iterator[str]:
    if server.machine.node is None or server.openvpn is None:
        yield "a process is missing"
        return
    figures, wanted = server.figures, Role.MASTER if server is master else Role.STANDBY
    if figures.role is not wanted:
        yield f"role {figures.role.value}, not {wanted.value}"
    if not server.openvpn.plays(wanted):
        yield f"OpenVPN is {server.openvpn.role.value}, not {wanted.value}"
    grade = Grade.MASTER if server is master else Grade.IN_SYNC
    handing_over = server.grade == Grade.DEGRADED and server.demote_asked
    if server.grade != grade and not (server is master and handing_over):
        yield f"grade {server.grade}, not {int(grade)}: {figures.announcer.grade_reason}"
    sync = Sync.NONE if server is master else Sync.IN_SYNC
    if figures.sync is not sync:
        yield f"sync {figures.sync.value}, not {sync.value}"
    if server.keepalived.state not in (State.MASTER, State.BACKUP):
        yield f"keepalived is in {server.keepalived.state.value}"


def _protection(master: Server, standbys: list[Server]) -> list[str]:
    assert master.openvpn is not None
    figures, clients = master.figures, len(master.openvpn.clients)
    faults = []
    if figures.clients != clients:
        faults.append(f"the master counts {figures.clients} clients of {clients}")
    expected = clients if standbys else 0
    by_spare = not standbys and master.spare is not None  # whether it counts then, and has all
    if figures.exporter.protected != expected and not by_spare:
        faults.append(f"{figures.exporter.protected} clients are protected, of {expected}")
    return faults


def _table(standby: WatchedOpenvpn | None, master: Server) -> Iterator[str]:
    assert standby is not None
    assert master.openvpn is not None
    ours, theirs = standby.clients, master.openvpn.clients
    for uid in sorted(ours.keys() | theirs.keys()):
        if uid not in ours:
            yield f"lacks {uid.hex()}"
        elif uid not in theirs and not master.figures.own.lacking:
            yield f"has {uid.hex()}, which the master has not"
        elif uid in theirs and _content(ours[uid]) != _content(theirs[uid]):
            yield f"{uid.hex()}: {_content(ours[uid])}, the master: {_content(theirs[uid])}"


def unsettled_pair(server: Server, master: Server) -> Iterator[str]:
    """The other process of a machine has all that the master has, unless it is not wanted."""
    other = server.current.other
    if other is None or (other.openvpn is None and not other.wanted):
        return
    if other.openvpn is None or not other.connected:
        yield f"{other.process} is missing"
        return
    figures = server.pair_figures.of(other.process)
    if other.openvpn.descriptors is None or not other.plays(Role.STANDBY):
        yield f"{other.process} is {figures.place}, not standby"
    # of a key that has run out nothing is left to grant to whoever comes after that
    short = figures.sync is Sync.PARTIAL and server.machine.cluster.schedule.runs_short
    if figures.sync is not Sync.IN_SYNC and not short:
        yield f"{other.process} is {figures.sync}, not in sync"
    yield from (f"{other.process} {fault}" for fault in _table(other.openvpn, master))


def _content(client: ModelClient) -> tuple[object, ...]:
    keys = [key.fingerprint.hex() for key in client.keys]
    return client.generation, keys, client.name, client.peer_info


# Memory.


def check_memory(cluster: Cluster) -> None:
    """No core keeps more than its clients and a constant justify."""
    services = cluster.services
    sessions = sum(len(one.truth.versions) for one in services)
    clients = sum(len(one.clients.all) for one in services)
    limit = MEMORY_BASE * len(services) + MEMORY_PER_CLIENT * max(clients, sessions)
    for machine in cluster.running:
        size = count_things(machine.node)
        if size > limit:
            cluster.violate("a core keeps too much", f"{machine.name}: {size} of {limit}")


def count_things(root: object) -> int:
    """How many items all containers hold that can be reached from an object of ours."""
    return sum(
        len(one)
        for one in _reach(root)
        if isinstance(one, Collection) and not isinstance(one, str | bytes)
    )


def count_bytes(root: object) -> int:
    """How many bytes of texts and byte strings can be reached from an object of ours."""
    return sum(len(one) for one in _reach(root) if isinstance(one, str | bytes | bytearray))


def _reach(root: object) -> Iterator[object]:
    seen: set[int] = set()
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += _parts(one)


def _parts(one: object) -> list[object]:
    if isinstance(one, dict):
        return [*one.keys(), *one.values()]
    if isinstance(one, str | bytes | bytearray | int | float | type(None)):
        return []
    if isinstance(one, Collection):
        return list(one)
    if not type(one).__module__.startswith("ovpnha."):
        return []
    slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
    parts = [getattr(one, name) for name in slots if hasattr(one, name)]
    return [*parts, *vars(one).values()] if hasattr(one, "__dict__") else parts
