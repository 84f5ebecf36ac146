from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime import descriptors
from ovpnha.runtime.descriptors import DescriptorPair
from ovpnha.runtime.descriptorstream import DescriptorStream

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


class Ends:
    """A stream, the socket at its other end, and what the stream has told."""

    def __init__(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        ours, self.other = sockets
        ours.setblocking(False)
        self.ours = ours
        self.data = b""
        self.pairs: list[DescriptorPair] = []
        self.lost: list[OSError | None] = []
        self.stream = DescriptorStream(ours, received=self._take, lost=self.lost.append)

    def _take(self, data: bytes, beside: DescriptorPair | None) -> None:
        self.data += data
        if beside is not None:
            self.pairs.append(beside)

    def close(self) -> None:
        self.stream.abort()
        self.other.close()
        for pair in self.pairs:
            pair.close()


@pytest.fixture
async def ends() -> Any:
    made = Ends(socket.socketpair(socket.AF_UNIX))
    yield made
    made.close()
    await asyncio.sleep(0)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DescriptorPair]:
    """Two open files that can be told apart."""
    for name in ("link", "tun"):
        (tmp_path / name).write_text(name)
    made = DescriptorPair(*(os.open(tmp_path / name, os.O_RDONLY) for name in ("link", "tun")))
    yield made
    made.close()


def is_open(number: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(number)
        return True
    return False


async def test_a_pair_arrives_with_its_bytes_in_order(
    ends: Ends, files: DescriptorPair, until: Until
) -> None:
    ends.other.send(b"before ")
    socket.send_fds(ends.other, [b"with"], files.numbers())
    await until(lambda: ends.data == b"before with")
    (pair,) = ends.pairs
    assert [os.read(number, 10) for number in pair.numbers()] == [b"link", b"tun"]
    assert not os.get_inheritable(pair.link)


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_what_is_no_pair_is_closed(
    ends: Ends, files: DescriptorPair, until: Until, count: int
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(ends.other, [b"junk"], [files.link] * count)
    await until(lambda: ends.data == b"junk")
    assert not ends.pairs
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_pair_leaves_with_its_first_byte_and_is_closed_here(
    ends: Ends, files: DescriptorPair
) -> None:
    numbers = files.numbers()
    ends.stream.write(b"a")
    ends.stream.write(b"take\n", files)
    assert not any(map(is_open, numbers))
    assert files.numbers() == (-1, -1)
    assert ends.other.recv(1) == b"a"
    data, pair = descriptors.receive(ends.other, 100)
    assert data == b"take\n"
    assert pair is not None
    assert [os.read(number, 10) for number in pair.numbers()] == [b"link", b"tun"]
    pair.close()


async def test_a_pair_waits_behind_what_was_written_before(
    ends: Ends, files: DescriptorPair
) -> None:
    numbers, much = files.numbers(), bytes(3_000_000)
    ends.stream.write(much)
    ends.stream.write(b"take\n", files)
    ends.stream.write(b"more\n")
    assert all(map(is_open, numbers))
    assert 0 < ends.stream.buffered <= len(much) + 10
    seen, pair = b"", None
    ends.other.setblocking(False)
    while len(seen) < len(much) + 10:
        with contextlib.suppress(BlockingIOError):
            data, found = descriptors.receive(ends.other, 1 << 20)
            pair, seen = found or pair, seen + data
            assert pair is None or len(seen) > len(much)
        await asyncio.sleep(0)
    assert seen == much + b"take\nmore\n"
    assert pair is not None
    assert os.read(pair.tun, 10) == b"tun"
    pair.close()
    assert ends.stream.buffered == 0
    assert not any(map(is_open, numbers))


@pytest.mark.parametrize("how", ["aborted", "refused", "late", "no bytes"])
async def test_a_pair_that_does_not_leave_is_closed(
    ends: Ends, files: DescriptorPair, until: Until, how: str
) -> None:
    numbers = files.numbers()
    if how == "aborted":
        ends.stream.write(bytes(3_000_000))
        ends.stream.write(b"take\n", files)
        ends.stream.abort()
    elif how == "refused":
        ends.other.close()
        ends.stream.write(b"take\n", files)
    elif how == "late":
        ends.stream.abort()
        ends.stream.write(b"take\n", files)
    else:
        ends.stream.write(b"", files)
    assert not any(map(is_open, numbers))
    if how != "no bytes":
        await until(lambda: ends.lost)
        assert len(ends.lost) == 1
        assert isinstance(ends.lost[0], BrokenPipeError) is (how == "refused")
        assert ends.ours.fileno() == -1


async def test_an_end_is_told_once(ends: Ends, until: Until) -> None:
    ends.other.send(b"last")
    ends.other.close()
    await until(lambda: ends.lost)
    ends.stream.abort()
    await asyncio.sleep(0)
    assert (ends.data, ends.lost) == (b"last", [None])


async def test_an_error_of_the_socket_is_told(until: Until) -> None:
    """What a peer leaves unread when it closes comes back as a reset."""
    ends = Ends(socket.socketpair(socket.AF_UNIX))
    ends.stream.write(b"never read")
    ends.other.close()
    await until(lambda: ends.lost)
    assert isinstance(ends.lost[0], ConnectionResetError)


async def test_what_was_said_before_a_write_failed_is_read(ends: Ends, until: Until) -> None:
    """The last words of an OpenVPN that ends while it is asked something."""
    words = b"last words\n" * 100_000
    ends.other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    ends.other.setblocking(False)
    sent = ends.other.send(words)
    ends.other.close()
    ends.stream.write(b"a question\n")
    ends.stream.write(b"another\n")
    assert ends.stream.buffered == 0
    await until(lambda: ends.lost)
    assert ends.data == words[:sent]
    (error,) = ends.lost
    assert isinstance(error, BrokenPipeError)


async def test_a_pair_for_somebody_who_has_gone_is_closed(
    ends: Ends, files: DescriptorPair, until: Until
) -> None:
    numbers = files.numbers()
    ends.other.close()
    ends.stream.write(b"a question\n")
    ends.stream.write(b"take\n", files)
    await until(lambda: ends.lost)
    assert not any(map(is_open, numbers))


async def test_whoever_only_does_not_read_is_not_read_for_ever(
    ends: Ends, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.descriptorstream.READ_SIZE", 1)
    monkeypatch.setattr("ovpnha.runtime.descriptorstream.LAST_READS", 3)
    ends.other.send(b"four")
    ends.other.shutdown(socket.SHUT_RD)
    ends.stream.write(b"a question\n")
    await until(lambda: ends.lost)
    assert ends.data == b"fou"


async def test_who_closes_while_last_words_are_read_is_obeyed(ends: Ends, until: Until) -> None:
    ends.other.send(b"last words")
    ends.other.close()
    ends.stream.write(b"a question\n")
    ends.stream.abort()
    await until(lambda: ends.lost)
    assert ends.lost == [None]
    assert ends.data == b""
