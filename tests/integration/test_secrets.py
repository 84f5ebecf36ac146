"""No session key leaves the two processes that hold it.

Ruled by docs/threat-model.md, "Key material at rest".
Every key that went over a management socket in a run is looked for, raw, in hexadecimal and in
base64, wherever a process writes.
"""

from __future__ import annotations

import base64
import subprocess

import pytest

from tests.bench.manager import Manager
from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.relay import Relay, relayed
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

HAND_WINDOW = 2
PAGES = ("metrics", "status", "health")


def forms(key: bytes) -> set[bytes]:
    """A key as it may stand in lower-cased text; base64 cut to what neighbours do not change."""
    found = {key, key.hex().encode()}
    for before in range(3):
        text = base64.b64encode(bytes(before) + key)
        first = -(-before * 4 // 3)
        found.add(text[first : (before + len(key)) * 4 // 3])
    return found


def keys_in(data: bytes, keys: set[bytes]) -> set[bytes]:
    """Which of the keys stand in these bytes, in whatever form."""
    folded = data.replace(b":", b"").replace(b" ", b"").lower()
    return {
        key
        for key in keys
        if any(form in data for form in forms(key)) or key.hex().encode() in folded
    }


def all_keys(relays: dict[str, Relay]) -> set[bytes]:
    data = {part for one in relays.values() for key in one.data_keys() for part in key.parts}
    return data.union(*(one.wrap_keys() for one in relays.values()))


def pages(lab: Lab) -> bytes:
    """What the nodes show over HTTP."""
    urls = [f"http://127.0.0.1:9594/{page}" for page in PAGES]
    fetch = ["curl", "-sS", "--max-time", str(PATIENCE), *urls]
    return b"".join(
        subprocess.run(
            ["ip", "netns", "exec", node.namespace, *fetch], capture_output=True, check=True
        ).stdout
        for node in lab.nodes.values()
    )


def logs(lab: Lab) -> bytes:
    """What servers and sidecars wrote, with the small files beside it."""
    files = [
        file for node in lab.nodes.values() for file in node.directory.iterdir() if file.is_file()
    ]
    assert {f"openvpn-{name}.log" for name in lab.nodes} <= {file.name for file in files}
    assert {f"ovpnha-{name}.log" for name in lab.nodes} <= {file.name for file in files}
    return b"".join(file.read_bytes() for file in files)


def take_over(lab: Lab, session: Session, to: str) -> None:
    killed = session.strike(kill_openvpn)
    lab.move_vips(to)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master(to)


def renegotiate(lab: Lab, session: Session) -> None:
    session.linger(HAND_WINDOW + 1.0)
    asked = session.mark()
    lab.master.sidecar.renegotiate()
    wait_until(lambda: session.noticed(asked).renegotiations, "a renegotiation", PATIENCE)


def test_a_key_is_found_in_every_form() -> None:
    key = bytes(range(100, 132))
    for before in range(3):
        text = base64.b64encode(bytes(before) + key + b"behind")
        assert keys_in(b"HOT," + text, {key}) == {key}
    for text in (key, key.hex().encode(), key.hex(" ").upper().encode(), key.hex(":").encode()):
        assert keys_in(b"key: " + text + b".", {key}) == {key}
    assert not keys_in(key[:31], {key})


def test_no_session_key_is_written_anywhere(make_lab: MakeLab) -> None:
    """The whole life of a client, from A to B and back, at the highest verbosity."""
    lab = make_lab(
        vip_manager=None,
        server_options=(f"hand-window {HAND_WINDOW}", "verb 11", "status status.log 1"),
        client_options=("verb 7",),
    )
    with relayed(lab) as relays:
        lab.start_cluster()
        session = Session(lab)
        seen = pages(lab)
        take_over(lab, session, "b")
        renegotiate(lab, session)
        seen += pages(lab)
        lab.nodes["a"].openvpn.start()
        lab.wait_in_sync("a")
        take_over(lab, session, "a")
        renegotiate(lab, session)
        lab.wait_master("a")
        seen += pages(lab)
        keys = all_keys(relays)
        fingerprints = {key.fingerprint for one in relays.values() for key in one.data_keys()}
    assert len(fingerprints) >= 3
    assert all(len(key) >= 8 for key in keys)
    assert relays["b"].wrap_keys()
    assert not keys_in(seen, keys)
    assert not keys_in(logs(lab), keys)
    told = keys_in(session.client.process.log.read_bytes(), keys)
    assert len(told) >= 2 * len(fingerprints)  # the client does print them: they would be found


def test_the_management_client_cannot_make_it_more_verbose(manual_lab: Lab) -> None:
    node = manual_lab.nodes["a"]
    node.openvpn.start()
    with Manager(node.directory / "openvpn.sock") as manager:
        assert manager.ask("verb 7")[-1].startswith("ERROR: verb")
        assert manager.ask("verb") == ["SUCCESS: verb=4"]
        assert manager.ask("verb 6")[-1].startswith("SUCCESS: verb")
