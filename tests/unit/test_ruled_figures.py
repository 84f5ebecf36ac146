"""Times and counts that a page rules are those of the code: whoever changes one changes both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovpnha.checks import schedule
from ovpnha.management import codes, commands
from ovpnha.model import COUNTER_ENTRY_SIZE as SIZES
from ovpnha.model import RECORD_LIMIT, CounterKind, Grade, InstanceName
from ovpnha.node import arbiter, asked, memory, moving, node, sides, tracking
from ovpnha.node.cluster import (
    conductor,
    fence,
    grading,
    predecessor,
    switchover,
    two_masters,
    view,
    vip_problems,
)
from ovpnha.node.config import InstanceConfig
from ovpnha.node.master import exporter, protection, rekey
from ovpnha.node.openvpn import discovery, liveness, refusals, traffic
from ovpnha.node.role import lineage, succession, vip
from ovpnha.node.standby import completeness, importer, retries
from ovpnha.node.stock import pool, stock
from ovpnha.replication import (
    cold_receiver,
    config,
    counters,
    followers,
    fragments,
    hello,
    history,
    incomplete_records,
    log,
    loss,
    membership,
    messages,
    pacing,
    packing,
    proof,
    records,
    roundtrip,
    sealing,
    sink,
    source,
    strangers,
)
from ovpnha.replication.config import Timings
from ovpnha.setup import refusals as setup_refusals

DOCS = Path(__file__).parents[2] / "docs"
T = Timings()
UNTOLD = InstanceConfig(InstanceName("udp"))
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
# What stands on no wire: paces, bounds of memory, moments of one node.
RULED += [
    ("wire.md", r"never heard before that are opened \| (\S+) a second", sealing.UNKNOWN_RATE),
    ("wire.md", r"that are opened \| 2,000 a second, (\d+) at once", sealing.UNKNOWN_BURST),
    ("wire.md", r"remembered \| (\d+) that are neither believed", sealing.CANDIDATE_LIMIT),
    ("wire.md", r"neither believed nor retired, (\S+) retired", sealing.RETIRED_LIMIT),
    ("wire.md", r"below the window of (\S+) sequences", sealing.WINDOW),
    ("wire.md", r"hellos that answer somebody \| (\d+) a second", membership.ANSWER_RATE),
    ("wire.md", r"somebody \| 40 a second, (\d+) at once", membership.ANSWER_BURST),
    ("wire.md", r"whose hellos arrive for (\w+) intervals", membership.ONE_WAY_INTERVALS),
    ("wire.md", r"node that is not followed (\d+) a second", strangers.STRANGER_RATE),
    ("wire.md", r"not ours are told of again \| after (\d+) s", strangers.OTHER_AGAIN),
    ("wire.md", r"pace \| (\d+) ms of it may leave", pacing.PACE_BURST * 1000),
    ("wire.md", r"never less than (\S+) bytes; what waits", pacing.LEAST_BURST),
    ("wire.md", r"what waits for it is woken for (\S+) bytes", source.PACED_LEAST),
    ("wire.md", r"a (fifth) less when what arrives", 1 - pacing.SLOWER),
    ("wire.md", r"on its way for more than (\S+) s, else", pacing.DELAY_GOAL),
    ("wire.md", r"0.5 s, else (\S+) times as much", pacing.FASTER),
    ("wire.md", r"longest way so far (nine tenths) still count", pacing.DELAY_DECAY),
    ("wire.md", r"has been under way \(at most (\S+) s\)", 1.5 * pacing.WAIT_LIMIT),
    ("wire.md", r"leave ahead of the pace \| (\S+) bytes", source.LIVE_DEBT),
    ("wire.md", r"the counters of the last (\S+) s that a receiver", source.LATE),
    ("wire.md", r"gone, and of renegotiations \| (\S+) each", log.DELETES_LIMIT),
    ("wire.md", r"gone, and of renegotiations \| (\S+) each", log.RENEGOTIATIONS_LIMIT),
    ("wire.md", r"probes that may be under way \| (\d+)", loss.PROBES_LIMIT),
    ("wire.md", r"asked for again \| after (\d+) ms at first", sink.FIRST_RETRY * 1000),
    ("wire.md", r"then doubled up to (\d+) ms", T.resync_interval * 1000),
    ("wire.md", r"messages of \*want\* at a time \| (\d+)", incomplete_records.WANTS_LIMIT),
    ("wire.md", r"whose fragments are kept \| (\d+)", fragments.NUMBERS_LIMIT),
    ("wire.md", r"kept of one client \| of (\d+) keys", counters.KEYS_LIMIT),
    ("wire.md", r"counters that wait leave \| (\d+) lines", counters.LINES),
    ("wire.md", r"in a turn, or a (thirtieth) of them", 1 / counters.MOST_TURNS),
    ("wire.md", r"wait to be reached \| (\d+);", proof.HEADS_LIMIT),
    ("wire.md", r"of those that come within (\S+) s of each", proof.HEADS_GAP),
    ("wire.md", r"counts as none after (\d+) s", followers.FOLLOWER_TIMEOUT),
    ("wire.md", r"history \| (\d+) ms between two datagrams", history.GAP * 1000),
    ("wire.md", r"digests have differed for (\S+) s;", history.SETTLE),
    ("wire.md", r"again after (\d+) s without a change", history.REST),
    ("wire.md", r"another node \| of the last (\d+) measurements", roundtrip.SAMPLES),
    ("wire.md", r"among its last (\d+) rounds", roundtrip.ROUNDS_KEPT),
    ("wire.md", r"rounds; losses of the last (\d+) \|", roundtrip.ROUNDS_JUDGED),
    ("wire.md", r"share of a digest is kept \| (\S+) \|", records.SHARES_KEPT),
    ("wire.md", r"`password`; the last (\S+) bytes of it", packing.BASE_LIMIT),
    ("operations.md", r"node the newest (\d+) changes are kept", history.NODE_LIMIT),
    ("operations.md", r"changes are kept, (\S+) of all", history.LIMIT),
    ("operations.md", r"30 from the (third) failure in a row", fence.TRIES),
    ("roles.md", r"the VIP has been away for a (minute),", fence.CAPPED_FOR),
    ("roles.md", r"still believed for silent \| (\d+) s after the promotion", fence.QUIET),
    ("roles.md", r"proves nothing is looked at every (\S+) s", fence.LOOK),
    ("roles.md", r"no fence is needed holds \| (\d+) s", asked.OVERRULED_FOR),
    ("roles.md", r"highest epoch was heard of \| (\S+) s", view.HEARD_FOR),
    ("roles.md", r"until it has had the VIP for (\d+) s", predecessor.LISTEN_ON),
    ("roles.md", r"of one name are shown \| (\d+) s after", node.CONFLICT_SHOWN),
    ("roles.md", r"is asked what it is \| (\d+) s later", discovery.RETRY_ORDER_AFTER),
    ("roles.md", r"clients that OpenVPN refuses \| (\d+) s", completeness.SETTLE_WAIT),
    ("roles.md", r"that was promoted is freed \| (\d+) s later", importer.TIDY_AFTER),
    ("roles.md", r"client is heard \| every (\d+) ms", traffic.WATCH_EVERY * 1000),
    ("roles.md", r"every 50 ms for a (second), then", traffic.WATCH_OFTEN),
    ("roles.md", r"then every (\d+) ms, 10 s in all", traffic.WATCH_LATER * 1000),
    ("roles.md", r"250 ms, (\d+) s in all", traffic.WATCH_FOR),
    ("roles.md", r"hears of a change of role \| (\d+) s later", tracking.SETTLE),
    ("roles.md", r"until they were protected \| the last (\S+) \|", protection.RECENT),
    ("roles.md", r"origin is remembered \| (\d+), the newest", lineage.LINES_LIMIT),
    ("roles.md", r"begun a second time \| the last (\d+) \|", switchover.REMEMBERED),
    ("roles.md", r"ranges are named \| (\d+) ranges each", importer.STORED_LIMIT),
    ("roles.md", r"(\S+) s after its end at the earliest", schedule.GAP),
    ("roles.md", r"(\d+) characters of what it said are kept", schedule.TEXT_LIMIT),
    ("roles.md", r"\| fault \| (-\d+) \|", Grade.FAULT),
]
# Two processes on one machine, several VIPs, and an OpenVPN without the patch.
RULED += [
    ("roles.md", r"is not reached, for less than (\S+) s \|", arbiter.FIND),
    ("roles.md", r"has answered the hold \| (\S+) s \|", moving.ANSWER_MAX),
    ("roles.md", r"the promotion: \*done\* \| (\S+) s \|", moving.ANSWER_MAX),
    ("roles.md", r"After (\S+) s, and again each second, the shell", moving.END_AFTER),
    ("roles.md", r"the shell is asked to end it \| (\S+) s \|", moving.RETURN_MAX),
    ("roles.md", r"and for (\S+) s while that process has lost", sides.DEATH_MAX),
    ("roles.md", r"not known to be dead; (\S+) s after the end", sides.END_AGAIN),
    ("roles.md", r"before the other one has answered for (\S+) s", sides.HEARD_FOR),
    ("roles.md", r"without a break of more than (\S+) s", liveness.BREAK),
    ("operations.md", r"is not there for longer than (\S+) s, `ovpn", vip_problems.PARTED_AFTER),
    ("operations.md", r"that had been connected for (\S+) s,", stock.ASK_EVERY),
    ("operations.md", r"had left in the (\d+) minutes before", pool.AWAY_FOR / 60),
    ("operations.md", r"a few: a (quarter) of the most", 1 / pool.AWAY_PART),
    ("operations.md", r"with `cluster` it may be (\S+) at most", setup_refusals.MACS_MAX),
]
# What an instance does whose configuration says nothing.
RULED += [
    ("configuration.md", rf"\| `{one}` \| `(\S+)` \| Seconds", getattr(UNTOLD, one))
    for one in ("held_max", "lone_after", "answer_within", "protect_wait")
]
RULED += [("configuration.md", r"\| `rekey_rate` \| `(\S+)` \| How many", UNTOLD.rekey_rate)]
RETRIES = r"run again after (\d+), (\d+), (\d+), (\d+) and then every (\d+) s"
WORDS = {
    "second": "1",
    "three": "3",
    "third": "3",
    "four": "4",
    "six": "6",
    "minute": "60",
    "quarter": "0.25",
    "fifth": "0.2",
    "thirtieth": "0.03333333333",
    "nine tenths": "0.9",
}


def test_a_fence_that_failed_is_run_again_when_the_page_says() -> None:
    [waits] = re.findall(RETRIES, (DOCS / "operations.md").read_text())
    assert tuple(map(float, waits)) == fence.RETRIES


@pytest.mark.parametrize(("page", "words", "value"), RULED)
def test_the_page_and_the_code_have_one_figure(page: str, words: str, value: float) -> None:
    found = re.findall(words, (DOCS / page).read_text())
    assert found, f"{page} does not say so any more"
    for one in found:
        assert float(WORDS.get(one, one).replace(",", "")) == pytest.approx(value)
