"""Times and counts that a page rules are those of the code: whoever changes one changes both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovpnha.management import codes, commands
from ovpnha.model import COUNTER_ENTRY_SIZE as SIZES
from ovpnha.model import RECORD_LIMIT, CounterKind, Grade
from ovpnha.node import memory
from ovpnha.node.cluster import conductor, grading, switchover, two_masters
from ovpnha.node.master import exporter, protection, rekey
from ovpnha.node.openvpn import discovery, refusals, traffic
from ovpnha.node.role import succession, vip
from ovpnha.node.standby import completeness, retries
from ovpnha.replication import (
    cold_receiver,
    config,
    counters,
    hello,
    history,
    incomplete_records,
    loss,
    membership,
    messages,
    pacing,
    packing,
    records,
    roundtrip,
    sealing,
    sink,
    source,
)
from ovpnha.replication.config import Timings

DOCS = Path(__file__).parents[2] / "docs"
T = Timings()
MIB = 1024 * 1024
START = discovery.ANSWER_WITHIN + discovery.PATIENCE

# The page, words with the figure in brackets, and what the code has, in the unit of the page.
RULED: list[tuple[str, str, float]] = [
    ("roles.md", r"stay and fetch, for at most (\S+) s; up to", succession.FETCH_MAX),
    ("roles.md", r"for at most 1 s; up to (\S+) s as long as", succession.FETCH_LONG),
    ("roles.md", r"something new came in the last (second)", succession.FETCH_MAX),
    (
        "roles.md",
        r"may be under way \| stay, for at most (\S+) s",
        succession.SAY_HELD,
    ),
    ("roles.md", r"knows its OpenVPN for less than (\S+) s", succession.LISTEN),
    ("roles.md", r"alarm of two masters after (\S+) s", two_masters.ALARM_AFTER),
    ("roles.md", r"served with the VIP for (\S+) s without a break", succession.KEEP),
    ("roles.md", r"For the same (\S+) s nobody is renegotiated", rekey.QUIET),
    ("roles.md", r"key with fewer than 2\^(\d+) packet ids", rekey.SHORT.bit_length() - 1),
    ("roles.md", r"lowers its grade for at most (\d+) s", vip.HANDOVER_MAX),
    ("roles.md", r"\((\d+) s at the start of a sidecar", START),
    ("roles.md", r"came back less than (\d+) s ago", grading.LISTENING),
    ("roles.md", r"have had no packet ids for (\d+) s", completeness.RANGELESS_AFTER),
    ("roles.md", r"A client that OpenVPN refuses for longer than (\d+) s", refusals.LASTS_AFTER),
    ("roles.md", r"tried again, after (\d+) s at first", retries.REFUSED_AGAIN_AFTER),
    ("roles.md", r"at first and every (\d+) s in the end", retries.REFUSED_AGAIN_MOST),
    ("management.md", r"is asked for again after (\d+) s", exporter.RETRY_AFTER),
    ("management.md", r"`protect_wait`, 2 s, (three) in a row", protection.MISSES),
    ("configuration.md", r"OpenVPN is asked every (\d+) s and does", traffic.CLIENTS_EVERY),
    ("wire.md", r"a challenge older than `proof_timeout` \((\S+) s\)", T.proof_timeout),
    ("wire.md", r"and `node_timeout` \((\S+) s\)", T.node_timeout),
    ("wire.md", r"younger than `proof_due` \((\S+) s\)", T.proof_due),
    ("wire.md", r"every `proof_retry` \((\S+) s\)", T.proof_retry),
    ("wire.md", r"jittered by up to (\d+) ms", T.answer_jitter * 1000),
    ("wire.md", r"alarm, told again every (\d+) s", membership.CONFLICT_AGAIN),
    ("wire.md", r"is sent (\d+) and 50 ms after a change", source.EARLY_MARKS[0] * 1000),
    ("wire.md", r"is sent 10 and (\d+) ms after a change", source.EARLY_MARKS[1] * 1000),
    ("wire.md", r"everything counts as lost after (\d+) ms", T.resend_gap * 1000),
    ("wire.md", r"(\d+) ms after another one at the earliest", loss.PROBE_INTERVAL * 1000),
    ("wire.md", r"left more than (\d+) ms before a probe", T.nack_delay * 1000),
]
# The same of sizes, counts and grades.
RULED += [
    ("wire.md", r"header of (\S+) bytes, then the sealed plaintext", sealing.HEADER_SIZE),
    ("wire.md", r"which is (\S+) bytes longer sealed", sealing.TAG_SIZE),
    ("wire.md", r"No datagram is longer than \*\*(\S+) bytes", sealing.DATAGRAM_LIMIT),
    ("wire.md", r"so a plaintext has at most (\d\S+):", sealing.PAYLOAD_LIMIT + sealing.KIND_SIZE),
    ("wire.md", r"of the sender, (\d+) random bytes", hello.CHALLENGE_SIZE),
    ("wire.md", r"issuer are text of at most (\d+) characters", hello.DIGEST_TEXT_LIMIT),
    ("wire.md", r"#checks\)\), (\w+) at most, those that failed", hello.CHECKS_LIMIT),
    ("wire.md", r"\*text\* at most (\d+) bytes of what it said", hello.CHECK_TEXT_LIMIT),
    ("wire.md", r"in their order and at most (\d+), which round", roundtrip.HEARD_LIMIT),
    ("wire.md", r"\*release\*, at most (\d+) characters", hello.RELEASE_LIMIT),
    ("wire.md", r"\*key numbers\* of the first (\w+) cluster", hello.KEYS_LIMIT),
    ("wire.md", r"a part is named by the first (\d+) bytes of SHA-256", records.NAME_SIZE),
    ("wire.md", r"of which each but the last has (\d+) bytes", messages.COLD_CHUNK),
    ("wire.md", r"the window is at most (\d+) KiB", (1 << -packing.READ_WINDOW) / 1024),
    ("wire.md", r"clients × (\d+) bytes / \(", config.RECORD_BYTES),
    ("wire.md", r"clients × 700 bytes / \((\S+) × `bytes", pacing.LEAST_SHARE),
    ("wire.md", r"lately took \(at most (\S+) s\)", 1.5 * pacing.DELAY_LIMIT),
    ("wire.md", r"Bounds per followed source: (\S+) clients", sink.CLIENTS_LIMIT),
    ("wire.md", r"(\d+) MiB of hot parts that wait", incomplete_records.INCOMPLETE_LIMIT / MIB),
    ("wire.md", r"(\d+) MiB of cold parts that nobody", cold_receiver.UNNAMED_LIMIT / MIB),
    ("wire.md", r"(\d+) MiB of incomplete ones", cold_receiver.PARTIAL_LIMIT / MIB),
    ("wire.md", r"of incomplete ones, (\d+) KiB a client", RECORD_LIMIT / 1024),
    ("wire.md", r"\*reason\* has at most (\d+) bytes", history.REASON_LIMIT),
    ("management.md", r"SUCCESS: cluster-status version=(\d+),", codes.VERSION),
    (
        "management.md",
        r"entries of (\d+) bytes: uid 8, fp 8",
        SIZES[CounterKind.HIGH_WATER],
    ),
    (
        "management.md",
        r"entries of (\d+) bytes: uid 8, read",
        SIZES[CounterKind.BYTES],
    ),
    ("management.md", r"passes counters on in turns of (\d+) lines", counters.LINES),
    ("management.md", r"it says `cluster-wait on (\d+)` again", commands.WAIT_LEASE),
    ("management.md", r"again every (second), and when it does not", protection.RENEW_AFTER),
    ("roles.md", r"that sidecar ended less than (\S+) s ago", memory.AWAY_MAX),
    ("roles.md", r"says anything else of it \| (\S+) s \|", switchover.ANSWER_MAX),
    ("roles.md", r"those are waited for (\S+) s at most", conductor.QUIET_MAX),
    ("roles.md", r"waited for 1 s at most \| (\S+) s \|", conductor.PREPARE_MAX),
    ("roles.md", r"new clients and new keys wait, for (\S+) s at most", conductor.FREEZE),
    ("roles.md", r"all others say grade 30 \((\S+) s\)", conductor.LOWER_MAX),
    ("roles.md", r"grade 30 \(0.5 s\) \| (\S+) s \|", conductor.READY_MAX),
    ("roles.md", r"the VIP is still here (\S+) s after \*ready\*", conductor.FREEZE),
    ("roles.md", r"\*(?:done|failed)\* \| said for (\S+) s", switchover.SHOWN),
    ("roles.md", r"a lowered grade for longer than that and (\S+) s", switchover.GRACE),
    ("roles.md", r"Other standbys: grade (\d+)\. Master: new", Grade.DEGRADED),
    ("roles.md", r"\*failed\* \| said for 10 s\. Master: grade (\d+)", Grade.MASTER),
    ("roles.md", r"in sync, has a grade below (\d+),", Grade.IN_SYNC),
    ("roles.md", r"in that epoch, is held with grade (\d+):", Grade.LONE),
    ("roles.md", r"A master is worth (\d+) then, below", Grade.LONE),
]
WORDS = {"second": "1", "three": "3", "four": "4", "six": "6"}


@pytest.mark.parametrize(("page", "words", "value"), RULED)
def test_the_page_and_the_code_have_one_figure(page: str, words: str, value: float) -> None:
    found = re.findall(words, (DOCS / page).read_text())
    assert found, f"{page} does not say so any more"
    for one in found:
        assert float(WORDS.get(one, one).replace(",", "")) == pytest.approx(value)
