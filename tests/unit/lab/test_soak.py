"""What a soak draws, counts and judges, without a cluster."""

from __future__ import annotations

import random
import struct
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from tests.lab.agents.pinger import Pinger
from tests.lab.clientlog import CONNECTED, HARD_RESET, RESTART, LogLine
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.soak import __main__ as command
from tests.lab.soak import report
from tests.lab.soak.flock import Caught, Flock, Member
from tests.lab.soak.kinds import KINDS
from tests.lab.soak.run import draw_kinds
from tests.lab.soak.usage import growing, total, trends


def rows(count: int, rss: float = 0.0, descriptors: float = 0.0) -> list[dict[str, Any]]:
    """So many rows of a program that grows by so much in each."""
    return [
        {
            "kind": "node-cut" if at else "",
            "outage_ms": 100 * at,
            "restarts": 0,
            "lost_sessions": int(at > 2),
            "programs": {
                "sidecar a": {"rss_mb": 70 + at * rss, "descriptors": 11 + at * descriptors}
            },
        }
        for at in range(count)
    ]


def test_a_seed_draws_the_same_failovers_again_and_every_kind_equally_often() -> None:
    drawn = [draw_kinds(KINDS, 200, random.Random(seed)) for seed in (1, 1, 2)]  # noqa: S311
    assert drawn[0] == drawn[1] != drawn[2]
    counts = [drawn[0].count(kind) for kind in KINDS]
    assert sum(counts) == 200
    assert max(counts) - min(counts) <= 1
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_kinds_are_chosen_by_words() -> None:
    assert [one.name for one in command.choose_kinds(["switch"])] == ["switchover"]
    assert command.choose_kinds([]) == KINDS
    with pytest.raises(LabError, match="no kind has such a name"):
        command.choose_kinds(["earthquake"])


def test_what_is_flat_and_what_grows() -> None:
    assert growing(rows(40)) == []
    assert growing(rows(40, rss=0.1)) == []
    (memory,) = growing(rows(200, rss=0.5))
    assert memory.startswith("rss_mb of sidecar a grew from ")
    (descriptors,) = growing(rows(40, descriptors=1))
    assert descriptors == "descriptors of sidecar a grew from 25.5 to 45.5"
    assert growing(rows(8, rss=50)) == [], "few rows say nothing"


def test_the_early_rows_are_not_the_warmest_ones() -> None:
    assert trends(rows(8, rss=1), "rss_mb") == {"sidecar a": (72.5, 76.5, 77.0)}
    assert trends(rows(1), "rss_mb") == {"sidecar a": (70, 70, 70)}
    assert total({"a": {"rss_mb": 1.5}, "b": {"rss_mb": 2.0}}, "rss_mb") == 3.5


def member(*texts: str) -> Member:
    """A client whose log says this, a second after the other."""
    lines = [LogLine(at * 10**9, text) for at, text in enumerate(texts)]

    class Logged:
        def log(self) -> list[LogLine]:
            return lines

    return Member(cast("Client", Logged()), "tun1")


def test_a_restart_counts_from_the_beginning_of_the_session_on() -> None:
    assert member(HARD_RESET).restarts() == 0
    assert member(HARD_RESET, RESTART, HARD_RESET, CONNECTED).restarts() == 0
    assert member(HARD_RESET, CONNECTED, RESTART, HARD_RESET, CONNECTED).restarts() == 1


def test_whose_master_died_in_a_handshake_is_counted_apart(tmp_path: Path) -> None:
    log = tmp_path / "openvpn-a.log"
    log.write_text(
        "1795780362.028738 26000003 soak58/10.99.1.100:57048 CLUSTER: a handshake that cannot be"
        " finished here: telling the client to reconnect\n"
        "1795780363.028738 14000003 soak2/10.99.1.100:57049 CLUSTER: data\n"
    )
    node = SimpleNamespace(openvpn=SimpleNamespace(log=log))
    caught = Caught(cast("Lab", SimpleNamespace(nodes={"a": node})))
    assert caught.names() == {"soak58": 1}
    assert caught.explains({"soak58": 2, "soak3": 1}) == 1
    assert caught.explains({"soak3": 1}) == 0


def test_who_gave_up_a_handshake_in_which_a_master_was_struck_is_one_of_them() -> None:
    second = 10**9
    texts = [""] * 40
    texts[20] = "TLS Error: TLS key negotiation failed to occur within 15 seconds (check your net"
    one = member(*texts)
    assert one.gave_up([]) == 0
    assert one.gave_up([3 * second, 6 * second, 6 * second + 1, 30 * second]) == 1
    assert one.gave_up([4 * second, 8 * second]) == 0, "before it began, and when it was over"
    caught = Caught(cast("Lab", SimpleNamespace(nodes={})))
    caught.gave_up = {"soak1": 1, "soak2": 0}
    assert caught.explains({"soak1": 2, "soak2": 1}) == 1


def test_who_has_no_answer_is_named(tmp_path: Path) -> None:
    class Nowhere:
        directory = tmp_path
        topology = type("Topology", (), {"namespace": staticmethod(lambda name: name)})

    flock = Flock(cast("Lab", Nowhere()), 2, random.Random(1))  # noqa: S311
    (tmp_path / "pinger.events").write_text(
        '{"time": 9, "heard": {"tun1": 7, "tun2": 0}}\n'
        '{"time": 900000000, "gap": "tun1", "start": 100000000}\n'
    )

    class Named(Member):
        name = "soak1"

    one, two = (Named(cast("Client", None), tunnel) for tunnel in ("tun1", "tun2"))
    assert flock.unheard([one], 5, 0.0) == []
    assert flock.unheard([two], 5, 0.0) == ["soak1"]
    assert flock.unheard([one], 7, 0.0) == ["soak1"]
    assert flock.pings.longest_ms(["tun1"], 0) == 600.0
    assert flock.pings.longest_ms(["tun1"], 0) == 0.0, "each gap counts once"


def test_the_tables() -> None:
    out = StringIO()
    console = Console(file=out, width=report.WIDTH)
    console.print(report.kinds_table(rows(4)))
    console.print(report.usage_table(rows(4)))
    text = out.getvalue()
    assert "200 (100…300)" in text
    assert "sidecar a" in text


def test_an_echo_request_has_the_right_checksum() -> None:
    request = Pinger("10.8.0.1", 1, 1)._request()
    words = sum(struct.unpack("!4H", request))
    assert (words & 0xFFFF) + (words >> 16) == 0xFFFF
