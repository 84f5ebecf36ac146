"""Whether a server's turn has come: until then it serves as it always did, and that is no mistake.

Decides by what runs, not by what its file says: ``ovpnha init --write`` changes the file of a
server that goes on with what it was started with. What the cluster needs, and is not there yet, is
only pending then.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.doctor.facts import Facts, ServerFacts, UnitFacts, Unread


def servers(facts: Facts) -> Iterator[ServerFacts]:
    """Those that could be read."""
    return (one for one in facts.servers if isinstance(one, ServerFacts))


def is_prepared(one: ServerFacts, facts: Facts) -> bool:
    """Whether its file says ``cluster``, and Debian's OpenVPN runs with what it said before."""
    beside = not isinstance(facts.packages, Unread) and facts.packages.beside
    stock = one.stock_unit
    return one.cluster and beside and isinstance(stock, UnitFacts) and stock.active


def serves_still(one: ServerFacts, facts: Facts) -> bool:
    """Whether it serves without a cluster."""
    return not one.cluster or is_prepared(one, facts)


def is_clustered(facts: Facts) -> bool:
    """Whether some server is part of a cluster already; also when none could be read."""
    known = list(servers(facts))
    return not known or any(not serves_still(one, facts) for one in known)
