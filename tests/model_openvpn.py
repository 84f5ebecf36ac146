"""A model of the patched OpenVPN: docs/management.md as a pure object, bytes in and bytes out.

It keeps clients, keys and the packet ids of each key by the rules R1 to R6, and answers every
command. It has no clock: what OpenVPN does by itself (a client connects, renegotiates, sends) are
methods. ``receive`` takes what the sidecar writes, ``take_output`` gives what it would read.
"""

from __future__ import annotations

import base64
import random
import struct
from dataclasses import dataclass, field

from ovpnha.management.codes import VERSION, Code
from ovpnha.model import Descriptors, Role, Silence

LAST_ID = 0xFF000000
ROUND = 1 << 24
RANGES_HELD = 64
INPUT_LIMIT = 4096
OF_SPARES = frozenset({"descriptors", "take", "silence", "retire", "quiesce"})
PENDING = 0x80
"""In a hot part, with the number of keys: the newest is pending."""


STATUS_HEADER = (
    "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tBytes Received\tBytes Sent"
    "\tConnected Since (time_t)\tUsername\tVirtual IPv6 Address\tClient ID"
)


@dataclass
class Range:
    """Packet ids ``[start, end)`` given to a holder."""

    start: int
    end: int
    stored: bool = False


@dataclass
class ModelKey:
    """One data channel key, and the ids of it that this process owns."""

    fingerprint: bytes
    round: int = ROUND
    next_id: int = 1
    limit: int = LAST_ID
    rest: tuple[int, int] = (LAST_ID, LAST_ID)
    following: tuple[int, int] | None = None  # the next segment, once a round was wanted
    exported: bool = False
    asked: bool = False
    wanted: bool = False
    grants: dict[bytes, list[Range]] = field(default_factory=dict)
    imported: list[tuple[int, int]] = field(default_factory=list)
    pending: bool = False  # the client may not have it yet

    def grant(self, holders: list[bytes]) -> None:
        """Allot what an export for these holders needs (R1, R2): the low end of the rest."""
        if not self.exported:
            self.exported = True
            self.limit, self.rest = self._split()
        if self.wanted and self.following is None:
            self.wanted = False
            self.following = self._cut()
            for holder in holders:
                self.grants.pop(holder, None)
        for holder in holders:
            if holder not in self.grants and (piece := self._cut()) is not None:
                self.grants[holder] = [Range(*piece)]

    def _split(self) -> tuple[int, tuple[int, int]]:
        cut = min(self.next_id + self.round, LAST_ID)
        return cut, (cut, LAST_ID)

    def _cut(self) -> tuple[int, int] | None:
        start, end = self.rest
        if end - start < 2:
            return None
        cut = start + min(self.round, (end - start) // 2)  # what is left must serve others, too
        self.rest = (cut, end)
        return start, cut

    def send(self) -> tuple[int | None, list[bytes], bool]:
        """One packet: its id, the holders left behind, whether a new round is wanted now."""
        stale: list[bytes] = []
        if self.next_id >= self.limit:
            segment, self.following = self.following or self._cut(), None
            if segment is None:
                return None, [], False
            self.next_id, self.limit = segment
            self.asked = False
            stale = [
                holder
                for holder, ranges in self.grants.items()
                if not any(one.stored and one.start > segment[0] for one in ranges)
            ]
        number, self.next_id = self.next_id, self.next_id + 1
        half = self.limit - self.next_id <= self.round // 2
        wants = self.exported and half and not self.asked
        if wants:
            self.asked = self.wanted = True
        return number, stale, wants

    def overtake(self) -> None:
        """Another process was promoted meanwhile: go on above every range granted."""
        if self.exported and (segment := self._cut()) is not None:
            self.next_id, self.limit = segment
            self.following, self.asked, self.wanted = None, False, False
            self.grants.clear()

    def room(self) -> int:
        """Ids that are left here."""
        return max(self.limit - self.next_id, 0)

    def take_over(self) -> None:
        """Promotion: start in the highest range; keep its low end, grant from the rest."""
        if self.imported:
            start, end = max(self.imported)
            limit = start + (end - start) // 8
            self.next_id, self.limit, self.rest = start, limit, (limit, end)
        else:
            self.next_id = self.limit = LAST_ID
        self.exported = True


@dataclass
class ModelClient:
    """One multi_instance."""

    uid: bytes
    generation: int
    cid: int
    keys: list[ModelKey]
    name: bytes
    peer_info: bytes = b"IV_VER=2.6.14"
    high_water: int = 0
    told: int = 0  # of the high-water mark
    mark: int = 0  # nothing at or below it is accepted: another server has received it
    received: set[int] = field(default_factory=set)
    moved: bool = False
    attended: bool = False
    virtual: str = ""  # its address in the tunnel, where that is told
    wait: int = 0

    def room(self) -> int:
        """Packet ids that its newest key has left here."""
        return self.keys[0].room()

    def sending(self) -> ModelKey:
        """The key that it is sent to with: a pending one only where there is no other."""
        return next((key for key in self.keys if not key.pending), self.keys[0])

    def hot(self) -> bytes:
        """The hot part: format, whether the newest key is pending, a fingerprint for each key."""
        keys = b"".join(key.fingerprint for key in self.keys)
        count = len(self.keys) | (PENDING if self.keys[0].pending else 0)
        return b"HOT1" + struct.pack("!QB", self.generation, count) + keys

    def cold(self) -> dict[int, bytes]:
        """The cold parts."""
        return {1: self.name, 3: self.peer_info}


@dataclass(frozen=True)
class Told:
    """What an OpenVPN says of itself when it is asked for its status."""

    version: int = VERSION
    record_format: int = 1
    digest: str = "d1"
    certificate: str = "c1"
    issuer: str = "i1"
    max_clients: int = 1024
    addresses: tuple[str, ...] = ()


TOLD = Told()


class ModelOpenvpn:
    """One OpenVPN process, from start to death."""

    def __init__(
        self,
        rng: random.Random,
        *,
        patched: bool = True,
        held_start: bool = False,
        round_size: int = ROUND,
        cookies: bool = True,
        spares: bool = True,
        taken: bool = False,
        told: Told = TOLD,
    ) -> None:
        self.rng = rng
        self.patched = patched
        self.waiting = held_start
        self.round_size = round_size
        self.told = told
        self.lapses = 0
        self.starts = 1  # times that it has read its files
        self.collects = {"cluster-import", "cluster-update"}
        self.collects |= {"cluster-cookie"} if cookies else set()
        self.spares = spares  # it knows of them
        self.descriptors = None if taken else Descriptors.OWN  # None: it waits for them
        self.silence = Silence.LEAVE if taken else Silence.DRAIN
        self.handshakes_told = 0  # inside a handshake, as the status tells
        self.guests = False  # handshakes begin all the time, as long as any may
        self.quiesced = 0  # seconds for which none may, as told last
        self.retired = False
        self.local = "192.0.2.10"
        self.early = False  # the kernel lets it send from an IPv6 address that is not here
        self.role = Role.STANDBY
        self.holder = rng.randbytes(16)
        self.epoch = "-"
        self.clients: dict[bytes, ModelClient] = {}
        self.commands: list[str] = []
        self.refuse: dict[str, str] = {}  # command name: code and text, to be refused once
        self.refuse_for_good: dict[str, str] = {}
        self.updates: list[bytes] = []
        self.sent: list[tuple[bytes, int]] = []  # every packet id ever sent, by fingerprint
        self.capped = 0
        self.holds_new = False
        self.held_back: set[bytes] = set()  # new clients that wait for their release
        self.messages_held: set[bytes] = set()  # clients whose new key is pending
        self._cid = 0
        self._connected = False
        self._input = b""
        self._extra: tuple[list[str], list[str]] | None = None
        self._output: list[str] = []

    # The socket.

    @property
    def connected(self) -> bool:
        """Whether a sidecar is connected."""
        return self._connected

    def connect(self) -> None:
        """The sidecar connects."""
        self._connected, self._input, self._extra, self._output = True, b"", None, []
        self._say(">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info")
        if self.waiting:
            self._say(">HOLD:Waiting for hold release:0")
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if self.descriptors is None and not self.waiting:  # else it has not looked for its port yet
            self._say(">CLUSTER:WAITING")

    def disconnect(self) -> None:
        """The sidecar is gone; notifications are lost, and nobody waits."""
        self._let_go()
        self._connected, self._output = False, []

    def receive(self, data: bytes) -> None:
        """What the sidecar has written."""
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            assert len(line) < INPUT_LIMIT
            self._take_line(line.decode("ascii"))

    def take_output(self) -> bytes:
        """What the sidecar would read."""
        lines, self._output = self._output, []
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _say(self, line: str) -> None:
        if self._connected:
            self._output.append(line)

    def _take_line(self, line: str) -> None:
        if self._extra is not None and line != "END":
            self._extra[1].append(line)
            return
        if self._extra is not None:
            words, lines = self._extra
            self._extra = None
            self._answer(words, lines)
            return
        words = line.split(" ")
        assert all(len(word) <= 255 for word in words)
        self.commands.append(line)
        if words[0] in self.collects and self.patched:
            self._extra = (words, [])
        else:
            self._answer(words, [])

    def _answer(self, words: list[str], lines: list[str]) -> None:
        name = words[0]
        reason = self.refuse.pop(name, self.refuse_for_good.get(name))
        if reason is not None:
            self._say(f"ERROR: {name}: {reason}")
        elif not name.startswith("cluster-"):
            self._answer_stock(words)
        elif (
            not self.patched
            or (name == "cluster-cookie" and name not in self.collects)
            or (not self.spares and name.removeprefix("cluster-") in OF_SPARES)
        ):
            self._say("ERROR: unknown command, enter 'help' for more options")
        elif self.waiting or (self.descriptors is None) is not (name == "cluster-take"):
            self._fail(words, Code.NOT_READY, "OpenVPN starts or ends")
        else:
            getattr(self, f"_do_{name.removeprefix('cluster-')}")(words, lines)

    def _fail(self, words: list[str], code: Code, text: str) -> None:
        self._say(f"ERROR: {' '.join(words[:2])}: {code.value} {text}")

    def _answer_stock(self, words: list[str]) -> None:
        if words == ["hold", "release"]:
            self.waiting = False
            self._say("SUCCESS: hold release succeeded")
            self._tell_waiting()
        elif words == ["load-stats"]:
            self._say(f"SUCCESS: nclients={len(self.clients)},bytesin=10,bytesout=20")
        elif words == ["status", "3"]:
            self._say(STATUS_HEADER)
            for client in self.clients.values():
                name = client.name.decode()
                port = 5000 + client.cid
                figures = f"192.0.2.1:{port}\t{client.virtual}\t10\t20\t1790000000"
                self._say(f"CLIENT_LIST\t{name}\t{figures}\tUNDEF\t\t{client.cid}")
            self._say("END")
        elif words == ["signal", "SIGUSR1"]:
            self.clients.clear()
            self.starts += 1
            self._say("SUCCESS: signal SIGUSR1 thrown")
        elif words == ["version"]:
            self._say("OpenVPN Version: OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]")
            self._say("Management Version: 5")
            self._say("END")
        else:
            self._say("ERROR: unknown command, enter 'help' for more options")

    # Commands.

    def _do_status(self, _words: list[str], _lines: list[str]) -> None:
        told = self.told
        self._say(
            f"SUCCESS: cluster-status version={told.version},format={told.record_format},"
            f"role={self.role.value},instances={len(self.clients)},holder={self.holder.hex()},"
            f"epoch={self.epoch},openvpn=2.6.14,local={self.local},port=1194,proto=udp4,"
            f"broadcast=192.168.77.255,bcn-port=11940,digest={told.digest},"
            f"cert={told.certificate},issuer={told.issuer},max-clients={told.max_clients},"
            f"capped={self.capped},lapses={self.lapses},unreleased=0{self._tell_of_spares()}"
            f",addresses={' '.join(told.addresses) or '-'},early={int(self.early)}"
        )

    def _tell_of_spares(self) -> str:
        if not self.spares or self.descriptors is None:
            return ""
        told = f",descriptors={self.descriptors.value},silence={self.silence.value},pid=1"
        return f"{told},handshakes={self._count_handshakes()}"

    def _count_handshakes(self) -> int:
        begin = self.role is Role.MASTER and not self.quiesced
        return self.handshakes_told + int(self.guests and begin)

    def _do_quiesce(self, words: list[str], _lines: list[str]) -> None:
        assert self.role is Role.MASTER
        self.quiesced = int(words[1])
        self._say(f"SUCCESS: cluster-quiesce {words[1]}")

    def _do_descriptors(self, _words: list[str], _lines: list[str]) -> None:
        self._say("SUCCESS: cluster-descriptors")

    def _do_take(self, _words: list[str], _lines: list[str]) -> None:
        self.descriptors = Descriptors.TAKEN
        self._say("SUCCESS: cluster-take")
        self._say(f">CLUSTER:STATE,{self.role.value},{self.holder.hex()}")

    def open_port(self) -> None:
        """Nobody else has the port any more: it has waited in vain, and opens its own."""
        self.descriptors, self.silence = Descriptors.OWN, Silence.DRAIN
        self._say(f">CLUSTER:STATE,{self.role.value},{self.holder.hex()}")

    def _do_silence(self, words: list[str], _lines: list[str]) -> None:
        self.silence = Silence(words[1])
        self._say(f"SUCCESS: cluster-silence {words[1]}")

    def _do_retire(self, words: list[str], _lines: list[str]) -> None:
        if self.role is Role.MASTER:
            self._fail(words, Code.WRONG_ROLE, "not possible while master")
            return
        self._say("SUCCESS: cluster-retire")
        self.retired = True

    def _do_list(self, _words: list[str], _lines: list[str]) -> None:
        for client in self.clients.values():
            moved = client.moved and self.role is not Role.STANDBY
            auth = "user" if client.attended else "cert"
            rekey = f",moved,{client.room()},{auth},{client.wait}"
            self._say(
                f"{client.uid.hex()},{client.generation},{client.cid}{rekey if moved else ''}"
            )
        self._say("END")

    def _do_room(self, words: list[str], _lines: list[str]) -> None:
        if self.role is Role.STANDBY:
            self._fail(words, Code.WRONG_ROLE, "not possible while standby")
            return
        rooms = [client.room() for client in self.clients.values()]
        self._say(f"SUCCESS: cluster-room clients={len(rooms)},lowest={min(rooms, default=0)}")

    def _do_export(self, words: list[str], _lines: list[str]) -> None:
        client = self.clients.get(bytes.fromhex(words[1]))
        if self.role is Role.STANDBY:
            self._fail(words, Code.WRONG_ROLE, "not possible while standby")
            return
        if client is None:
            self._fail(words, Code.UNKNOWN_CLIENT, "unknown client")
            return
        holders = [bytes.fromhex(name) for word in words[2:] for name in word.split(",")]
        assert len(words) <= 5
        assert len(holders) <= 15
        self._say(f"RECORD,{client.uid.hex()},{client.generation},{client.cid}")
        self._say_cut("HOT", client.hot())
        for kind, data in client.cold().items():
            self._say_cut(f"COLD,{kind}", data)
        for key in client.keys if holders else []:
            key.grant(holders)
            for holder in holders:
                for one in key.grants.get(holder, []):
                    where = f"{holder.hex()},{key.fingerprint.hex()},{one.start},{one.end}"
                    self._say(f"GRANT,{where}")
        self._say("END")

    def _say_cut(self, prefix: str, data: bytes) -> None:
        text = base64.b64encode(data).decode()
        for at in range(0, len(text), 512):
            self._say(f"{prefix},{text[at : at + 512]}")

    def _do_import(self, words: list[str], lines: list[str]) -> None:
        uid, generation = bytes.fromhex(words[1]), int(words[2])
        hot, cold, grants = read_record(lines)
        problem = self._find_problem(uid, generation, cold[1], grants)
        if problem is not None:
            self._fail(words, problem, "as told by a model")
            return
        client = self.clients.get(uid)
        if client is None:
            client = self.clients[uid] = self._make_client(uid, generation, cold[1])
            client.moved = True
        client.generation, client.peer_info = generation, cold.get(3, b"")
        self._update_keys(client, hot_keys(hot))
        client.keys[0].pending = bool(hot[12] & PENDING) and client.keys[0].pending
        for _, fingerprint, start, end in grants:
            for key in client.keys:
                if key.fingerprint == fingerprint and (start, end) not in key.imported:
                    key.imported.append((start, end))
        ranges = [
            f"{key.fingerprint.hex()}:{max(end for _, end in key.imported)}"
            for key in client.keys
            if key.imported
        ]
        self._say(f"SUCCESS: cluster-import {words[1]} {generation} {','.join(ranges)}".rstrip())

    def _find_problem(
        self, uid: bytes, generation: int, name: bytes, grants: list[tuple[bytes, bytes, int, int]]
    ) -> Code | None:
        client = self.clients.get(uid)
        if self.role is not Role.STANDBY:
            return Code.WRONG_ROLE
        if any(holder != self.holder for holder, _, _, _ in grants):
            return Code.OTHER_HOLDER
        if client is not None and generation < client.generation:
            return Code.STALE
        if client is not None and name != client.name:
            return Code.DROP_FIRST
        if client is None and len(self.clients) >= self.told.max_clients:
            return Code.FULL
        return None

    def _update_keys(self, client: ModelClient, fingerprints: list[bytes]) -> None:
        known = {key.fingerprint: key for key in client.keys}
        client.keys = [
            known.get(one) or ModelKey(one, self.round_size, LAST_ID, LAST_ID, pending=True)
            for one in fingerprints
        ]
        for key in client.keys[1:]:
            key.pending = False

    def _do_update(self, words: list[str], lines: list[str]) -> None:
        applied = unknown = 0
        if self.role is not Role.STANDBY and any(line.startswith("BYTES") for line in lines):
            self._fail(words, Code.WRONG_ROLE, "BYTES is only possible while standby")
            return
        for line in lines:
            word, text = line.split(",")
            payload = base64.b64decode(text)
            self.updates.append(payload)
            size = {"HW": 20, "BYTES": 24}[word]
            assert len(payload) % size == 0
            for at in range(0, len(payload), size):
                client = self.clients.get(payload[at : at + 8])
                applied, unknown = applied + bool(client), unknown + (not client)
                if client is not None and word == "HW":
                    (mark,) = struct.unpack_from("!I", payload, at + 16)
                    client.high_water = max(client.high_water, mark)
                    client.mark = max(client.mark, mark)
        self._say(f"SUCCESS: cluster-update applied={applied},unknown={unknown}")

    def _do_cookie(self, _words: list[str], lines: list[str]) -> None:
        self.cookie_key = bytes.fromhex(lines[0])
        self._say("SUCCESS: cluster-cookie")

    def _do_stored(self, words: list[str], _lines: list[str]) -> None:
        uid, fingerprint, holder = (bytes.fromhex(word) for word in words[1:4])
        client = self.clients.get(uid)
        for key in client.keys if client is not None else []:
            for one in key.grants.get(holder, []):
                if key.fingerprint == fingerprint and one.end == int(words[4]):
                    one.stored = True
                    self._say("SUCCESS: cluster-stored")
                    return
        self._fail(words, Code.NO_KEY, "no such range")

    def _do_drop(self, words: list[str], _lines: list[str]) -> None:
        if self.role is Role.STANDBY and bytes.fromhex(words[1]) in self.clients:
            del self.clients[bytes.fromhex(words[1])]
            self._say("SUCCESS: cluster-drop")
        else:
            code = Code.UNKNOWN_CLIENT if self.role is Role.STANDBY else Code.WRONG_ROLE
            self._fail(words, code, "unknown client or not standby")

    def _do_promote(self, words: list[str], _lines: list[str]) -> None:
        epoch = words[1] if len(words) > 1 else "-"
        if self.role is Role.MASTER and epoch == self.epoch:
            self._fail(words, Code.WRONG_ROLE, "master already")
            return
        for client in self.clients.values():
            for key in client.keys:
                if self.role is Role.STANDBY:
                    key.take_over()
                elif epoch != self.epoch:
                    key.overtake()
        self.epoch = epoch
        self._change_role(Role.MASTER)
        self._say(f"SUCCESS: cluster-promote instances={len(self.clients)},usec=120")

    def _do_hold(self, words: list[str], _lines: list[str]) -> None:
        if self.role is not Role.MASTER:
            self._fail(words, Code.WRONG_ROLE, "not master")
            return
        self._change_role(Role.HELD)
        self._tell("HW", [one for one in self.clients.values() if one.told != one.high_water])
        self._say(f"SUCCESS: cluster-hold instances={len(self.clients)}")

    def _do_demote(self, _words: list[str], _lines: list[str]) -> None:
        self.messages_held.clear()
        self.clients.clear()
        self.holder, self.epoch = self.rng.randbytes(16), "-"
        self._change_role(Role.STANDBY)
        self._say(f"SUCCESS: cluster-demote instances=0,holder={self.holder.hex()}")

    def _do_reneg(self, words: list[str], _lines: list[str]) -> None:
        if bytes.fromhex(words[1]) not in self.clients:
            self._fail(words, Code.UNKNOWN_CLIENT, "unknown client")
            return
        self._say("SUCCESS: cluster-reneg")
        self.renegotiate(bytes.fromhex(words[1]))

    def _do_kick(self, _words: list[str], _lines: list[str]) -> None:
        self._say("SUCCESS: cluster-kick")

    def _do_wait(self, words: list[str], _lines: list[str]) -> None:
        if self.role is not Role.MASTER:
            self._fail(words, Code.WRONG_ROLE, f"not possible while {self.role.value}")
            return
        if words[1] == "off":
            self._let_go()
        self.holds_new = words[1] == "on"
        self._say(f"SUCCESS: cluster-wait {words[1]}")

    def _do_release(self, words: list[str], _lines: list[str]) -> None:
        uid = bytes.fromhex(words[1])
        if self.role is not Role.MASTER or uid not in self.clients:
            code = Code.UNKNOWN_CLIENT if self.role is Role.MASTER else Code.WRONG_ROLE
            self._fail(words, code, "unknown client")
            return
        self.held_back.discard(uid)
        self._say(f"SUCCESS: cluster-release {words[1]}")
        self._establish(uid)

    def _let_go(self) -> None:
        self.holds_new = False
        self.held_back.clear()
        for uid in sorted(self.messages_held):
            self._establish(uid)

    def _change_role(self, role: Role) -> None:
        self._let_go()
        self.role, self.quiesced = role, 0
        self._say(f">CLUSTER:STATE,{role.value},{self.holder.hex()}")

    def plays(self, role: Role) -> bool:
        """Whether it has this role."""
        return self.role is role

    # What OpenVPN does by itself.

    def notify(self, line: str) -> None:
        """Any notification."""
        self._say(line)

    def _make_client(self, uid: bytes, generation: int, name: bytes) -> ModelClient:
        self._cid += 1
        return ModelClient(uid, generation, self._cid, [], name)

    def _new_key(self) -> ModelKey:
        return ModelKey(self.rng.randbytes(8), self.round_size)

    def connect_client(self, name: str = "client", virtual: str = "") -> bytes:
        """A client connects; returns its uid."""
        client = self._make_client(self.rng.randbytes(8), 1, name.encode())
        client.virtual = virtual
        client.keys = [self._new_key()]
        self.clients[client.uid] = client
        if self.holds_new:
            self.held_back.add(client.uid)
        self._changed(client, "connect")
        return client.uid

    def renegotiate(self, uid: bytes) -> None:
        """A renegotiation begins and completes: a new key, the old one stays a lame duck."""
        client = self.clients[uid]
        self._say(f">CLUSTER:RENEG,{uid.hex()},{len(client.keys)},{client.generation}")
        client.keys = [self._new_key(), client.keys[0]]
        client.generation += 1
        if client.moved:
            client.moved = False
            self._say(f">CLUSTER:REKEYED,{uid.hex()}")
        self._changed(client, "keys")

    def make_pending(self, uid: bytes) -> None:
        """A renegotiation comes to the server's last message, which waits for its release."""
        client = self.clients[uid]
        self._say(f">CLUSTER:RENEG,{uid.hex()},{len(client.keys)},{client.generation}")
        client.keys = [self._new_key(), client.keys[0]]
        client.keys[0].pending = True
        client.generation += 1
        self.messages_held.add(uid)
        self._changed(client, "pending")
        if not self.holds_new:
            self._establish(uid)

    def _establish(self, uid: bytes) -> None:
        """The client gets the last message and acknowledges it."""
        if uid in self.messages_held:
            self.messages_held.discard(uid)
            self.clients[uid].keys[0].pending = False
            self.clients[uid].generation += 1
            self._changed(self.clients[uid], "keys")

    def disconnect_client(self, uid: bytes) -> None:
        """A client is gone."""
        del self.clients[uid]
        self.held_back.discard(uid)
        self.messages_held.discard(uid)
        self._say(f">CLUSTER:DOWN,{uid.hex()}")

    def report(self, kind: str = "HW") -> None:
        """The counters of every client, as after a second."""
        for client in self.clients.values():
            client.high_water += 1
        self._tell(kind, list(self.clients.values()))

    def receive_packet(self, uid: bytes, number: int) -> bool:
        """A packet of this client arrives; whether it is accepted, as none may be twice."""
        client = self.clients.get(uid)
        if client is None or self.role is not Role.MASTER:
            return False
        if number <= client.mark or number in client.received:
            return False
        client.received.add(number)
        client.high_water = max(client.high_water, number)
        return True

    def _tell(self, kind: str, clients: list[ModelClient]) -> None:
        entries = b"".join(self._entry(kind, client) for client in clients)
        size = 900 if kind == "HW" else 888
        for at in range(0, len(entries), size):
            text = base64.b64encode(entries[at : at + size]).decode()
            self._say(f">CLUSTER:{kind},{text}")

    def _entry(self, kind: str, client: ModelClient) -> bytes:
        if kind == "BYTES":
            return client.uid + struct.pack("!QQ", client.high_water * 100, 7)
        client.told = client.high_water
        return client.uid + client.keys[0].fingerprint + struct.pack("!I", client.high_water)

    def send_packet(self, uid: bytes) -> int | None:
        """A packet for this client; its id, or None when nothing owned is left or not master."""
        if self.role is not Role.MASTER:
            return None
        client = self.clients[uid]
        key = client.sending()
        number, stale, wants = key.send()
        for holder in stale:
            self._say(f">CLUSTER:STALE,{uid.hex()},{key.fingerprint.hex()},{holder.hex()}")
        if number is None:
            self.capped += 1
            self._say(f">CLUSTER:CAPPED,{uid.hex()},{key.fingerprint.hex()}")
            return None
        if wants:
            client.generation += 1
            self._changed(client, "range")
        self.sent.append((key.fingerprint, number))
        return number

    def _changed(self, client: ModelClient, reason: str) -> None:
        self._say(f">CLUSTER:CHANGED,{client.uid.hex()},{client.generation},{client.cid},{reason}")

    def table(self) -> dict[bytes, tuple[int, tuple[bytes, ...]]]:
        """What two nodes in sync have in common: generation and keys of every client."""
        return {
            uid: (client.generation, tuple(key.fingerprint for key in client.keys))
            for uid, client in self.clients.items()
        }


def read_record(
    lines: list[str],
) -> tuple[bytes, dict[int, bytes], list[tuple[bytes, bytes, int, int]]]:
    """The parts of a record that was written to ``cluster-import``."""
    hot = ""
    cold: dict[int, str] = {}
    grants: list[tuple[bytes, bytes, int, int]] = []
    for line in lines:
        word, _, rest = line.partition(",")
        if word == "HOT":
            hot += rest
        elif word == "COLD":
            kind, _, text = rest.partition(",")
            cold[int(kind)] = cold.get(int(kind), "") + text
        else:
            assert word == "GRANT"
            holder, fingerprint, start, end = rest.split(",")
            grants.append((bytes.fromhex(holder), bytes.fromhex(fingerprint), int(start), int(end)))
    decoded = {kind: base64.b64decode(text) for kind, text in cold.items()}
    return base64.b64decode(hot), decoded, grants


def hot_keys(hot: bytes) -> list[bytes]:
    """The fingerprints in a hot part."""
    assert hot.startswith(b"HOT1")
    return [hot[at : at + 8] for at in range(13, len(hot), 8)]
