"""A dump that the kernel refuses says nothing: the table in use stays as it is."""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from collections.abc import Iterator

import pytest

from ovpnha.runtime import netlink
from ovpnha.runtime.netlink import NetlinkReader, NetworkWatcher
from ovpnha.runtime.network import NetworkTable

LIMIT = 5.0


@pytest.fixture
def reader() -> Iterator[NetlinkReader]:
    with contextlib.closing(NetlinkReader()) as made:
        yield made


def read_whole(reader: NetlinkReader) -> None:
    until = time.monotonic() + LIMIT
    while not reader.complete or reader.dumping:
        assert time.monotonic() < until
        select.select([reader], [], [], 0.1)
        reader.read()


def test_events_are_lost_while_everything_is_asked_for(reader: NetlinkReader) -> None:
    """The kernel refuses a second dump beside the one under way."""
    reader.dump()
    until = time.monotonic() + LIMIT
    while not reader.complete:
        assert time.monotonic() < until
        select.select([reader], [], [], 0.1)
        reader.read()
    assert reader.table.link("lo") is not None


def test_they_are_lost_again_and_again(reader: NetlinkReader) -> None:
    read_whole(reader)
    asked = reader.sequence
    for _ in range(4):
        reader.dump()
    assert reader.sequence == asked + 1
    read_whole(reader)
    assert reader.sequence == asked + 4  # links and addresses, twice
    assert reader.table.link("lo") is not None


def test_a_refusal_takes_nothing_away(reader: NetlinkReader) -> None:
    read_whole(reader)
    before = reader.table
    reader.dump_anew()
    reader.dump_anew()
    select.select([reader], [], [], LIMIT)
    while select.select([reader], [], [], 0.1)[0]:
        reader.read()
    assert reader.dumping
    assert reader.table is before
    assert reader.table.link("lo") is not None


async def test_what_was_refused_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "DUMP_AGAIN", 0.05)
    told: asyncio.Queue[NetworkTable] = asyncio.Queue()
    watcher, loop = NetworkWatcher(told.put_nowait), asyncio.get_running_loop()
    watcher.start(loop)
    try:
        assert watcher._reader is not None
        watcher._reader.dump_anew()
        async with asyncio.timeout(LIMIT):
            table = await told.get()
        assert table.link("lo") is not None
    finally:
        watcher.stop(loop)
