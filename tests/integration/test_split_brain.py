"""Both nodes are master and send to one client: no nonce is used twice, and a reuse is seen."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import test_daemon
from tests.integration.test_bcn_modes import Trio, holds_the_client
from tests.integration.test_daemon import DEADLINE, ip
from tests.lab import splitbrain
from tests.lab.nonces import Nonces, count
from tests.lab.process import Process
from tests.lab.topology import addresses
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

# Ranges of the traced build grow from 64 ids to 1024. What a node was granted is all it owns until
# the client answers it and not another one.
GROWN = 1500
BURST = 60


# A round of each cipher, and both directions of the one that most use.
ROUNDS = [
    (2, splitbrain.AES_256_GCM),
    (1, splitbrain.CHACHA20_POLY1305),
    (1, splitbrain.AES_256_CBC),
]


@pytest.mark.parametrize(("rounds", "cipher"), ROUNDS, ids=[one.name for _, one in ROUNDS])
def test_no_nonce_is_used_twice_while_both_nodes_are_master(
    rounds: int, cipher: splitbrain.Cipher
) -> None:
    outcome = splitbrain.run(rounds, cipher)
    assert outcome.nonces.duplicates == 0, outcome
    assert outcome.nonces.shared_keys >= 1, "no key was used by two processes"
    assert outcome.wire.untraced == 0
    assert outcome.wire.senders == 2
    assert outcome.nonces.packets >= outcome.wire.packets > 1000


@pytest.mark.parametrize("cipher", splitbrain.CIPHERS, ids=lambda one: one.name)
def test_without_the_cap_on_packet_ids_a_reuse_is_found(cipher: splitbrain.Cipher) -> None:
    assert splitbrain.run_uncapped(cipher).nonces.duplicates > 0


@pytest.fixture
def trio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trio]:
    """Three nodes whose OpenVPN writes down every nonce."""
    monkeypatch.setattr(test_daemon, "OPENVPN", splitbrain.TRACED.resolve())
    monkeypatch.setenv("CLUSTER_TRACE", str(tmp_path / "nonces"))
    made = Trio(tmp_path)
    try:
        made.build()
        yield made
    finally:
        made.close()


def trace_of(trio: Trio, name: str) -> list[str]:
    path = trio.directory / f"nonces.{trio.nodes[name].openvpn.pid}"
    return path.read_text().splitlines() if path.exists() else []


def nonces(trio: Trio) -> Nonces:
    return count({name: trace_of(trio, name) for name in trio.nodes})


def wait_sent(trio: Trio, *names: str) -> None:
    """Wait until each of these nodes has used many more nonces."""
    before = {name: len(trace_of(trio, name)) for name in names}
    wait_until(
        lambda: all(len(trace_of(trio, name)) > before[name] + BURST for name in names),
        f"{' and '.join(names)} send",
        DEADLINE,
    )


def start_sources(trio: Trio) -> list[Process]:
    """Each node has something to send to the client, if only it may."""
    inside = next(one for one in addresses(trio.namespace("client"), "tun0") if "." in one)
    return [
        Process(
            ["ping", "-q", "-i", "0.005", "-s", "16", inside],
            namespace=trio.namespace(name),
            directory=trio.directory,
            log=trio.directory / f"ping-{name}.log",
        ).start()
        for name in trio.nodes
    ]


def test_two_standbys_promoted_at_once_share_no_nonce_with_each_other_or_the_old_master(
    trio: Trio,
) -> None:
    a, b, c = trio.nodes.values()
    trio.start()
    trio.give_vip("a")
    trio.client.start()
    wait_until(trio.pings, "the client is connected", DEADLINE)
    for node in (b, c):
        wait_until(lambda one=node: holds_the_client(one), f"{node.name} holds it", DEADLINE)  # type: ignore[misc]
    sources = start_sources(trio)
    try:
        wait_until(lambda: len(trace_of(trio, "a")) > GROWN, "ranges have grown", DEADLINE)
        a.openvpn.signal(signal.SIGSTOP)
        for node in (b, c):  # neither hears of the other
            ip("-n", trio.namespace(node.name), "link", "set", "bcn0", "down")
        b.add_vip()
        c.add_vip()
        wait_sent(trio, "b", "c")
        a.openvpn.signal(signal.SIGCONT)
        wait_sent(trio, "a")
        for node in (b, c):
            ip("-n", trio.namespace(node.name), "link", "set", "bcn0", "up")
        wait_sent(trio, "a")
    finally:
        for source in sources:
            source.discard()
    found = nonces(trio)
    assert found.duplicates == 0, found
    assert found.shared_keys >= 1
    users = {name: {line.split()[0] for line in trace_of(trio, name)} for name in trio.nodes}
    assert users["a"] & users["b"] & users["c"], "no key that all three have used"
