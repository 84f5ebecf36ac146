"""Both nodes are master and send to one client: no nonce is used twice, and a reuse is seen."""

from __future__ import annotations

import signal

import pytest

from tests.integration.pace import PATIENCE
from tests.lab import splitbrain
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

# Ranges of the traced build grow from 64 ids to 1024. What a node was granted is all it owns until
# the client answers it and not another one.
GROWN = 1500


# A round of each cipher, and both directions of the one that most use.
ROUNDS = [
    (2, splitbrain.AES_256_GCM),
    (1, splitbrain.CHACHA20_POLY1305),
    (1, splitbrain.AES_256_CBC),
]


@pytest.mark.sampled(1)
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


@pytest.mark.sampled(1)
@pytest.mark.parametrize("cipher", splitbrain.CIPHERS, ids=lambda one: one.name)
def test_without_the_cap_on_packet_ids_a_reuse_is_found(cipher: splitbrain.Cipher) -> None:
    assert splitbrain.run_uncapped(cipher).nonces.duplicates > 0


def test_two_standbys_promoted_at_once_share_no_nonce_with_each_other_or_the_old_master() -> None:
    with splitbrain.traced(splitbrain.TRACED, nodes=3) as brain:
        brain.begin()
        wait_until(lambda: len(brain.nonces_of("a")) > GROWN, "ranges have grown", PATIENCE)
        old = brain.lab.nodes["a"].openvpn
        old.signal(signal.SIGSTOP)
        for name in ("b", "c"):  # neither hears of the other
            brain.bcn(name, "down")
        for name in ("b", "c"):
            brain.give_vip(name)
        brain.both_send("b", "c")
        old.signal(signal.SIGCONT)
        brain.both_send("a")
        for name in ("b", "c"):
            brain.bcn(name, "up")
        brain.both_send("a")
        users = {
            name: {line.split()[0] for line in brain.nonces_of(name)} for name in brain.lab.nodes
        }
        found = brain.end().nonces
    assert found.duplicates == 0, found
    assert found.shared_keys >= 1
    assert users["a"] & users["b"] & users["c"], "no key that all three have used"
