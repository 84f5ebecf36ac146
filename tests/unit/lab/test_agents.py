"""The programs inside the namespaces: their pure parts, and a stream over a real socket."""

from __future__ import annotations

import json
import os
import socket
import threading
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.agents.prober import Prober, checksum
from tests.lab.agents.tcpstream import Stream, pattern


def test_the_checksum_is_the_internet_checksum() -> None:
    # The worked example of RFC 1071, section 3.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


@given(st.binary(min_size=2, max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2)) == 0


AGENT = "tests.lab.agents.prober"


class Crowd:
    """A raw socket that gets another stream's packets, without end."""

    def __init__(self) -> None:
        self.received = 0

    def setblocking(self, _flag: object) -> None:
        return

    def recv(self, _size: int) -> bytes:
        self.received += 1
        assert self.received < 10_000, "it never ends"
        return bytes(84)


def test_a_prober_ends_though_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, clock = Crowd(), count(step=0.01)
    monkeypatch.setattr(f"{AGENT}.socket.socket", lambda *_: crowd)
    monkeypatch.setattr(f"{AGENT}.select.select", lambda *_: ([crowd], [], []))
    monkeypatch.setattr(f"{AGENT}.time.monotonic", lambda: next(clock))
    stream = Prober("10.0.0.1", 10_000_000, -1)
    stream.stop()
    stream.run()
    assert crowd.received > 0


@given(st.integers(0, 5000), st.integers(0, 300), st.integers(0, 300))
def test_the_pattern_is_one_stream_however_it_is_cut(start: int, first: int, second: int) -> None:
    whole = pattern(1 << 56, start, first + second)
    assert len(whole) == first + second
    assert whole == pattern(1 << 56, start, first) + pattern(1 << 56, start + first, second)


def test_the_directions_differ() -> None:
    assert pattern(1 << 56, 0, 8) != pattern(2 << 56, 0, 8)


def last_event(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text().splitlines()[-1]))


def open_events(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def test_two_ends_finish_with_every_byte(tmp_path: Path) -> None:
    ends = dict(zip(("listen", "connect"), socket.socketpair(), strict=True))
    streams = []
    for role, end in ends.items():
        end.setblocking(False)
        streams.append(Stream(end, role, 100_000, open_events(tmp_path / role)))
    threads = [threading.Thread(target=stream.run) for stream in streams]
    for thread in threads:
        thread.start()
    for stream in streams:
        stream.finish()
    for thread in threads:
        thread.join(20)
    for end in ends.values():
        end.close()
    listen, connect = (last_event(tmp_path / role) for role in ends)
    assert listen["error"] == connect["error"] == ""
    assert (listen["sent"], connect["sent"]) == (connect["received"], listen["received"])


@pytest.mark.parametrize("data", [b"not the pattern", pattern(0x63 << 56, 1, 20)])
def test_a_wrong_byte_is_found_at_its_offset(tmp_path: Path, data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(pattern(0x63 << 56, 0, 16))
        stream = Stream(ours, "listen", 0, open_events(tmp_path / "events"))
        thread = threading.Thread(target=stream.run)
        thread.start()
        theirs.send(data)
        thread.join(20)
    assert "wrong bytes at offset" in str(last_event(tmp_path / "events")["error"])
