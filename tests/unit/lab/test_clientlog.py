"""What a client's log says about what the client noticed. The lines are those of OpenVPN 2.6.14."""

from __future__ import annotations

import pytest

from tests.lab.clientlog import LogLine, noticed, parse_line

LOST = """
1795218000.000001 1 [server] Inactivity timeout (--ping-restart), restarting
1795218000.100000 1 SIGUSR1[soft,ping-restart] received, process restarting
1795218001.200000 14000003 TLS: Initial packet from [AF_INET]198.51.100.10:1194, sid=1 2
1795218001.300000 14000002 Control Channel: TLSv1.3, cipher TLSv1.3 TLS_AES_256_GCM_SHA384
1795218002.400000 1 Initialization Sequence Completed
"""
RENEWED = """
1795218010.000000 14000002 VERIFY OK: depth=0, CN=server
1795218010.100000 14000002 Control Channel: TLSv1.3, cipher TLSv1.3 TLS_AES_256_GCM_SHA384
1795218010.200000 41000004 Outgoing Data Channel: Cipher 'AES-256-GCM' initialized
"""


def lines(text: str) -> list[LogLine]:
    return [line for line in map(parse_line, text.splitlines()) if line is not None]


def test_a_line_has_a_time_in_nanoseconds_and_a_text() -> None:
    parsed = parse_line("1795218000.000001 1 [server] Inactivity timeout")
    assert parsed == LogLine(1_795_218_000_000_001_000, "[server] Inactivity timeout")


@pytest.mark.parametrize("line", ["", "Options error: no", "12:00 text", "1795218000.1 1 x"])
def test_what_is_no_log_line_is_left_out(line: str) -> None:
    assert parse_line(line) is None


def test_a_lost_server_is_seen_from_every_side() -> None:
    seen = noticed(lines(LOST))
    assert (seen.hard_resets, seen.restarts, seen.inactive, seen.reconnects) == (1, 1, 1, 1)
    assert seen.renegotiations == 0
    assert not seen.nothing


def test_a_renegotiation_is_counted_apart_and_is_nothing_to_notice() -> None:
    seen = noticed(lines(RENEWED))
    assert seen.renegotiations == 1
    assert seen.nothing


def test_only_the_time_asked_for_counts() -> None:
    both = lines(LOST + RENEWED)
    assert noticed(both, since=both[-1].time - 1_000_000_000).nothing
    assert noticed(both, since=0, until=both[0].time).nothing
    assert noticed(both, since=0, until=both[0].time + 1).inactive == 1
