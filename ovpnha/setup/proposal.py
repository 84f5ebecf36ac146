"""What `ovpnha init` would write, and what it says of it: all texts of one node at once.

Decides from the host, the server's file and the answers alone, so that the same question has the
same answer: whoever has everything already gets no change. docs/adr/0038 says what is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ovpnha.config import parse_config
from ovpnha.errors import ConfigError
from ovpnha.setup.addresses import find_in_tunnels, note_far_nodes, note_local
from ovpnha.setup.advice import (
    find_notes,
    find_obstacles,
    find_overridden,
    find_port,
)
from ovpnha.setup.agreement import find_stale, is_left, note_edited, tell_stale
from ovpnha.setup.cluster import ClusterPlan
from ovpnha.setup.commands import StockUnit
from ovpnha.setup.edit import edit_server
from ovpnha.setup.files import (
    CHECK_PATH,
    KEEPALIVED_PATH,
    KEY_PATH,
    NODE_PATH,
    PACKAGED_CHECK,
    TOML_PATH,
    KeepalivedFiles,
    render_keepalived,
    render_toml,
)
from ovpnha.setup.host import Host, NamedState
from ovpnha.setup.leaving import find_left_out, note_left
from ovpnha.setup.network import edit_network
from ovpnha.setup.server import (
    BYTE_ORDER_MARK,
    Load,
    Server,
    find_open_block,
    parse_server,
)
from ovpnha.setup.stock import (
    find_missing_program,
    note_stock,
    note_stock_host,
    with_server,
)
from ovpnha.setup.wanted import unwanted_options, wanted_options

SERVER_DIRECTORY = "/etc/openvpn/server"
LEGACY_DIRECTORY = "/etc/openvpn"
USER = "ovpnha"
NETWORK_FILES = (
    "/etc/network/",
    "/etc/systemd/network/",
    "/etc/netplan/",
    "/etc/NetworkManager/system-connections/",
)


@dataclass(frozen=True)
class FileChange:
    """One file: what it says now, and what it would."""

    path: str
    before: str | None
    """None: it is not there."""
    after: str
    mode: int | None = None
    """None: as it is, or 0644."""
    owner: str = ""
    """Its user; empty: as it is, or root."""
    group: str = ""
    """Empty: as it is, or that of the user."""
    secret: bool = False
    in_place: bool = False
    """Whether only lines are changed of what stands there now, whoever wrote that."""
    exact: bool = False
    """Whether it must be the same on all nodes, byte for byte."""
    state: str = ""
    """How mode and owner change; empty when the content does, or nothing."""


@dataclass(frozen=True)
class DirectoryChange:
    """A directory that is made where it is not there."""

    path: str
    state: NamedState


@dataclass(frozen=True)
class ServerSource:
    """The server's file that was chosen, and what stands in it."""

    path: str
    text: str
    make_load: Callable[[], Load] = lambda: lambda _name: None
    """Makes what reads the files that it includes, each once."""
    unit: str = ""
    """What starts it, where that goes by another name of the file."""

    @property
    def name(self) -> str:
        """Of the instance."""
        return PurePosixPath(self.path).stem

    @property
    def target(self) -> str:
        """Where the unit of the patched OpenVPN reads it."""
        return f"{SERVER_DIRECTORY}/{self.name}.conf"

    @property
    def stock_unit(self) -> str:
        """What starts it now; empty when that is not known."""
        if self.unit:
            return self.unit
        units = {SERVER_DIRECTORY: "openvpn-server", LEGACY_DIRECTORY: "openvpn"}
        kind = units.get(str(PurePosixPath(self.path).parent))
        return f"{kind}@{self.name}.service" if kind is not None else ""

    def read(self, text: str | None = None) -> Server:
        """Its options, or those of another text in its place."""
        return parse_server(Path(self.path), self.text if text is None else text, self.make_load())


@dataclass(frozen=True)
class Proposal:
    """All that would be changed, and what is said of it."""

    changes: tuple[FileChange, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    directories: tuple[DirectoryChange, ...] = ()


@dataclass(frozen=True)
class Supplies:
    """What a proposal is made with, beside the host."""

    templates: KeepalivedFiles
    fresh_key: str
    """The text of a new key file, for a node that has none."""
    bases: Mapping[str, str | None] = field(default_factory=dict)
    """Files that stand as an earlier run has written them: what was there before it."""
    edited: frozenset[str] = frozenset()
    """Files that an earlier run has written, and somebody has changed since."""
    last: Mapping[str, str] = field(default_factory=dict)
    """Digests of what was written last, of every file that an earlier run has written."""


def find_stock(source: ServerSource, host: Host) -> StockUnit:
    """How the server is started now."""
    name = source.stock_unit
    return StockUnit(name, name in host.enabled, name in host.active)


def edit_source(plan: ClusterPlan, source: ServerSource, edited: str | None = None) -> str:
    """The server's file as it would be; ``edited`` is what somebody has made of an earlier one."""
    text = source.text if edited is None else edited
    if source.path != source.target and edited is None:
        text = f"cd {PurePosixPath(source.path).parent}\n{text.removeprefix(BYTE_ORDER_MARK)}"
    server = source.read(text)
    return edit_server(text, wanted_options(plan, server), unwanted_options(plan, server))


def propose(plan: ClusterPlan, source: ServerSource, host: Host, supplies: Supplies) -> Proposal:
    """Everything for one node."""
    plan = with_server(plan, source.read())
    target = host.files.get(source.target)
    edited = source.target in supplies.edited
    after = edit_source(plan, source, target if edited else None)
    changes = [
        *_propose_key(host, supplies),
        *_propose_rendered(plan, host, supplies),
        *_propose_network(plan, host, supplies),
        FileChange(source.target, target, after, in_place=edited),
    ]
    found = judge(plan, source, changes, host, supplies)
    server = source.read()
    told = (
        note_stock(plan, server)
        if plan.stock
        else find_notes(server, plan.versions, plan.management)
    )
    notes = (
        *told,
        *note_local(plan, source.read()),
        *found.notes,
    )
    wanted = [] if find_open_block(source.text) else wanted_options(plan, source.read())
    wrong = (*find_port(source.read()), *find_overridden(wanted, source.read(after)))
    problems = (*found.problems, *(f"{source.path}: {one}" for one in wrong))
    return replace(found, notes=notes, problems=problems)


def judge(
    plan: ClusterPlan,
    source: ServerSource,
    changes: Sequence[FileChange],
    host: Host,
    supplies: Supplies,
) -> Proposal:
    """The changes that are left to make, and what has to be said of all."""
    after = next(one.after for one in changes if one.path == source.target)
    problems = [
        *find_server_problems(source, after, stock=plan.stock),
        *find_foreign(plan.keepalived, changes, source, supplies),
        *check_toml(changes, host),
        *find_missing(host),
        *(find_missing_program(host) if plan.stock else ()),
        *find_in_tunnels(plan, source.read(after)),
        *find_left_out(plan, host, ours=KEEPALIVED_PATH in supplies.last),
        *tell_stale(stale := find_stale(changes, supplies)),
    ]
    kept = (one for one in changes if one in stale or not is_left(one, supplies))
    stated = [with_state(one, host) for one in kept]
    wanted = tuple(one for one in stated if one.before != one.after or one.state)
    notes = (
        *_note_host(plan, source, host, supplies),
        *note_left(plan, host),
        *note_edited(changes, supplies),
        *_note_key(wanted, host, supplies),
    )
    problems += find_links(wanted, host)
    return Proposal(wanted, notes, tuple(dict.fromkeys(problems)))


def with_state(change: FileChange, host: Host) -> FileChange:
    """The same, and what changes of mode and owner where the content does not."""
    now = host.states.get(change.path)
    if now is None or change.mode is None or change.before != change.after:
        return change
    user = change.owner if change.owner in host.users else now.user
    group = change.group if change.group in host.groups else now.group
    then = NamedState(change.mode, user, group)
    return change if then == now else replace(change, state=f"{now}; becomes {then}")


def _propose_key(host: Host, supplies: Supplies) -> Iterator[FileChange]:
    """A key that is there stays: other nodes may have it."""
    text = host.files.get(KEY_PATH)
    after = supplies.fresh_key if text is None else text
    yield FileChange(KEY_PATH, text, after, 0o600, USER, USER, secret=True)


def _propose_rendered(plan: ClusterPlan, host: Host, supplies: Supplies) -> Iterator[FileChange]:
    yield FileChange(TOML_PATH, host.files.get(TOML_PATH), render_toml(plan))
    if plan.keepalived == "leave":
        return
    packaged = PACKAGED_CHECK in host.programs
    made = render_keepalived(plan, supplies.templates, PACKAGED_CHECK if packaged else CHECK_PATH)
    yield FileChange(NODE_PATH, host.files.get(NODE_PATH), made.node)
    if not packaged:
        check = host.files.get(CHECK_PATH)
        yield FileChange(CHECK_PATH, check, made.check_grade, 0o755)
    yield FileChange(KEEPALIVED_PATH, host.files.get(KEEPALIVED_PATH), made.keepalived)


def _propose_network(plan: ClusterPlan, host: Host, supplies: Supplies) -> Iterator[FileChange]:
    now = network_files(host)
    texts = _network_bases(host, supplies)
    for place in plan.vips:
        texts |= edit_network(texts, place)[0]
    yield from (FileChange(path, now[path], text, in_place=True) for path, text in texts.items())


def network_files(host: Host) -> dict[str, str]:
    """The files that say which addresses the host has at boot."""
    return {path: text for path, text in host.files.items() if path.startswith(NETWORK_FILES)}


def _network_bases(host: Host, supplies: Supplies) -> dict[str, str]:
    now = network_files(host)
    return {path: supplies.bases.get(path) or text for path, text in now.items()}


def find_server_problems(source: ServerSource, after: str, *, stock: bool) -> Iterator[str]:
    """What stands in the way in the server's file."""
    if block := find_open_block(source.text):
        yield f"{source.path}: <{block}> has no end; add a line </{block}>"
        return
    for text in find_obstacles(source.read(after), stock=stock):
        yield f"{source.path}: {text}"


def find_foreign(
    keepalived: str, changes: Sequence[FileChange], source: ServerSource, supplies: Supplies
) -> Iterator[str]:
    """Files that somebody else has written, and that would be lost."""
    for one in changes:
        if one.before in {None, one.after} or one.path in {*supplies.bases, *supplies.edited}:
            continue
        if one.path == TOML_PATH:
            yield (
                f"{TOML_PATH}: is there already, and was not made by init, which is for one server;"
                " add the other [[instance]] by hand, or move the file away"
            )
        elif one.path == source.target and source.path != source.target:
            yield f"{one.path}: is another server's; {source.path} needs a name of its own"
        elif one.path in {KEEPALIVED_PATH, NODE_PATH} and keepalived == "new":
            yield (
                f"{one.path}: is there already; say `--keepalived replace` to have it replaced (a"
                " copy is kept), or `--keepalived leave` to leave keepalived to you"
            )


def check_toml(changes: Sequence[FileChange], host: Host) -> Iterator[str]:
    """What our own configuration is refused for."""
    for one in changes:
        if one.path == TOML_PATH:
            try:
                parse_config(one.after, TOML_PATH, host.name)
            except ConfigError as error:
                yield from str(error).splitlines()


def find_missing(host: Host) -> Iterator[str]:
    """What the sidecar needs of the host."""
    if not host.has_user:
        yield "there is no user ovpnha on this host, whom the sidecar runs as; install the package"
    for path in host.closed:
        yield f"{path}: the user ovpnha cannot read what is in it; run: chmod 755 {path}"


def _note_host(
    plan: ClusterPlan, source: ServerSource, host: Host, supplies: Supplies
) -> Iterator[str]:
    unit = "openvpn-cluster@.service"
    if plan.stock:
        yield from note_stock_host(host)
    elif f"/usr/lib/systemd/system/{unit}" not in host.programs:
        yield (
            f"{unit} is not installed: apt install ./openvpn-cluster_*.deb; or leave OpenVPN as it"
            " is, and clients that reconnect at a takeover: ovpnha init --stock"
        )
    if plan.keepalived != "leave" and "/usr/sbin/keepalived" not in host.programs:
        yield "keepalived is not installed: apt install keepalived"
    if source.stock_unit == "" and source.path != source.target:
        yield f"{source.path}: nobody knows here what starts this server; stop it yourself"
    if plan.bcn_interface in {one.interface for one in plan.vips}:
        yield (
            f"bcn: {plan.bcn_interface} is also where clients or the LAN are: whoever floods it"
            " delays replication; an interface or VLAN of its own is better"
        )
    yield from note_far_nodes(plan, host)
    if plan.unit not in host.active:
        for place in plan.vips:
            if host.has_as_own(place.ip):
                yield from edit_network(_network_bases(host, supplies), place)[1]


def find_links(changes: Sequence[FileChange], host: Host) -> Iterator[str]:
    """A file is changed by a rename, which its other name does not follow, there or back."""
    for one in changes:
        if one.path in host.linked:
            yield (
                f"{one.path}: has another name (a hard link), which would go on as it is, and be"
                " another file from then on, also on the way back. Make that one a symbolic link"
                f" to {one.path}, or remove it: find / -xdev -samefile {one.path}"
            )


def _note_key(changes: Sequence[FileChange], host: Host, supplies: Supplies) -> Iterator[str]:
    """A new key where there has been one."""
    new = any(one.path == KEY_PATH and one.before is None for one in changes)
    if new and (KEY_PATH in supplies.last or TOML_PATH in host.files):
        yield (
            f"{KEY_PATH}: is not there, and is made anew: a node with the earlier key does not"
            " hear this one any more. Copy the key from another node instead; or, if there is"
            " none, give the new one to all: ovpnha init --export FILE, --join FILE there"
        )
