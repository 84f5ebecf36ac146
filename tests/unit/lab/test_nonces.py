"""The counter of nonces sees what it is there for."""

from __future__ import annotations

from ovpnha.lab.nonces import Wire, compare, count

TRACES = {"1": ["aa 1", "aa 2", "bb 1"], "2": ["aa 3", "aa 4"]}


def test_what_is_right_is_counted() -> None:
    found = count(TRACES)
    assert (found.packets, found.keys, found.shared_keys, found.duplicates) == (5, 2, 1, 0)


def test_a_line_of_another_process_once_more_is_found() -> None:
    found = count(TRACES | {"3": ["aa 2"]})
    assert found.duplicates == 1
    assert found.first_duplicates == ("aa 2",)


def test_a_line_of_the_same_process_once_more_is_found() -> None:
    assert count({"1": ["aa 1", "aa 1"]}).duplicates == 1


def test_what_was_seen_must_have_been_written_down() -> None:
    wire = ["ready", "0011 0 1", "0022 0 3", "0022 0 9"]
    assert compare(wire, TRACES) == Wire(packets=3, senders=2, untraced=1)
