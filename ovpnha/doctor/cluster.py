"""Checks of ovpnha itself: its configuration, its key, its sidecar, the other nodes, the BCN.

What ``check-config`` and ``status`` find is passed on in their own words; only what neither of them
looks at is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.doctor.facts import Facts, LinkFacts, SidecarFacts, UnitFacts, Unread
from ovpnha.doctor.kinds import DoctorKind, Told, Unmade, find
from ovpnha.doctor.turn import is_clustered, is_prepared, servers, serves_still
from ovpnha.machines import SparePolicy

DATAGRAM_LIMIT = 1200
"""Bytes of the largest datagram of the BCN (docs/wire.md)."""
HEADERS = {4: 28, 6: 48}
"""Bytes of IP and UDP before it."""
NEEDED = {"cap_net_admin": "larger socket buffers", "cap_net_raw": "sockets of one interface"}
OF_SPARES = {"cap_kill": "the end of an OpenVPN that hangs, before which no spare may serve"}
LOOK_UP = 'docs/operations.md, "What to look at when"'
FOREIGN = {
    "version": "of another release of ovpnha; install the same release on all nodes",
    "unknown_key": "under a key that is not ours; compare the key files of all nodes:"
    " sha256sum /etc/ovpnha/cluster.key",
    "unauthentic": "that are not authentic; compare the key files of all nodes:"
    " sha256sum /etc/ovpnha/cluster.key",
}


def check_configuration(facts: Facts) -> Iterator[Told]:
    """ovpnha.toml, and OpenVPN's files before and after they say ``cluster``."""
    found = facts.configuration
    if found.unread:
        yield Unmade("ovpnha.toml, and all that depends on it", found.unread)
    if not found.present:
        yield find(
            DoctorKind.NOT_CONFIGURED,
            f"there is no {found.path}: no client of this host is protected",
            "ovpnha init, or copy the file from another node",
        )
    for kind, lines in (
        (DoctorKind.CONFIGURATION, found.problems),
        (DoctorKind.CONFIGURATION_WARNING, found.warnings),
        (DoctorKind.SERVER_PENDING, found.pending),
    ):
        yield from (_from_line(kind, line) for line in lines)
    for name, line in found.own_vips.items():
        waits = any(one.instance == name and serves_still(one, facts) for one in servers(facts))
        if not waits:
            yield _from_line(DoctorKind.CONFIGURATION, line)


def _from_line(kind: DoctorKind, line: str) -> Told:
    """A line of ours is the thing, a semicolon or at least a colon, and the fix."""
    what, semicolon, fix = line.partition("; ")
    return find(kind, what, fix if semicolon else line.rpartition(": ")[2])


def check_key(facts: Facts) -> Iterator[Told]:
    """The file with the cluster key."""
    key = facts.key
    if key is None:
        return
    if isinstance(key, Unread):
        yield Unmade("the cluster key", key.why)
        return
    if key.problem:
        yield _from_line(DoctorKind.KEY_FILE, key.problem)
    elif not key.for_sidecar:
        yield find(
            DoctorKind.KEY_FILE,
            f"{key.path} belongs to {key.owner}, and the sidecar's user may not read it",
            f"chown ovpnha: {key.path}",
        )


def check_sidecar(facts: Facts) -> Iterator[Told]:
    """Whether it runs, as what, and whether it will again."""
    sidecar, unit = facts.sidecar, facts.sidecar_unit
    if isinstance(sidecar, Unread):
        yield Unmade("what ovpnha status says", sidecar.why)
    elif sidecar is None and facts.configuration.instances:
        yield _down(facts)
    elif sidecar is not None:
        yield from _check_running(sidecar, facts)
    if isinstance(unit, Unread):
        yield Unmade("the unit ovpnha.service", unit.why)
    elif unit is not None and not unit.enabled and facts.configuration.instances:
        yield from _check_enabled(unit, facts)


def _down(facts: Facts) -> Told:
    if not is_clustered(facts):
        return find(
            DoctorKind.SERVER_PENDING,
            "the sidecar does not run yet, and no server is part of a cluster",
            "systemctl enable --now ovpnha, when the server's turn has come",
        )
    return find(
        DoctorKind.SIDECAR_DOWN,
        "the sidecar does not run: nothing is replicated from or to this node, and nobody promotes"
        " its OpenVPN",
        "systemctl enable --now ovpnha; journalctl -u ovpnha says why it ended",
    )


def _check_running(sidecar: SidecarFacts, facts: Facts) -> Iterator[Told]:
    if sidecar.version not in ("", facts.version):
        yield find(
            DoctorKind.SIDECAR_REPLACED,
            f"the sidecar that runs is version {sidecar.version}, this program {facts.version}",
            "systemctl restart ovpnha: no client notices",
        )
    if isinstance(sidecar.capabilities, Unread):
        yield Unmade("the sidecar's capabilities", sidecar.capabilities.why)
        return
    spared = any(one.spare is not SparePolicy.NEVER for one in servers(facts))
    needed = NEEDED | (OF_SPARES if spared else {})
    for name in sorted(needed.keys() - sidecar.capabilities):
        yield find(
            DoctorKind.SIDECAR_CAPABILITIES,
            f"the sidecar lacks {name.upper()}, which it needs for {needed[name]}",
            f"AmbientCapabilities={name.upper()} in the unit that starts it, as ovpnha.service has",
        )


def _check_enabled(unit: UnitFacts, facts: Facts) -> Iterator[Told]:
    units = [
        unit.name
        for one in servers(facts)
        if one.cluster and not is_prepared(one, facts)
        for unit in (one.unit, one.stock_unit)
        if isinstance(unit, UnitFacts) and unit.enabled
    ]
    if not is_clustered(facts):
        return
    if units:
        reboot = f", and {facts.host.reboot}" if facts.host.reboot else ""
        yield find(
            DoctorKind.SILENT_AFTER_REBOOT,
            f"a reboot now brings {', '.join(units)} up as a silent standby, which serves nobody:"
            f" ovpnha.service is not enabled{reboot}",
            "systemctl enable ovpnha, or leave cluster out of the server's file until its turn",
        )
        return
    yield find(
        DoctorKind.SIDECAR_NOT_ENABLED,
        "ovpnha.service is not enabled: after a reboot this node takes no part",
        "systemctl enable ovpnha" if unit.present else "install deploy/systemd/ovpnha.service",
    )


def check_status(facts: Facts) -> Iterator[Told]:
    """What the sidecar says, and what it refuses while doctor looks."""
    if not isinstance(facts.sidecar, SidecarFacts):
        return
    for problem in facts.sidecar.problems:
        places = (problem.instance, f"node {problem.node}" if problem.node else "")
        place = ", ".join(filter(None, places))
        what = f"{place}: {problem.text}" if place else problem.text
        fix = problem.fix or f"{LOOK_UP} ({problem.kind.value})"
        yield find(DoctorKind.CLUSTER, what, fix, problem.kind.value)
    for reason, text in FOREIGN.items():
        if facts.sidecar.refused.get(reason):
            what, _, fix = text.partition("; ")
            yield find(
                DoctorKind.REFUSED_DATAGRAMS, f"datagrams keep coming {what} ({reason})", fix
            )


def check_versions(facts: Facts) -> Iterator[Told]:
    """OpenVPN on this node and on the others."""
    if not isinstance(facts.sidecar, SidecarFacts):
        return
    ours = sorted(set(filter(None, facts.sidecar.openvpn.values())))
    for node in facts.sidecar.nodes:
        if ours and node.heard and node.openvpn and node.openvpn not in ours:
            yield find(
                DoctorKind.VERSIONS_DIFFER,
                f"node {node.name} runs OpenVPN {node.openvpn}, this node {', '.join(ours)}",
                "install the same package on both, the standby first (docs/operations.md,"
                ' "Planned moves")',
            )


def check_releases(facts: Facts) -> Iterator[Told]:
    """Ovpnha on this node and on the others: one release is what was tried."""
    if not isinstance(facts.sidecar, SidecarFacts) or not facts.sidecar.version:
        return
    for node in facts.sidecar.nodes:
        if node.heard and node.release not in ("", facts.sidecar.version):
            yield find(
                DoctorKind.RELEASES_DIFFER,
                f"node {node.name} runs ovpnha {node.release}, this node {facts.sidecar.version}",
                "install the same package on both: the sidecar that is older first, no client"
                ' notices (docs/operations.md, "Planned moves")',
            )


def check_links(facts: Facts) -> Iterator[Told]:
    """Each link of the BCN, both ways."""
    sidecar = facts.sidecar if isinstance(facts.sidecar, SidecarFacts) else None
    heard = sidecar is not None and any(node.heard for node in sidecar.nodes)
    for link in facts.links:
        yield from _check_size(link, facts.configuration.bcn_version)
        if link.errors:
            yield find(
                DoctorKind.LINK_ERRORS,
                f"{link.name} has dropped or broken {link.errors} packets within {link.seconds:.1f}"
                " s",
                f"look at the cable, the switch port, the driver: ip -s -s link show {link.name}",
            )
        if sidecar is not None:
            yield from _check_ways(link, heard=heard)


def _check_size(link: LinkFacts, version: int) -> Iterator[Told]:
    least = DATAGRAM_LIMIT + HEADERS[version]
    if link.mtu < least:
        yield find(
            DoctorKind.LINK_MTU,
            f"{link.name} has an MTU of {link.mtu}, and datagrams of the BCN need {least}",
            f"ip link set {link.name} mtu 1500, and in what configures the interface",
        )


def _check_ways(link: LinkFacts, *, heard: bool) -> Iterator[Told]:
    """The sidecars say something several times a second on every link."""
    if heard and not link.received:
        yield find(
            DoctorKind.LINK_SILENT,
            f"nothing came in by {link.name} within {link.seconds:.1f} s, though another node is"
            " heard by another link",
            f"is it in the other nodes' bcn.links, up there, and in the same network? tcpdump -ni"
            f" {link.name} udp",
        )
    if not link.sent:
        yield find(
            DoctorKind.LINK_MUTE,
            f"nothing went out by {link.name} within {link.seconds:.1f} s",
            f"is the interface up, and in bcn.links? ip -s link show {link.name}",
        )
