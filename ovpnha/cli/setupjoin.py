"""``ovpnha init --export`` and ``--join``: what is carried from the first node to a further one.

Decides nothing about what differs between nodes (``ovpnha.setup.join``); reads the files that a
sealed file is made of, and words what lacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ovpnha.cli.setupsession import Ask, Prepared, Session, complete
from ovpnha.config import load_config
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.model import Role, Sync
from ovpnha.runtime.control import StatusRequest, ask
from ovpnha.runtime.status import StatusAnswer
from ovpnha.runtime.thishost import HostReader, read_templates
from ovpnha.setup.answers import NONE, Answers
from ovpnha.setup.bundle import (
    Bundle,
    BundleDirectory,
    BundleFile,
    Reference,
    find_places,
    find_references,
    is_carried,
    parse_bundle,
    render_bundle,
)
from ovpnha.setup.cluster import ClusterPlan, cluster_unit, make_plan
from ovpnha.setup.commands import Before, units_of
from ovpnha.setup.files import CHECK_PATH, KEEPALIVED_PATH, KEY_PATH, NODE_PATH, TOML_PATH
from ovpnha.setup.host import Host, NamedState
from ovpnha.setup.join import adapt_answers, propose_join
from ovpnha.setup.proposal import SERVER_DIRECTORY, ServerSource

WAIT = 20.0
ALONE_WAIT = 5.0
"""Longer than a node that has ended without a word is believed."""
POLL = 0.2
UNKNOWN = "0.0.0.0/32"
"""A network that no host is in: then the interface is found by its name."""
SECRET_OPTIONS = {
    "askpass",
    "auth-gen-token-secret",
    "key",
    "pkcs12",
    "tls-auth",
    "tls-crypt",
    "tls-crypt-v2",
}


def prepare_join(
    session: Session, payload: bytes, source: str, given: Answers, ask: Ask
) -> Prepared:
    """Read the host, ask what is left, propose from what was sealed."""
    bundle = parse_bundle(payload, source)
    path = f"{SERVER_DIRECTORY}/{bundle.instance}.conf"
    server = ServerSource(path, bundle.text(path) or "")
    ours = [cluster_unit(bundle.instance, stock=stock) for stock in (False, True)]
    units = units_of(bundle.instance, server.stock_unit)
    _refuse_another(session, bundle)
    host = session.reader.read([one.path for one in bundle.files], units, bundle.programs)
    host = session.with_manager(host, *ours)
    answers = complete(adapt_answers(bundle, given, host), host, server, ask)
    plan, problems = make_plan(bundle.instance, answers, host)
    if plan is None:
        raise ConfigError("\n".join(problems))
    session.refuse_other_openvpn(plan)
    proposal = propose_join(plan, bundle, host, session.supplies())
    proposal = replace(proposal, problems=(*problems, *proposal.problems))
    prepared = session.conclude_preparation(plan, host, proposal, answers, server, joins=True)
    return replace(prepared, before=replace(prepared.before, source=""))


def _refuse_another(session: Session, bundle: Bundle) -> None:
    noted = session.manifest.before
    earlier = Before.from_plain(dict(noted)).instance if noted is not None else bundle.instance
    if earlier != bundle.instance:
        session.refuse_instance(
            *(f"{SERVER_DIRECTORY}/{one}.conf" for one in (earlier, bundle.instance))
        )


def wait_for_master(config: Path, instance: str, seconds: float = WAIT) -> None:
    """Return when keepalived may start on a node that joins.

    Not before another node is master. And, as long as that comes within the time, not before this
    one has all its clients: whatever goes wrong between two keepaliveds of which one has just
    started costs them nothing then.

    Raises:
        ConfigError: No other node is master, in this time.
    """
    socket = load_config(config).control.socket
    deadline = time.monotonic() + seconds
    while (found := _find_sync(socket, instance)) is not Sync.IN_SYNC:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL)
    if found is None:
        raise ConfigError(
            "no other node is master yet, so keepalived is not started: it would take the VIP"
            " from the server that is in use. There first: ovpnha init --write --now; then say"
            " this again"
        )


def _find_sync(socket: Path, instance: str) -> Sync | None:
    """How much this node has of a master; None when it hears of none."""
    try:
        status = ask(socket, StatusRequest(), StatusAnswer, POLL * 10).status
    except OvpnhaError:  # it has just been started
        return None
    for one in status.instances:
        if one.name == instance and any(
            view.believed and view.role is Role.MASTER for view in one.nodes
        ):
            return one.sync
    return None


def wait_until_alone(config: Path, instance: str, seconds: float = ALONE_WAIT) -> None:
    """Return when no other node is heard: only then this host may have the VIP as its own again.

    So it does when nothing can be asked: the sidecar does not run, or an earlier run has ended it.

    Raises:
        ConfigError: One is, after this time.
    """
    try:
        socket = load_config(config).control.socket
    except ConfigError:
        return
    deadline = time.monotonic() + seconds
    while others := _find_others(socket, instance):
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{', '.join(others)}: still in the cluster, and would have the address that this"
                " host gets back, too; nothing was changed. There first: ovpnha uninit --write"
                " --now; then say this again"
            )
        time.sleep(POLL)


def _find_others(socket: Path, instance: str) -> list[str]:
    try:
        status = ask(socket, StatusRequest(), StatusAnswer, POLL * 10).status
    except OvpnhaError:
        return []
    ours = [one for one in status.instances if one.name == instance]
    return [str(view.name) for one in ours for view in one.nodes if view.believed]


def make_bundle(session: Session, prepared: Prepared) -> bytes:
    """What is to be sealed: everything as it stands on this node now."""
    plan, reader = prepared.plan, session.reader
    path = f"{SERVER_DIRECTORY}/{plan.instance}.conf"
    server = reader.source(path).read()
    references = list(find_references(server, SERVER_DIRECTORY))
    written = [one for one in find_places(server, SERVER_DIRECTORY) if reader.at(one).is_dir()]
    carried = [one for one in references if is_carried(one) and _is_there(one, reader)]
    bundle = Bundle(
        node=plan.node,
        instance=plan.instance,
        answers=_common_answers(prepared).to_plain(),
        bcn_nodes=tuple(str(one) for one in plan.bcn_nodes),
        bcn_network=_find_network(plan, prepared.host),
        bcn_interface=plan.bcn_interface,
        programs=tuple(
            one.path
            for one in references
            if one.program and one not in carried and (not one.argument or _is_there(one, reader))
        ),
        files=(*_own_files(plan, reader, path), *_server_files(carried, reader)),
        directories=tuple(_directories(path, carried, written, reader)),
    )
    return render_bundle(bundle)


def _is_there(reference: Reference, reader: HostReader) -> bool:
    """A program may be found on PATH; everything else must be there."""
    return not reference.program or reader.at(reference.path).is_file()


def _own_files(plan: ClusterPlan, reader: HostReader, path: str) -> Iterator[BundleFile]:
    yield from reader.carry(path, secret=False)
    yield from reader.carry(TOML_PATH, secret=False)
    yield from reader.carry(KEY_PATH, secret=True)
    if plan.keepalived != "leave":
        yield from reader.carry(NODE_PATH, secret=False)
        yield from reader.carry(KEEPALIVED_PATH, secret=False)
        script = read_templates().check_grade.encode()
        yield BundleFile(CHECK_PATH, script, NamedState(0o755), secret=False)


def _directories(
    path: str, carried: list[Reference], written: list[str], reader: HostReader
) -> Iterator[BundleDirectory]:
    """Those that are named or written to, and all that a file is in; the outer ones first."""
    named = [*written, *(one.path for one in carried if reader.at(one.path).is_dir())]
    places = [Path(one) for one in (*named, path, TOML_PATH, *(one.path for one in carried))]
    every = {str(place) for one in places for place in one.parents} | {*named}
    for one in sorted(every - {"/", "/etc"}):
        yield BundleDirectory(one, reader.named_state(reader.at(one)))


def _server_files(carried: list[Reference], reader: HostReader) -> Iterator[BundleFile]:
    for one in carried:
        secret = one.argument or one.option in SECRET_OPTIONS
        yield from reader.carry(one.path, secret=secret)


def _common_answers(prepared: Prepared) -> Answers:
    """With the prefixes that this host knows."""
    plan = prepared.plan
    inside = NONE if plan.inside is None else str(plan.inside.address)
    vip = " ".join(str(one.address) for one in plan.served)
    return replace(
        prepared.answers,
        vip=vip,
        inside_vip=inside,
        outside_interface=plan.outside.interface,
        inside_interface=None if plan.inside is None else plan.inside.interface,
    )


def _find_network(plan: ClusterPlan, host: Host) -> str:
    """That of the BCN, as this host has it."""
    found = list(host.own_addresses(plan.bcn_interface))
    near = [one for one in found if any(node in one.network for node in plan.bcn_nodes)]
    return str(next(iter(near or found)).network) if found else UNKNOWN
