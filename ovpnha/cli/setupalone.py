"""``ovpnha init --alone``: a server that has no other node. What is proposed is ``ovpnha.setup``'s.

Decides where a host comes from and what is printed. Never touches a server that an earlier run has
put into a cluster.
"""

from __future__ import annotations

from pathlib import Path

from ovpnha.cli.setupprepared import PreparedServer
from ovpnha.cli.setupsession import Session
from ovpnha.errors import ConfigError
from ovpnha.setup.alone import propose_alone
from ovpnha.setup.answers import Answers
from ovpnha.setup.commands import (
    Before,
    find_reload_alone,
    find_start_alone,
    note_before_alone,
    units_of,
)
from ovpnha.setup.proposal import find_stock

REST = "What is still missing says: ovpnha doctor. Clients notice no restart from then on.\n"


def prepare_alone(session: Session, server: Path | None) -> PreparedServer:
    """Read everything, propose."""
    source = session.choose(server)
    noted = session.manifest.before
    earlier = Before.from_plain(dict(noted)) if noted is not None else None
    if earlier is not None and not earlier.spare:
        raise ConfigError(
            "init has put a server into a cluster here; go back first: ovpnha uninit --write"
        )
    if earlier is not None and earlier.source != source.path:
        session.refuse_instance(earlier.source, source.path)
    name = source.name
    units = units_of(name, source.stock_unit)
    host = session.reader.read((source.path, source.target), units)
    proposal = propose_alone(source, host, session.supplies())
    stock = find_stock(source, host)
    before = earlier or note_before_alone(name, source.path, stock, host)
    changed = {one.path for one in proposal.changes}
    return PreparedServer(
        proposal,
        before,
        tuple(find_start_alone(name, stock, host)),
        tuple(find_reload_alone(name, host, changed)),
        Answers(),
        REST,
    )
