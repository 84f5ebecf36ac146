"""What keeps two nodes from replicating is named, down to the group of options."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.model import Role
from ovpnha.node.cluster.difference import OPTION_GROUPS, _name_options, find_difference
from tests.unit.node.doubles import STATUS, state

HALF = "ab" * 16


def digest(**changed: int) -> str:
    """A digest with other bytes for some groups: ``g6=1`` changes that of ``data-ciphers``."""
    hints = [changed.get(f"g{number}", 0) for number in range(len(OPTION_GROUPS))]
    return HALF + bytes(hints).hex()


def test_the_groups_that_differ_are_named() -> None:
    assert _name_options(digest(), digest(g6=1)) == " (look at data-ciphers)"
    found = _name_options("2:" + digest(), "2:" + digest(g0=2, g15=255))
    assert found == " (look at proto, local, port; push)"


def test_a_digest_that_does_not_tell() -> None:
    assert _name_options("ab" * 32, "cd" * 14 + "ab" * 18) == ""
    assert _name_options("a", "b") == ""
    assert _name_options(digest()[32:], digest(g6=1)[32:]) == "", "nothing but what may be hints"
    assert _name_options(digest(), "ab") == ""


def test_digests_of_two_releases_cannot_be_compared() -> None:
    ours = replace(STATUS, digest="2:" + digest())
    other = state(Role.MASTER)
    theirs = replace(other, digest=digest(g0=2))
    assert find_difference(ours, theirs) == ""
    theirs = replace(other, digest="2:" + digest(g0=2))
    assert "configuration differs" in find_difference(ours, theirs)
