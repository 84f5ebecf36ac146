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
from tests.simulation.machine import Machine
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
    masters = [one for one in cluster.running if one.vip and one.serving() is not None]
    for machine in cluster.running:
        if machine.undisturbed < CALM or machine.openvpn is None:
            continue
        serves = machine.openvpn.plays(Role.MASTER)
        if any(machine.openvpn.waited(uid) > PATIENCE for uid in machine.openvpn.held_back):
            cluster.truth.violate("a new client waits too long", machine.name)
        if any(machine.openvpn.waited(uid) > PATIENCE for uid in machine.openvpn.words_held):
            cluster.truth.violate("a new key waits too long", machine.name)
        if serves and not machine.vip:
            cluster.truth.violate("master without the vip", machine.name)
        rivalled = any(one is not machine for one in masters)
        rivalled |= any(differ(one, machine) for one in cluster.running)
        if machine.vip and not serves and not rivalled:
            cluster.truth.violate("the vip is not served", machine.name)


def check_keys(cluster: Cluster, heir: WatchedOpenvpn, begun: Collection[bytes]) -> None:
    """Whoever was renegotiating when a protected master died can go on with its heir."""
    for uid in begun:
        client, held = cluster.clients.by_uid.get(uid), heir.clients.get(uid)
        if client is None or held is None:
            continue
        if _is_stranger(client, heir):
            text = f"{client.name} ends on {client.keys[0].hex()}, {heir.who} has not"
            cluster.truth.violate("a key nobody has", text)
        if held.sending().fingerprint not in client.keys:
            text = f"{client.name} has not {held.sending().fingerprint.hex()} of {heir.who}"
            cluster.truth.violate("sent to under a key it lacks", text)


def _is_stranger(client: Client, openvpn: WatchedOpenvpn) -> bool:
    """Whether a server lacks its client's newest key, and is not about to have it."""
    known = [key.fingerprint for key in openvpn.clients[client.uid].keys]
    one = client.handshake
    if one is not None and one.openvpn is openvpn:
        known.append(one.key)
    return client.keys[0] not in known


def is_caught(client: Client, openvpn: WatchedOpenvpn) -> bool:
    """Whether a client is inside a handshake with another server, whose key this one has not.

    With the key pending here, OpenVPN waits for the client's own hand-window.
    """
    held = openvpn.clients.get(client.uid)
    if client.handshake is None or client.handshake.openvpn is openvpn or held is None:
        return False
    return client.handshake.key not in [key.fingerprint for key in held.keys]


def unsettled(cluster: Cluster) -> list[str]:
    """What keeps the healed cluster from being as it should be."""
    holders = [one for one in cluster.running if one.vip]
    if len(holders) != 1:
        return [f"the VIP is on {[one.name for one in holders]}"]
    master = holders[0]
    alike = [one for one in cluster.running if not differ(one, master)]
    faults = [f"{one.name}: {fault}" for one in alike for fault in _machine(one, master)]
    others = [one for one in cluster.running if one not in alike]
    faults += [f"{one.name}: {fault}" for one in others for fault in _outsider(one, master)]
    if not faults:
        standbys = [one for one in alike if one is not master]
        faults = _protection(master, standbys)
        faults += [f"{one.name}: {fault}" for one in standbys for fault in _table(one, master)]
        faults += _strangers(cluster, master)
    return faults


def _strangers(cluster: Cluster, master: Machine) -> Iterator[str]:
    """Clients that use a key which their server has not."""
    assert master.openvpn is not None
    for uid in master.openvpn.clients:
        client = cluster.clients.by_uid.get(uid)
        if client is not None and _is_stranger(client, master.openvpn):
            yield f"{client.name} is on a key that {master.name} has not"


def differ(one: Machine, other: Machine) -> bool:
    """Whether both OpenVPN run, with different options."""
    if one.openvpn is None or other.openvpn is None:
        return False
    return one.openvpn.digest != other.openvpn.digest


def _outsider(machine: Machine, master: Machine) -> Iterator[str]:
    """A node with other options than the master's refuses the VIP and holds none of its clients."""
    assert machine.openvpn is not None
    assert master.openvpn is not None
    if machine.node is None or machine.figures.role is not Role.FAULT:
        yield "not in fault, though its options differ from the master's"
    elif "configuration differs" not in machine.figures.grade_reason:
        yield f"in fault because of {machine.figures.grade_reason}"
    if machine.grade != Grade.FAULT or machine.keepalived.state is not State.FAULT:
        yield f"grade {machine.grade}, keepalived in {machine.keepalived.state.value}"
    for uid in machine.openvpn.clients.keys() & master.openvpn.clients.keys():
        yield f"has {uid.hex()}, though its options differ from the master's"


def _machine(machine: Machine, master: Machine) -> Iterator[str]:
    if machine.node is None or machine.openvpn is None:
        yield "a process is missing"
        return
    figures, wanted = machine.figures, Role.MASTER if machine is master else Role.STANDBY
    if figures.role is not wanted:
        yield f"role {figures.role.value}, not {wanted.value}"
    if not machine.openvpn.plays(wanted):
        yield f"OpenVPN is {machine.openvpn.role.value}, not {wanted.value}"
    grade = Grade.MASTER if machine is master else Grade.IN_SYNC
    handing_over = machine.grade == Grade.DEGRADED and machine.openvpn.demote_asked
    if machine.grade != grade and not (machine is master and handing_over):
        yield f"grade {machine.grade}, not {int(grade)}: {figures.grade_reason}"
    sync = Sync.NONE if machine is master else Sync.IN_SYNC
    if figures.sync is not sync:
        yield f"sync {figures.sync.value}, not {sync.value}"
    if machine.keepalived.state not in (State.MASTER, State.BACKUP):
        yield f"keepalived is in {machine.keepalived.state.value}"


def _protection(master: Machine, standbys: list[Machine]) -> list[str]:
    assert master.openvpn is not None
    figures, clients = master.figures, len(master.openvpn.clients)
    faults = []
    if figures.clients != clients:
        faults.append(f"the master counts {figures.clients} clients of {clients}")
    expected = clients if standbys else 0
    if figures.protected != expected:
        faults.append(f"{figures.protected} clients are protected, of {expected}")
    return faults


def _table(standby: Machine, master: Machine) -> Iterator[str]:
    assert standby.openvpn is not None
    assert master.openvpn is not None
    ours, theirs = standby.openvpn.clients, master.openvpn.clients
    for uid in sorted(ours.keys() | theirs.keys()):
        if uid not in ours:
            yield f"lacks {uid.hex()}"
        elif uid not in theirs:
            yield f"has {uid.hex()}, which the master has not"
        elif _content(ours[uid]) != _content(theirs[uid]):
            yield f"{uid.hex()}: {_content(ours[uid])}, the master: {_content(theirs[uid])}"
    if standby.figures.stale:
        yield f"{standby.figures.stale} stale"


def _content(client: ModelClient) -> tuple[object, ...]:
    keys = [key.fingerprint.hex() for key in client.keys]
    return client.generation, keys, client.name, client.peer_info


# Memory.


def check_memory(cluster: Cluster) -> None:
    """No core keeps more than its clients and a constant justify."""
    sessions = len(cluster.truth.versions)
    limit = MEMORY_BASE + MEMORY_PER_CLIENT * max(len(cluster.clients.all), sessions)
    for machine in cluster.running:
        size = count_things(machine.node)
        if size > limit:
            cluster.truth.violate("a core keeps too much", f"{machine.name}: {size} of {limit}")


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
