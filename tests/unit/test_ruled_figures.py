"""Times and counts that a page rules are those of the code: whoever changes one changes both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovpnha.node.cluster import grading, two_masters
from ovpnha.node.master import exporter, protection, rekey
from ovpnha.node.openvpn import discovery, refusals, traffic
from ovpnha.node.role import succession, vip
from ovpnha.node.standby import completeness, retries
from ovpnha.replication import loss, membership, source
from ovpnha.replication.config import Timings

DOCS = Path(__file__).parents[2] / "docs"
T = Timings()
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
WORDS = {"second": "1", "three": "3"}


@pytest.mark.parametrize(("page", "words", "value"), RULED)
def test_the_page_and_the_code_have_one_figure(page: str, words: str, value: float) -> None:
    found = re.findall(words, (DOCS / page).read_text())
    assert found, f"{page} does not say so any more"
    for one in found:
        assert float(WORDS.get(one, one)) == pytest.approx(value)
