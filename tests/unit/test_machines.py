"""Which node is on which machine."""

from __future__ import annotations

import re

from ovpnha.config.values import NAME_PATTERN
from ovpnha.machines import SPARE_SUFFIX, Process, is_spare, machine_of, sibling_of
from ovpnha.management.words import read_epoch
from ovpnha.model import Epoch, NodeName

MAIN, SPARE = NodeName("node-1"), NodeName("node-1:spare")


def test_a_spare_is_a_node_on_the_machine_of_another() -> None:
    assert (machine_of(MAIN), machine_of(SPARE)) == (MAIN, MAIN)
    assert (sibling_of(MAIN), sibling_of(SPARE)) == (SPARE, MAIN)
    assert (is_spare(MAIN), is_spare(SPARE)) == (False, True)


def test_each_process_has_another() -> None:
    assert (Process.MAIN.other, Process.SPARE.other) == (Process.SPARE, Process.MAIN)


def test_no_node_can_be_configured_with_the_name_of_a_spare() -> None:
    assert not re.match(NAME_PATTERN, SPARE)


def test_the_epoch_of_a_spare_is_one_for_openvpn() -> None:
    longest = NodeName("n" * 32 + SPARE_SUFFIX)
    for name in (SPARE, longest):
        assert read_epoch(str(Epoch(10**18, name))) == Epoch(10**18, name)
    assert len(str(Epoch(10**18, longest))) <= 64  # docs/management.md
