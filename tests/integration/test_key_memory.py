"""A key is gone from OpenVPN's memory when it is no longer used, and no core file can hold one.

The whole writable memory of the processes is searched for the keys that went over the management
sockets, raw and in the forms in which they travel.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from pwd import getpwnam

import pytest

from tests.bench.manager import Manager
from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.relay import SOCKET, Relay, relayed
from tests.integration.test_secrets import HAND_WINDOW, forms, renegotiate, take_over
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

TRANSITION = 4
CIPHER_KEY = 32  # the implicit IV that comes with it is no secret
WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")
NOTED = re.compile(r"^noted: (\w+) (-?\d+)$", re.MULTILINE)
SHIM = Path(__file__).with_name("note_privileges.c")


def remembered(node: Node, keys: set[bytes]) -> set[bytes]:
    """Those of the keys that are somewhere in the memory of the node's OpenVPN."""
    proc = Path(f"/proc/{node.openvpn.pid}")
    found: set[bytes] = set()
    with (proc / "mem").open("rb", buffering=0) as memory:
        for place in WRITABLE.finditer((proc / "maps").read_text()):
            start, end = (int(text, 16) for text in place.groups())
            memory.seek(start)
            data = memory.read(end - start)
            found |= {key for key in keys if any(form in data for form in forms(key))}
    return found


def cipher_keys(relay: Relay) -> set[bytes]:
    return {part for key in relay.data_keys() for part in key.parts if len(part) == CIPHER_KEY}


def start(make_lab: MakeLab) -> Lab:
    windows = (f"hand-window {HAND_WINDOW}", f"tran-window {TRANSITION}")
    return make_lab(vip_manager=None, server_options=windows)


def wait_forgotten(node: Node, keys: set[bytes]) -> None:
    wait_until(lambda: not remembered(node, keys), f"{node.name} forgets replaced keys", PATIENCE)


def test_a_replaced_key_is_wiped(make_lab: MakeLab) -> None:
    """On the master that made it, on the standby, and on a new master that had it imported."""
    lab = start(make_lab)
    a, b = lab.nodes["a"], lab.nodes["b"]
    with relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        first = cipher_keys(relays["a"])
        assert remembered(a, first) == remembered(b, first) == first
        renegotiate(lab, session)
        wait_forgotten(a, first)
        wait_forgotten(b, first)
        take_over(lab, session, "b")
        second = cipher_keys(relays["a"]) - first
        assert remembered(b, second) == second
        renegotiate(lab, session)
        wait_forgotten(b, second)


def test_demoted_processes_remember_no_key(make_lab: MakeLab) -> None:
    lab = start(make_lab)
    with relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        renegotiate(lab, session)
        session.linger(1.0)
        lab.wait_in_sync("b")
        keys = cipher_keys(relays["a"]) | relays["a"].wrap_keys()
    for node in lab.nodes.values():
        node.sidecar.process.kill()
        assert remembered(node, relays["a"].wrap_keys()) == relays["a"].wrap_keys()
        with Manager(node.directory / SOCKET) as manager:
            assert manager.ask("cluster-demote")[-1].startswith("SUCCESS")
            assert manager.ask("cluster-list") == ["END"]
            assert not remembered(node, keys)


def test_core_dumps_are_forbidden_after_the_last_change_of_user(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel makes a process that changes its user as dumpable as ``fs.suid_dumpable`` says."""
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, SHIM], check=True)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    lab = make_lab(vip_manager=None, server_options=("user nobody", "group nogroup"))
    monkeypatch.delenv("LD_PRELOAD")
    node = lab.nodes["a"]
    node.openvpn.start()
    with Manager(node.directory / SOCKET) as manager:
        manager.ask("cluster-status")
    noted = [(name, int(value)) for name, value in NOTED.findall(node.openvpn.log.read_text())]
    assert ("user", getpwnam("nobody").pw_uid) in noted
    assert noted[-1] == ("dumpable", 0)
    assert Path(f"/proc/{node.openvpn.pid}/environ").stat().st_uid == 0  # the kernel's sign for it
