"""Where a finding begins: on this side of each bound something is told, on the other nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.doctor.examine import examine
from ovpnha.doctor.facts import CertificateFacts, Facts, LinkFacts
from ovpnha.doctor.kinds import DoctorKind
from ovpnha.doctor.versions import is_older
from tests.unit.doctor.good import DAY, NOW, OTHER, also, changed, keepalived, server_with


def told(facts: Facts) -> dict[DoctorKind, str]:
    return {one.kind: one.what for one in examine(facts).findings}


def certificate(role: str, begins: float, ends: float | None) -> Facts:
    found = CertificateFacts(role, "x.crt", "x", begins, ends, key_fits=True)
    return changed("server", certificates=(found,))


@pytest.mark.parametrize("role", ["certificate", "ca", "crl"])
@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (-1.0, DoctorKind.CERTIFICATE_ENDED),
        (0.0, DoctorKind.CERTIFICATE_ENDED),
        (1.0, DoctorKind.CERTIFICATE_ENDS_SOON),
        (7 * DAY, DoctorKind.CERTIFICATE_ENDS_SOON),
    ],
)
def test_the_end_of_a_certificate(role: str, before: float, kind: DoctorKind) -> None:
    assert set(told(certificate(role, 0.0, NOW + before))) == {kind}


@pytest.mark.parametrize(("role", "days"), [("certificate", 30), ("ca", 30), ("crl", 7)])
def test_an_end_is_told_of_a_month_before_and_that_of_a_list_a_week(role: str, days: int) -> None:
    ends = NOW + days * DAY
    ((kind, words),) = told(certificate(role, 0.0, ends)).items()
    assert kind is DoctorKind.CERTIFICATE_ENDS_SOON
    assert f"ends in {days} days" in words
    assert told(certificate(role, 0.0, ends + 1.0)) == {}


def test_a_certificate_is_valid_from_its_first_moment() -> None:
    assert told(certificate("ca", NOW, None)) == {}
    assert set(told(certificate("ca", NOW + 1.0, None))) == {DoctorKind.CERTIFICATE_NOT_YET}


@pytest.mark.parametrize(
    ("version", "least"), [(4, 1228), (6, 1248)], ids=["IPv4 and UDP", "IPv6 and UDP"]
)
def test_a_link_carries_1200_bytes_and_what_is_before_them(version: int, least: int) -> None:
    def with_mtu(mtu: int) -> Facts:
        return changed(
            links=(LinkFacts("bcn0", mtu, 5, 6, 0, 1.2),),
            configuration=changed("configuration", bcn_version=version).configuration,
        )

    assert told(with_mtu(least)) == {}
    assert told(with_mtu(least - 1)) == {
        DoctorKind.LINK_MTU: f"bcn0 has an MTU of {least - 1}, and datagrams of the BCN need"
        f" {least}"
    }


def test_one_broken_packet_on_a_link_is_told() -> None:
    found = told(changed(links=(LinkFacts("bcn0", 1500, 5, 6, 1, 1.2),)))
    assert found == {
        DoctorKind.LINK_ERRORS: "bcn0 has dropped or broken 1 packets within 1.2 s",
    }


@pytest.mark.parametrize("mode", [0o661, 0o662, 0o664])
def test_any_right_of_others_on_a_socket_is_told(mode: int) -> None:
    assert set(told(changed("socket", mode=mode))) == {DoctorKind.MANAGEMENT_MODE}
    assert set(told(changed("host", control={"/c": mode}))) == {DoctorKind.CONTROL_MODE}


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o770])
def test_those_of_the_owner_and_the_group_are_not(mode: int) -> None:
    assert told(changed("socket", mode=mode)) == {}
    assert told(changed("host", control={"/c": mode})) == {}


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        (0o755, set()),
        (0o775, set()),
        (0o1777, set()),
        (0o777, {DoctorKind.DIRECTORY_MODE}),
        (0o2777, {DoctorKind.DIRECTORY_MODE}),
        (0o702, {DoctorKind.DIRECTORY_MODE}),
    ],
)
def test_who_may_write_into_a_directory(mode: int, kinds: set[DoctorKind]) -> None:
    assert set(told(changed("host", directories={"/d": mode}))) == kinds


@pytest.mark.parametrize(
    ("version", "name"), [(4, "net.ipv4.ip_forward"), (6, "net.ipv6.conf.all.forwarding")]
)
@pytest.mark.parametrize(
    ("value", "count"), [({}, 0), ({"": 0}, 0), (0, 1), (1, 0), (2, 0)], ids=str
)
def test_forwarding_of_the_versions_that_tunnels_have(
    version: int, name: str, value: int | dict[str, int], count: int
) -> None:
    tunables = value if isinstance(value, dict) else {name: value}
    facts = changed("host", tunables=tunables, tunnel_versions=frozenset({version}))
    assert [*told(facts)] == [DoctorKind.FORWARDING] * count


def test_connection_tracking_is_full_beyond_four_fifths() -> None:
    assert told(changed("host", tracked=80, tracked_limit=100)) == {}
    found = examine(changed("host", tracked=81, tracked_limit=100)).findings
    assert [one.kind for one in found] == [DoctorKind.CONNTRACK_FULL]
    assert "has 81 of 100 entries" in found[0].what
    assert "nf_conntrack_max=200," in found[0].fix


@pytest.mark.parametrize(
    ("tracked", "limit"), [(None, 100), (100, None), (100, 0)], ids=["count", "limit", "no limit"]
)
def test_a_table_that_is_not_known_is_not_full(tracked: int | None, limit: int | None) -> None:
    assert told(changed("host", tracked=tracked, tracked_limit=limit)) == {}


@pytest.mark.parametrize(
    ("priority", "count"), [("0", 1), ("1", 0), ("134", 0), ("135", 1), ("x", 1)]
)
def test_a_priority_leaves_room_for_the_grade(priority: str, count: int) -> None:
    facts = keepalived("priority 100", f"priority {priority}")
    assert [*told(facts)] == [DoctorKind.KEEPALIVED_PRIORITY] * count


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (None, "is built on 2.6.14-0+deb12u2, and"),
        (NOW - 40 * DAY, "is built on 2.6.14-0+deb12u2, 40 days old, and"),
        (NOW + DAY, "is built on 2.6.14-0+deb12u2, 0 days old, and"),
    ],
    ids=["not known", "forty days", "a clock that is wrong"],
)
def test_how_old_the_source_is(built: float | None, words: str) -> None:
    facts = changed("packages", built_from_date=built, available=("2.6.14-0+deb12u3",))
    found = told(facts)
    assert set(found) == {DoctorKind.PACKAGE_OUTDATED}
    assert words in found[DoctorKind.PACKAGE_OUTDATED]


@pytest.mark.parametrize(
    ("system", "machine", "count"),
    [
        ("", "", 0),
        ("", "armv7l", 0),
        ("debian 12", "x86_64", 0),
        ("debian 12", "aarch64", 1),
        ("debian 11", "x86_64", 1),
    ],
)
def test_what_was_never_tried(system: str, machine: str, count: int) -> None:
    facts = changed("host", system=system, machine=machine)
    assert [*told(facts)] == [DoctorKind.PLATFORM_UNTRIED] * count


@pytest.mark.parametrize(("value", "ends"), [(0, True), (1, False)])
def test_a_server_beside_ends_on_a_standby_unless_it_may_bind_what_is_not_there(
    value: int, ends: bool
) -> None:
    facts = also(server_with(OTHER), "host", tunables={"net.ipv4.ip_nonlocal_bind": value})
    words = told(facts)[DoctorKind.TCP_BESIDE]
    assert words.endswith("Cannot assign requested address") is ends


@pytest.mark.parametrize(
    ("one", "other"), [("2", "3-1"), ("2", "1:1"), ("x:9", "1:1"), ("1:9", "2:1"), ("9", "10")]
)
def test_only_a_number_before_a_colon_is_an_epoch(one: str, other: str) -> None:
    assert is_older(one, other)
    assert not is_older(other, one)


@pytest.mark.parametrize(
    ("cluster", "instance", "count"), [(True, "", 1), (False, "tcp", 1), (False, "", 0)]
)
def test_whose_options_are_looked_at(cluster: bool, instance: str, count: int) -> None:
    other = replace(OTHER, cluster=cluster, instance=instance, local="", user="nobody")
    kinds = [one.kind for one in examine(server_with(other)).findings]
    assert kinds.count(DoctorKind.USER_GIVEN_UP) == count
