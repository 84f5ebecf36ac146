"""Watches links and addresses by netlink: events, never polling; a full dump after a loss.

Decides when the table is complete. The kernel makes one dump of a socket at a time and refuses
another (EBUSY): one that is wanted meanwhile follows the one under way. A refusal says nothing of
links and addresses: the old table stays in use, and everything is asked for again later. The socket
is our own, not pyroute2's, for two reasons: a lost event (ENOBUFS) must be seen at once, and the
event that promotes this node must reach the core in the same call that read it, without a task
switch. pyroute2 decodes the messages.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping

import structlog
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from ovpnha.errors import OvpnhaError
from ovpnha.runtime.network import NetworkTable

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100
RTM_GETLINK = 18
RTM_GETADDR = 22
NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 1024 * 1024
READ_SIZE = 128 * 1024
READS_PER_WAKEUP = 16
DUMP_TIMEOUT = 5.0
DUMP_AGAIN = 1.0
"""Seconds from a dump that has not ended by then, or was refused, to the next."""

log = structlog.get_logger()


class NetlinkReader:
    """One rtnetlink socket and the table it fills. ``complete`` says when the table may be used."""

    def __init__(self) -> None:
        self.table = NetworkTable()
        self.complete = False
        self._fresh: NetworkTable | None = None
        self._begun = False  # the dump under way has said something
        self.dumping = False  # everything has been asked for, and is not there yet
        self._dumps: list[int] = []
        self.sequence = 0  # of the newest request
        self._interrupted = False
        self._marshal = MarshalRtnl()
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._enlarge_buffer()
        self._socket.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        self._port: int = self._socket.getsockname()[0]
        self.dump()

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self) -> None:
        """Ask for everything again, as soon as the dump under way has ended."""
        if self.dumping:
            self._interrupted = True
        else:
            self.dump_anew()

    def dump_anew(self) -> None:
        """Ask for everything again; until it is there the old table stays in use.

        What is read before the first answer is older than the dump: of an address that left since,
        the event may be among those that were lost.
        """
        self.dumping = True
        self._fresh = NetworkTable()
        self._begun = False
        self._interrupted = False
        self._dumps = [RTM_GETADDR, RTM_GETLINK]
        self._ask_next()

    def read(self) -> bool:
        """Take what has arrived; returns whether the table may have changed."""
        changed = False
        for _ in range(READS_PER_WAKEUP):
            try:
                data, (sender, _groups) = self._socket.recvfrom(READ_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                log.warning("netlink events lost")
                self.dump()
                continue
            if sender == 0:
                changed |= self._take(data)
        return changed and self.complete

    def _take(self, data: bytes) -> bool:
        changed = False
        for message in self._marshal.parse(data):
            header = message["header"]
            self._interrupted |= bool(header["flags"] & NLM_F_DUMP_INTR)
            if message["event"] in {"NLMSG_DONE", "NLMSG_ERROR"}:
                if header["sequence_number"] == self.sequence:
                    changed |= self._dump_done(header["error"])
                continue
            changed = True
            self._begun |= self._is_answer(header)
            if self._fresh is not None and self._begun:
                self._fresh.apply(message)
            self.table.apply(message)
        return changed

    def _is_answer(self, header: Mapping[str, int]) -> bool:
        """Whether this belongs to our dump; an event names another request."""
        ours = header["pid"] == self._port and header["sequence_number"] == self.sequence
        return ours and bool(header["flags"] & NLM_F_MULTI)

    def _dump_done(self, error: Exception | None) -> bool:
        """One of the two dumps has ended or was refused; whether that completed the table."""
        if error is not None:
            log.warning("netlink dump refused", reason=str(error))
            return False
        if self._dumps:
            self._ask_next()
            return False
        if self._interrupted:
            self.dump_anew()
            return False
        self.dumping = False
        if self._fresh is not None:
            self.table, self._fresh = self._fresh, None
        self.complete = True
        return True

    def _ask_next(self) -> None:
        self.sequence += 1
        kind = self._dumps.pop()
        header = struct.pack("=LHHLL", 32, kind, NLM_F_REQUEST | NLM_F_DUMP, self.sequence, 0)
        self._socket.send(header + bytes(16))

    def _enlarge_buffer(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


class NetworkWatcher:
    """Calls ``changed`` with the whole table, from the event loop, whenever it may have changed."""

    def __init__(self, changed: Callable[[NetworkTable], None]) -> None:
        self._changed = changed
        self._reader: NetlinkReader | None = None
        self._again: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch; the first call of ``changed`` comes with the first complete table."""
        self._reader = NetlinkReader()
        loop.add_reader(self._reader, self._readable, self._reader)
        self._look_after(self._reader)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop watching."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._reader is not None:
            loop.remove_reader(self._reader)
            self._reader.close()
            self._reader = None

    def _readable(self, reader: NetlinkReader) -> None:
        changed = reader.read()
        self._look_after(reader)
        if changed:
            self._changed(reader.table)

    def _look_after(self, reader: NetlinkReader) -> None:
        """A dump that was refused, or whose end was lost, is asked for again."""
        if self._again is None and reader.dumping:
            loop = asyncio.get_running_loop()
            asked = reader.sequence
            self._again = loop.call_later(DUMP_AGAIN, self._ask_again, reader, asked)

    def _ask_again(self, reader: NetlinkReader, asked: int) -> None:
        self._again = None
        if reader.dumping and reader.sequence == asked:
            reader.dump_anew()
        self._look_after(reader)


def read_network() -> NetworkTable:
    """The table of this moment, for commands that run once."""
    reader = NetlinkReader()
    deadline = time.monotonic() + DUMP_TIMEOUT
    try:
        while not reader.complete:
            if not select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise OvpnhaError("the kernel does not answer on netlink; are we in a sandbox?")
            reader.read()
        return reader.table
    finally:
        reader.close()
