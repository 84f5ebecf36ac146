"""The counter of nonces sees what it is there for."""

from __future__ import annotations

from tests.lab.nonces import Wire, compare, count, total

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


def test_a_mark_is_no_part_of_the_nonce() -> None:
    found = count({"1": ["aa 1 77", "aa 2 78"], "2": ["aa 2 79"]})
    assert (found.packets, found.duplicates, found.first_duplicates) == (3, 1, ("aa 2",))


def test_a_packet_with_an_encrypted_id_is_known_by_its_mark() -> None:
    traces = {"1": ["aa 1 77", "aa 2 78"]}
    assert compare(["ready", "0011 0 77", "0011 0 2"], traces) == Wire(2, 1, untraced=1)


def test_runs_are_added_up() -> None:
    twice = count({"1": ["aa 1", "aa 1"]})
    found = total([count(TRACES), twice])
    assert (found.packets, found.keys, found.shared_keys) == (7, 3, 1)
    assert (found.duplicates, found.first_duplicates) == (1, ("aa 1",))
