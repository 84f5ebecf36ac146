"""Checks of keepalived: does the grade decide, and do the right addresses move together?

Decides by what its configuration says. What it must have, and why, is in deploy/keepalived and in
docs/roles.md; ``grade + priority`` is what keepalived compares, and it counts no further than 254.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovpnha.doctor.facts import Facts, InstanceFacts, KeepalivedFacts, UnitFacts, Unread
from ovpnha.doctor.keepalived import (
    KeepalivedBlock,
    KeepalivedConfig,
    address_in,
    addresses_of,
    device_of,
)
from ovpnha.doctor.kinds import DoctorKind, Told, Unmade, find
from ovpnha.doctor.turn import is_clustered

HIGHEST_PRIORITY = 134
"""With the grade of a master, 120, it makes 254."""
DEFAULT_PRIORITY = "100"
REAL_TIME = ("vrrp_rt_priority", "vrrp_rlimit_rttime", "vrrp_rlimit_rtime")
TRACKED = ("track_file", "vrrp_track_file")
CONNTRACKD_SCRIPT = "primary-backup"
EXAMPLE = "as deploy/keepalived/keepalived.conf has it"


def check_presence(facts: Facts) -> Iterator[Told]:
    """Whether it is there, runs, and will again."""
    found = facts.keepalived
    if found is None:
        return
    if not found.installed:
        yield find(
            DoctorKind.KEEPALIVED_MISSING,
            "keepalived is not installed, and nothing moves the VIP to this node",
            "apt install keepalived, then at once systemctl disable --now keepalived until this"
            ' node\'s turn; or, with ucarp or Pacemaker, vip_manager = "other" in ovpnha.toml',
        )
    elif isinstance(found.unit, Unread):
        yield Unmade("the unit keepalived.service", found.unit.why)
    elif not is_clustered(facts):
        yield from _check_early(found)
    else:
        yield from _check_late(found)


def _check_early(found: KeepalivedFacts) -> Iterator[Told]:
    enabled = isinstance(found.unit, UnitFacts) and found.unit.enabled
    if found.process is not None or enabled:
        state = "runs" if found.process is not None else "is enabled"
        yield find(
            DoctorKind.KEEPALIVED_TOO_EARLY,
            f"keepalived {state}, and no server here is part of a cluster yet: it takes the VIP for"
            " a server that nobody moves (Debian enables it when it is installed)",
            "systemctl disable --now keepalived, until the server's turn has come",
        )


def _check_late(found: KeepalivedFacts) -> Iterator[Told]:
    if found.process is None:
        yield find(
            DoctorKind.KEEPALIVED_DOWN,
            "keepalived does not run: this node cannot get the VIP",
            "systemctl enable --now keepalived; journalctl -u keepalived says why it ended",
        )
    elif isinstance(found.unit, UnitFacts) and not found.unit.enabled:
        yield find(
            DoctorKind.KEEPALIVED_NOT_ENABLED,
            "keepalived.service is not enabled: after a reboot this node cannot get the VIP",
            "systemctl enable keepalived",
        )


def check_configuration(facts: Facts) -> Iterator[Told]:
    """Whether there is one, and whether keepalived takes it."""
    found = facts.keepalived
    if found is None or not found.installed:
        return
    if found.blocks is None:
        yield find(
            DoctorKind.KEEPALIVED_UNCONFIGURED,
            f"there is no {found.path}",
            "copy keepalived.conf, node.conf and check-grade of deploy/keepalived, and fill in"
            " node.conf",
        )
        return
    if isinstance(found.blocks, Unread):
        yield Unmade("keepalived's configuration", found.blocks.why)
    if isinstance(found.tested, Unread):
        yield Unmade("keepalived --config-test", found.tested.why)
    elif found.tested:
        yield find(
            DoctorKind.KEEPALIVED_REFUSES,
            f"keepalived --config-test says: {'; '.join(found.tested)}",
            f"correct {found.path}, or node.conf beside it",
        )


def _read(facts: Facts) -> KeepalivedConfig | None:
    found = facts.keepalived
    blocks = found.blocks if found is not None and found.installed else None
    return None if blocks is None or isinstance(blocks, Unread) else KeepalivedConfig(blocks)


def _managed(facts: Facts) -> Iterator[InstanceFacts]:
    return (one for one in facts.configuration.instances if one.keepalived)


def check_addresses(facts: Facts) -> Iterator[Told]:
    """That the VIP moves, where it counts, together with what belongs to it."""
    conf = _read(facts)
    if conf is None:
        return
    for one in _managed(facts):
        for vip in one.vips:
            yield from _check_vip(vip, one, conf)
        yield from _check_parted(one, conf)
        yield from _check_companions(one, conf, facts)


def _check_vip(vip: str, one: InstanceFacts, conf: KeepalivedConfig) -> Iterator[Told]:
    holder = conf.holder(vip)
    if holder is None:
        line = "$OUTSIDE_VIP6" if ":" in vip else "$OUTSIDE_VIP"
        yield find(
            DoctorKind.KEEPALIVED_VIP,
            f"no vrrp_instance of keepalived has {vip}, the VIP of instance {one.name}",
            f"{vip} in virtual_ipaddress (in node.conf: {line}), or another vip in"
            " ovpnha.toml and local in OpenVPN's file",
        )
        return
    devices = {device_of(line, holder) for line in addresses_of(holder) if address_in(line) == vip}
    if holder.has("use_vmac"):
        devices = {holder.value("use_vmac") or f"vrrp.{holder.value('virtual_router_id')}"}
        yield find(
            DoctorKind.KEEPALIVED_VMAC,
            f"vrrp_instance {holder.title} says use_vmac: the VIP comes on {'/'.join(devices)}, an"
            " interface of keepalived's own, whose MAC address moves as well",
            "take use_vmac out: gratuitous ARP tells the neighbours; else leave out vip_interface",
        )
    if one.interface and one.interface not in devices:
        yield find(
            DoctorKind.KEEPALIVED_INTERFACE,
            f"keepalived puts {vip} on {'/'.join(sorted(devices))}, and it counts on"
            f" {one.interface} only: this node would refuse it",
            f'vip_interface = "{sorted(devices)[0]}" in ovpnha.toml, or another dev there',
        )


def _holder(one: InstanceFacts, conf: KeepalivedConfig) -> KeepalivedBlock | None:
    """Who moves the VIP; of several, the first that somebody moves."""
    return next((found for vip in one.vips if (found := conf.holder(vip)) is not None), None)


def _check_parted(one: InstanceFacts, conf: KeepalivedConfig) -> Iterator[Told]:
    """Of several VIPs one must not stay where the others go."""
    holder = _holder(one, conf)
    together = () if holder is None else conf.together(holder)
    for vip in one.vips:
        other = conf.holder(vip)
        if holder is not None and other is not None and other not in together:
            yield find(
                DoctorKind.KEEPALIVED_SPLIT,
                f"vrrp_instance {other.title} moves {vip} by itself, and {holder.title} the other"
                f" VIPs of instance {one.name}: when they part, two nodes serve",
                f"all of them in vrrp_instance {holder.title} (IPv6 beside IPv4 in"
                " virtual_ipaddress_excluded), or in one vrrp_sync_group",
            )


def _check_companions(one: InstanceFacts, conf: KeepalivedConfig, facts: Facts) -> Iterator[Told]:
    holder = _holder(one, conf)
    if holder is None:
        return
    together = conf.together(holder)
    ours = {vip for inst in _managed(facts) for vip in inst.vips}
    vips = ", ".join(one.vips)
    apart = [other for other in conf.instances if other not in together]
    for other in apart:
        addresses = [address_in(line) for line in addresses_of(other)]
        if not ours & set(addresses):
            yield find(
                DoctorKind.KEEPALIVED_SPLIT,
                f"vrrp_instance {other.title} moves {', '.join(addresses)} by itself, apart from"
                f" {vips}: when they part, clients have no way to the LAN",
                f"put its addresses into vrrp_instance {holder.title}, or both into one"
                " vrrp_sync_group with track_file there",
            )
    for vip in facts.configuration.inside_vips:
        if conf.holder(vip) is None:
            yield find(
                DoctorKind.KEEPALIVED_VIP,
                f"no vrrp_instance of keepalived has {vip}, to which the tunnels are translated",
                f"{vip} in virtual_ipaddress beside {vips} (in node.conf: $INSIDE_VIP)",
            )
    places = {device_of(line, inst) for inst in together for line in addresses_of(inst)}
    if len(places) == 1 and not apart:
        yield find(
            DoctorKind.KEEPALIVED_INSIDE,
            f"keepalived moves addresses on {places.pop()} only: hosts of a LAN whose route to the"
            " tunnels names a node keep to that node",
            "an inside VIP beside the outside one ($INSIDE_VIP in node.conf), and the hosts' route"
            " to it; nothing where clients reach no LAN, or by NAT to the VIP",
        )


def check_grade(facts: Facts) -> Iterator[Told]:
    """That keepalived reads the grade, and goes by it."""
    conf = _read(facts)
    if conf is None:
        return
    for one in _managed(facts):
        holder = _holder(one, conf)
        if holder is None:
            continue
        if not one.track_file:
            yield find(
                DoctorKind.KEEPALIVED_GRADE,
                f"instance {one.name} has no track_file, so that keepalived cannot read its grade",
                f'track_file = "/run/ovpnha/{one.name}.grade" in ovpnha.toml; track_file {EXAMPLE}',
            )
            continue
        yield from _check_tracking(one, holder, conf)
        yield from _check_priority(holder)


def _check_tracking(
    one: InstanceFacts, holder: KeepalivedBlock, conf: KeepalivedConfig
) -> Iterator[Told]:
    tracks = [track for track in conf.all(*TRACKED) if track.value("file") == one.track_file]
    uses = [*(() if (group := conf.group(holder)) is None else (group,)), holder]
    used = [
        (track, line)
        for track in tracks
        for user in uses
        for name in TRACKED
        for line in user.listed(name)
        if line.name == track.title
    ]
    if not used:
        there = f"; it reads {', '.join(_files(conf))}" if list(_files(conf)) else ""
        yield find(
            DoctorKind.KEEPALIVED_GRADE,
            f"vrrp_instance {holder.title} does not go by {one.track_file}, the grade of instance"
            f" {one.name}{there}",
            f"track_file with file {one.track_file} ($GRADE_FILE in node.conf), and its name in"
            f" track_file of vrrp_instance {holder.title}, {EXAMPLE}",
        )
    for track, line in used:
        yield from _check_use(track, line)


def _check_use(track: KeepalivedBlock, line: KeepalivedBlock) -> Iterator[Told]:
    """The line that names the file's block, and the block."""
    weight = line.value("weight") or _word_after("weight", line) or track.value("weight") or "1"
    if weight != "1" or "reverse" in (*line.words, *_words(track, "weight")):
        yield find(
            DoctorKind.KEEPALIVED_WEIGHT,
            f"track_file {track.title} has weight {weight}: the grade does not count as it is",
            f"weight 1, without reverse, {EXAMPLE}",
        )
    if not track.has("init_file"):
        yield find(
            DoctorKind.KEEPALIVED_INIT_FILE,
            f"track_file {track.title} has no init_file: a keepalived that starts before the"
            " sidecar has written a grade does not know the file",
            f"init_file 0 in track_file {track.title}",
        )


def _files(conf: KeepalivedConfig) -> Iterator[str]:
    return filter(None, (track.value("file") for track in conf.all(*TRACKED)))


def _word_after(word: str, line: KeepalivedBlock) -> str:
    words = line.words
    return words[words.index(word) + 1] if word in words[:-1] else ""


def _words(block: KeepalivedBlock, name: str) -> Iterator[str]:
    for one in block.find(name):
        yield from one.words


def _check_priority(holder: KeepalivedBlock) -> Iterator[Told]:
    text = holder.value("priority") or DEFAULT_PRIORITY
    priority = int(text) if text.isdigit() else 0
    if not 1 <= priority <= HIGHEST_PRIORITY:
        yield find(
            DoctorKind.KEEPALIVED_PRIORITY,
            f"vrrp_instance {holder.title} has priority {text}: with grades up to 120 on top"
            " keepalived counts no further than 254, so that a better node does not win",
            f"priority 1 to {HIGHEST_PRIORITY}: the same on all nodes but for a few points, or"
            " 31 to 59 apart where one is preferred",
        )
    wrong = [
        *(["state MASTER"] if holder.value("state") == "MASTER" else []),
        *(["nopreempt"] if holder.has("nopreempt") else []),
    ]
    if wrong:
        yield find(
            DoctorKind.KEEPALIVED_STATE,
            f"vrrp_instance {holder.title} says {' and '.join(wrong)}: the grade shall decide who"
            " has the VIP, also at the start",
            "state BACKUP, and no nopreempt",
        )


def check_scripts(facts: Facts) -> Iterator[Told]:
    """What keepalived runs for what the grade cannot say."""
    conf = _read(facts)
    if conf is None or facts.keepalived is None:
        return
    scripts = list(conf.all("vrrp_script"))
    for one in _managed(facts):
        holder = _holder(one, conf)
        if holder is not None and not _runs_check_grade(holder, scripts, conf):
            yield find(
                DoctorKind.KEEPALIVED_SCRIPT,
                f"vrrp_instance {holder.title} does not run check-grade: a node whose sidecar is"
                " dead goes on with the last grade",
                f"vrrp_script with check-grade, and track_script, {EXAMPLE}",
            )
    for path, wrong in facts.keepalived.scripts.items():
        if wrong:
            yield find(
                DoctorKind.KEEPALIVED_SCRIPT,
                f"keepalived is to run {path}: {wrong}",
                f"copy check-grade there: install -o root -m 755 check-grade {path}",
            )
    if scripts and not conf.setting("script_user") and not all(one.has("user") for one in scripts):
        yield find(
            DoctorKind.KEEPALIVED_SCRIPT_USER,
            "keepalived.conf does not say as whom scripts run: keepalived looks for a user"
            " keepalived_script, and check-grade needs root",
            "script_user root and enable_script_security in global_defs",
        )


def _runs_check_grade(
    holder: KeepalivedBlock, scripts: Sequence[KeepalivedBlock], conf: KeepalivedConfig
) -> bool:
    ours = {one.title for one in scripts if "check-grade" in one.value("script")}
    group = conf.group(holder)
    users = (holder,) if group is None else (group, holder)
    return any(line.name in ours for user in users for line in user.listed("track_script"))


def script_paths(blocks: Sequence[KeepalivedBlock]) -> tuple[str, ...]:
    """The programs that keepalived is to run."""
    lines = (one.value("script") for one in KeepalivedConfig(blocks).all("vrrp_script"))
    return tuple(dict.fromkeys(line.split()[0] for line in lines if line.split()))


def check_notify(facts: Facts) -> Iterator[Told]:
    """Two who give conntrackd orders undo each other's."""
    conf = _read(facts)
    if conf is None or facts.conntrackd is None:
        return
    for one in conf.all("vrrp_instance", "vrrp_sync_group"):
        calls = [line for line in one.inner if CONNTRACKD_SCRIPT in " ".join(line.words)]
        if calls:
            yield find(
                DoctorKind.KEEPALIVED_NOTIFY,
                f"{' '.join(one.words)} calls {CONNTRACKD_SCRIPT} ({calls[0].name}), and the"
                " sidecar tells conntrackd the same at another moment",
                f"take the lines with {CONNTRACKD_SCRIPT} out of keepalived.conf",
            )


def check_real_time(facts: Facts) -> Iterator[Told]:
    """Where its real time comes from."""
    conf = _read(facts)
    named = [name for name in REAL_TIME if conf is not None and conf.setting(name)]
    if named:
        yield find(
            DoctorKind.KEEPALIVED_REAL_TIME,
            f"keepalived.conf says {' and '.join(named)}: its next reload may kill keepalived where"
            " it lacks CAP_SYS_RESOURCE",
            "take it out, and install the drop-in for keepalived.service"
            " (deploy/systemd/keepalived.service.d)",
        )
