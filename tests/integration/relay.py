"""What a sidecar and its OpenVPN say to each other, written down on the way, and the keys in it.

A ``Relay`` stands between the two on the management socket. So a test knows every record that was
exported or imported in a run, with its keys, and every report of received packet ids.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import Lab

SOCKET, RELAYED = "openvpn.sock", "relay.sock"
POLL = 0.2
HEAD = 4
WRAP = 2
KEY, WRAP_IDS, CLIENT_KEY, DYNAMIC_KEY = 0x8016, 0x8013, 0x8201, 0x8202
KEY_HEAD = struct.Struct("!BBBB8s8sIIIQQIIBB")
MARK = struct.Struct("!8s8sI")
WRAP_PART = 32
SLOT_KEPT = 3


@dataclass(frozen=True)
class DataKey:
    """A data channel key as a record carries it."""

    fingerprint: bytes
    slot: int
    key_id: int
    dies_in: int  # seconds that it had left when the record was written
    received: int  # the highest packet id that was received when the record was written
    parts: tuple[bytes, ...]  # cipher and HMAC key of both directions


def _fields(part: bytes) -> Iterator[tuple[int, bytes]]:
    at = HEAD
    while at < len(part):
        tag, length = struct.unpack_from("!HH", part, at)
        yield tag, part[at + 4 : at + 4 + length]
        at += 4 + length


def _data_key(field: bytes) -> DataKey:
    head = KEY_HEAD.unpack_from(field)
    cipher, hmac = head[-2:]
    parts = []
    at = KEY_HEAD.size
    for length in (cipher, hmac, cipher, hmac):
        parts.append(field[at : at + length])
        at += length
    return DataKey(
        head[5], head[0], head[2], head[7], head[11], tuple(part for part in parts if part)
    )


def _records(stream: bytes) -> Iterator[dict[int, bytes]]:
    """The parts of each whole record in one direction of a connection."""
    texts: dict[int, bytes] = {}
    for line in stream.splitlines():
        word, _, rest = line.partition(b",")
        if word == b"HOT":
            texts[0] = texts.get(0, b"") + rest
        elif word == b"COLD":
            kind, _, text = rest.partition(b",")
            texts[int(kind)] = texts.get(int(kind), b"") + text
        elif word == b"END" and texts:
            yield {kind: base64.b64decode(text) for kind, text in texts.items()}
            texts = {}


def _grants(stream: bytes) -> Iterator[set[bytes]]:
    """The fingerprints of the keys that packet ids are granted of, for each of these records."""
    record, granted = False, set[bytes]()
    for line in stream.splitlines():
        word, _, rest = line.partition(b",")
        record |= word == b"HOT"
        if word == b"GRANT":
            granted.add(bytes.fromhex(rest.split(b",")[1].decode()))
        elif word == b"END":
            if record:
                yield granted
            record, granted = False, set()


def _marks(lines: Iterable[bytes], prefix: bytes) -> list[tuple[bytes, int]]:
    """Fingerprint and packet id of each mark in those of the lines that begin so."""
    texts = (line.removeprefix(prefix) for line in lines if line.startswith(prefix))
    marks = (mark for text in texts for mark in MARK.iter_unpack(base64.b64decode(text)))
    return [(fingerprint, packet_id) for _, fingerprint, packet_id in marks]


class Relay:
    """Stands before the OpenVPN of one node. Make it before the sidecar is started."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._streams: list[bytearray] = []
        self._ended = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / RELAYED))
        self._listener.listen()
        self._listener.settimeout(POLL)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End it and whatever connection it has."""
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def data_keys(self) -> list[DataKey]:
        """Every data channel key of every record, as often as it came by."""
        fields = (field for part in self._parts(0) for field in _fields(part))
        return [_data_key(data) for tag, data in fields if tag == KEY]

    def granted(self) -> list[tuple[list[DataKey], set[bytes]]]:
        """The keys of each record, and the fingerprints of those that have packet ids there."""
        return [
            ([_data_key(data) for tag, data in _fields(record[0]) if tag == KEY], fingerprints)
            for stream in self._streams
            for record, fingerprints in zip(
                _records(bytes(stream)), _grants(bytes(stream)), strict=False
            )
        ]

    def wrap_keys(self) -> set[bytes]:
        """Every control channel key of every record: cipher and HMAC keys."""
        fields = (field for part in self._parts(WRAP) for field in _fields(part))
        wraps = [data for tag, data in fields if tag in (CLIENT_KEY, DYNAMIC_KEY)]
        return {
            data[at : at + WRAP_PART] for data in wraps for at in range(0, len(data), WRAP_PART)
        }

    def control_marks(self) -> list[int]:
        """The highest packet id that was received in the control channel, in each record."""
        fields = (field for part in self._parts(0) for field in _fields(part))
        return [struct.unpack("!IIII", data)[3] for tag, data in fields if tag == WRAP_IDS]

    def reports(self, prefix: bytes) -> list[tuple[bytes, int]]:
        """Fingerprint and packet id of each mark in the lines that begin so."""
        return _marks(self._lines(prefix), prefix)

    def reports_before(self, command: bytes, prefix: bytes) -> list[tuple[bytes, int]]:
        """Likewise, of what stood before the first time that this command was given."""
        before = next(
            stream.partition(command)[0]
            for stream in map(bytes, self._streams)
            if command in stream
        )
        return _marks(before.splitlines(keepends=True), prefix)

    def lines(self, prefix: bytes) -> int:
        """How many lines begin so."""
        return len(self._lines(prefix))

    def _lines(self, prefix: bytes) -> list[bytes]:
        return [
            line
            for stream in self._streams
            for line in bytes(stream).splitlines(keepends=True)
            if line.startswith(prefix) and line.endswith(b"\n")
        ]

    def _parts(self, kind: int) -> Iterator[bytes]:
        for stream in self._streams:
            yield from (record[kind] for record in _records(bytes(stream)) if kind in record)

    def _serve(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                self._pass_on(self._listener.accept()[0])

    def _pass_on(self, sidecar: socket.socket) -> None:
        """Copy both ways until one of them has gone."""
        with sidecar, socket.socket(socket.AF_UNIX) as openvpn:
            try:
                openvpn.connect(str(self._home / SOCKET))
            except OSError:
                return
            streams = {sidecar: bytearray(), openvpn: bytearray()}
            self._streams += streams.values()
            with contextlib.suppress(OSError):
                while not self._ended.is_set():
                    for one in select.select([sidecar, openvpn], [], [], POLL)[0]:
                        if not (data := one.recv(1 << 16)):
                            return
                        streams[one] += data
                        other = openvpn if one is sidecar else sidecar
                        with contextlib.suppress(BrokenPipeError):  # what it said is still read
                            other.sendall(data)


@contextlib.contextmanager
def relayed(lab: Lab) -> Iterator[dict[str, Relay]]:
    """A relay for each node of a lab that is not started yet."""
    file = lab.directory / "ovpnha.toml"
    text = file.read_text()
    relays: dict[str, Relay] = {}
    try:
        for name, node in lab.nodes.items():
            path = str(node.directory / SOCKET)
            assert path in text
            text = text.replace(path, str(node.directory / RELAYED))
            relays[name] = Relay(node.directory)
        file.write_text(text)
        yield relays
    finally:
        for relay in relays.values():
            relay.close()
