"""Each kind of finding, provoked by one fact of a node on which all else is well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovpnha.cli.doctor import render_doctor
from ovpnha.doctor.examine import CHECKS, DoctorAnswer, examine
from ovpnha.doctor.facts import ProcessFacts, UnitFacts
from ovpnha.doctor.kinds import CATALOGUE, DoctorKind, Severity, Unmade
from ovpnha.machines import SparePolicy
from ovpnha.runtime.codec import from_plain, to_plain
from tests.unit.doctor.cases import cluster, host, server, vipmanager
from tests.unit.doctor.cases.quiet import QUIET
from tests.unit.doctor.cases.server import PREPARED
from tests.unit.doctor.cases.unread import LACKING, UNREAD
from tests.unit.doctor.good import GOOD, also, changed, split

DOCS = Path(__file__).parents[3] / "docs"
CASES = cluster.CASES | server.CASES | host.CASES | vipmanager.CASES


def test_nothing_is_wrong_with_a_good_node() -> None:
    answer = examine(GOOD)
    assert (answer.findings, answer.unmade) == ((), ())
    assert (answer.code, answer.severity) == (0, Severity.OK)
    assert answer.fine == tuple(CHECKS)


def test_every_kind_has_a_case_and_a_row() -> None:
    assert {kind for kind, _, _ in CASES.values()} == set(DoctorKind) == set(CATALOGUE)


def test_the_page_is_made_from_the_catalogue() -> None:
    page = (DOCS / "doctor.md").read_text()
    assert page == render_doctor(), "run: ovpnha reference --doctor > docs/doctor.md"


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found_and_the_sentence_names_the_thing(case: str) -> None:
    kind, facts, words = CASES[case]
    answer = examine(facts)
    (found, *_) = [one for one in answer.findings if one.kind is kind]
    assert words in found.what
    assert found.fix
    assert found.detail or kind is not DoctorKind.CLUSTER
    assert found.severity is CATALOGUE[kind][0]
    assert answer.unmade == ()
    assert answer.code == {"problem": 2, "warning": 1, "note": 0}[answer.severity]


@pytest.mark.parametrize("ours", ["openvpn-beside@udp", "openvpn-cluster@udp"])
def test_of_two_units_the_one_that_does_not_fit_is_named(ours: str) -> None:
    """A server that stays the distribution's has a unit of ours, too."""
    units = [UnitFacts(f"{one}.service", enabled=True) for one in (ours, "openvpn-server@udp")]
    facts = changed("server", cluster=False, unit=units[0], stock_unit=units[1])
    found = examine(facts).findings
    (twice,) = [one for one in found if one.kind is DoctorKind.SERVER_UNIT_TWICE]
    wrong = units["beside" in ours]
    assert twice.fix == f"systemctl disable {wrong.name}"


ALONE = set(CASES) - {
    "a server that is prepared",
    "silent standby",
    "vmac",
    "named vmac",
    "no track_file",
}
"""The others bring more with them."""


@pytest.mark.parametrize("case", sorted(ALONE))
def test_one_fault_is_one_finding(case: str) -> None:
    _, facts, _ = CASES[case]
    assert len(examine(facts).findings) == 1


@pytest.mark.parametrize("case", LACKING)
def test_a_check_that_cannot_be_made_says_why(case: str) -> None:
    facts, what = LACKING[case]
    answer = examine(facts)
    assert [one.kind for one in answer.findings] == []
    (lack,) = answer.unmade
    assert lack.what.startswith(what)
    assert lack.why == "no permission"
    assert answer.code == 3


def test_a_finding_weighs_more_than_a_check_that_was_not_made() -> None:
    assert examine(changed("host", clock_kept=UNREAD, reboot="an update wants one")).code == 3
    assert examine(replace(changed(key=UNREAD), sidecar=None)).code == 2


def test_what_is_ignored_does_not_count() -> None:
    facts = changed("host", clock_kept=False)
    assert examine(facts, frozenset({DoctorKind.CLOCK})).code == 0
    assert examine(facts, frozenset({DoctorKind.REBOOT_WANTED})).code == 1


def test_the_worst_comes_first_and_nothing_twice() -> None:
    facts = replace(changed("host", clock_kept=False, reboot="x"), sidecar=None, key=UNREAD)
    facts = replace(facts, firewall_unread=("nftables: x", "nftables: x"))
    answer = examine(facts)
    assert [one.severity.value for one in answer.findings] == ["problem", "warning", "note"]
    assert answer.unmade == (
        Unmade("the cluster key", "no permission"),
        Unmade("nftables: x", "nftables: x"),
    )


def test_what_programs_are_told_is_read_again() -> None:
    answer = examine(replace(changed(sidecar=None), key=UNREAD))
    plain = to_plain(answer)
    assert plain["version"] == 1
    assert plain["findings"][0]["severity"] == "problem"
    assert from_plain(DoctorAnswer, plain) == answer


@pytest.mark.parametrize("case", QUIET)
def test_what_is_well_or_not_known_is_not_blamed(case: str) -> None:
    assert examine(QUIET[case]).findings == ()


def test_one_that_is_grouped_moves_along() -> None:
    both = "vrrp_sync_group both {\n group {\n ovpnha\n lan\n }\n}\n"
    assert examine(split(both)).findings == ()


def test_the_master_gives_its_role_away_first() -> None:
    facts = changed("server", process=ProcessFacts(7, replaced=True))
    (found,) = examine(facts).findings
    assert found.fix == "systemctl restart openvpn-cluster@udp.service"
    master = also(facts, "sidecar", master=True)
    assert examine(master).findings[0].fix.startswith("ovpnha demote")
    nameless = also(facts, "server", unit=None)
    assert examine(nameless).findings[0].fix == "systemctl restart openvpn-cluster@udp"


def test_what_is_left_to_do_is_no_fault() -> None:
    found = examine(PREPARED).findings
    assert [one.kind for one in found] == [DoctorKind.SERVER_PREPARED, DoctorKind.SERVER_PENDING]


def test_a_replaced_program_with_a_spare_is_brought_into_effect_unnoticed() -> None:
    replaced = ProcessFacts(7, replaced=True)
    facts = changed("server", process=replaced, shares=True, spare=SparePolicy.RESTART)
    (found,) = examine(facts).findings
    assert found.fix == "ovpnha restart-openvpn udp: no client notices"
    idle = also(facts, "server", stock_unit=UnitFacts("openvpn-server@udp.service"))
    assert examine(idle).findings[0].fix == found.fix


def test_one_of_another_unit_which_restart_openvpn_refuses_is_restarted_as_ever() -> None:
    replaced = ProcessFacts(7, replaced=True)
    units = {
        "unit": UnitFacts("openvpn-cluster@udp.service"),
        "stock_unit": UnitFacts("openvpn-server@udp.service", active=True, enabled=True),
    }
    facts = changed("server", process=replaced, shares=True, spare=SparePolicy.RESTART, **units)
    found = [one for one in examine(facts).findings if one.kind is DoctorKind.PROGRAM_REPLACED]
    assert [one.fix for one in found] == ["systemctl restart openvpn-server@udp.service"]
