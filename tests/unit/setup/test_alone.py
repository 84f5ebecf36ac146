"""A server without any other node, and its second process: what `ovpnha init --alone` proposes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.config import parse_config
from ovpnha.machines import SparePolicy
from ovpnha.setup.alone import UNITS, propose_alone, render_alone
from ovpnha.setup.commands import (
    KEEPALIVED_UNIT,
    Before,
    StockUnit,
    find_reload_alone,
    find_return,
    find_start_alone,
    note_before,
    note_before_alone,
)
from ovpnha.setup.files import TOML_PATH
from ovpnha.setup.host import Host
from ovpnha.setup.proposal import ServerSource
from tests.unit.setup.builders import SOURCE, TEXT, host, plan, supplies

LOCAL = replace(SOURCE, text=f"local 192.0.2.1\n{TEXT}")
STOCK = StockUnit("openvpn-server@office.service", enabled=True, active=True)
READY = frozenset(f"/usr/lib/systemd/system/{one}" for one in UNITS)


def here(source: ServerSource = LOCAL, **changes: object) -> Host:
    return host(**{"programs": READY, "files": {source.path: source.text}, **changes})


def test_two_files_are_all() -> None:
    found = propose_alone(LOCAL, here(), supplies())
    assert (found.problems, found.notes) == ((), ())
    toml, server = found.changes
    assert (toml.path, toml.after) == (TOML_PATH, render_alone("office"))
    assert server.path == LOCAL.path
    for line in ("cluster", "cluster-spare", "disable-dco", "local 192.0.2.1"):
        assert f"{line}\n" in server.after
    assert "management /run/openvpn-cluster/office.sock unix\n" in server.after


def test_what_is_proposed_is_a_configuration_of_a_server_with_a_spare() -> None:
    config = parse_config(render_alone("office"), TOML_PATH, "a")
    assert config.cluster.alone
    assert config.spare_of(config.instance[0]) is SparePolicy.ALWAYS


def test_who_has_it_all_gets_no_change() -> None:
    first = propose_alone(LOCAL, here(), supplies())
    files = {one.path: one.after for one in first.changes}
    known = supplies(bases={TOML_PATH: None, LOCAL.path: LOCAL.text})
    assert propose_alone(LOCAL, here(files=files), known).changes == ()


def test_what_somebody_has_changed_in_it_stays() -> None:
    first = propose_alone(LOCAL, here(), supplies())
    files = {one.path: one.after for one in first.changes}
    files[LOCAL.path] += "verb 4\n"
    known = supplies(bases={TOML_PATH: None}, edited=frozenset({LOCAL.path}))
    found = propose_alone(LOCAL, here(files=files), known)
    assert [one for one in found.changes if one.path == LOCAL.path] == []
    assert not found.problems


def test_a_server_of_the_older_directory_goes_where_the_unit_reads_it() -> None:
    old = ServerSource("/etc/openvpn/office.conf", LOCAL.text)
    _, server = propose_alone(old, here(old), supplies()).changes
    assert server.path == "/etc/openvpn/server/office.conf"
    assert server.after.startswith("cd /etc/openvpn\nlocal 192.0.2.1\n")
    [there] = [one for one in propose_alone(LOCAL, here(), supplies()).changes if one.before]
    assert there.after.startswith("local 192.0.2.1\n")


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        (SOURCE, {}, "local: is not there; add `local ADDRESS`"),
        (replace(LOCAL, text=LOCAL.text.replace("udp", "tcp-server")), {}, "TCP connections end"),
        (replace(LOCAL, text="<ca>\n"), {}, "<ca> has no end"),
        (LOCAL, {"has_user": False}, "there is no user ovpnha"),
        (LOCAL, {"files": {TOML_PATH: "x"}}, "was not made by init"),
        (LOCAL, {"linked": frozenset({LOCAL.path})}, "has another name (a hard link)"),
    ],
)
def test_what_stands_against_it(
    source: ServerSource, changes: dict[str, object], words: str
) -> None:
    found = propose_alone(source, here(source, **changes), supplies())
    assert any(words in one for one in found.problems)


def test_several_addresses_need_no_local() -> None:
    source = replace(SOURCE, text=f"cluster-address 192.0.2.1\n{TEXT}")
    found = propose_alone(source, here(source), supplies())
    assert not any("local: is not there" in one for one in found.problems)


def test_a_package_that_is_missing_is_told() -> None:
    assert len(propose_alone(LOCAL, here(programs=frozenset()), supplies()).notes) == 2


def test_the_stock_server_says_goodbye_and_both_processes_start() -> None:
    words = [" ".join(one) for one in find_start_alone("office", STOCK, host())]
    assert words[:2] == [
        "systemctl enable --now ovpnha",
        "systemctl enable openvpn-cluster@office openvpn-cluster-spare@office",
    ]
    assert "systemctl stop --no-block openvpn-server@office" in words[3]
    assert words[-2:] == [
        "systemctl start openvpn-cluster@office openvpn-cluster-spare@office",
        "systemctl disable openvpn-server@office.service",
    ]


def test_debians_generator_does_not_start_it_again() -> None:
    stock = StockUnit("openvpn@office.service")
    *_, last = find_start_alone("office", stock, host())
    assert last == ("systemctl", "mask", stock.name)
    masked = host(masked=frozenset({stock.name}))
    assert ("systemctl", "mask", stock.name) not in find_start_alone("office", stock, masked)


def test_what_runs_takes_up_what_was_written_and_no_client_notices() -> None:
    cluster = "openvpn-cluster@office.service"
    runs = host(active=frozenset({"ovpnha.service", cluster}))
    changed = {TOML_PATH, LOCAL.path}
    assert list(find_reload_alone("office", runs, changed)) == [
        ("systemctl", "restart", "ovpnha"),
        ("ovpnha", "restart-openvpn", "--force", "office"),
    ]
    spare = host(active=frozenset({"openvpn-cluster-spare@office.service"}))
    assert list(find_reload_alone("office", spare, changed)) == [
        ("ovpnha", "restart-openvpn", "--force", "office"),
    ]
    assert list(find_reload_alone("office", runs, set())) == []
    assert list(find_reload_alone("office", host(), changed)) == []


@pytest.mark.parametrize(("enabled", "active"), [(False, False), (True, False), (False, True)])
def test_how_the_host_was_is_noted_as_it_was(*, enabled: bool, active: bool) -> None:
    units = frozenset({KEEPALIVED_UNIT})
    where = host(enabled=units if enabled else frozenset(), active=units if active else frozenset())
    before = note_before_alone("office", LOCAL.path, STOCK, where)
    assert before.keepalived == StockUnit(KEEPALIVED_UNIT, enabled, active)
    assert note_before(plan(), "", STOCK, where).keepalived == before.keepalived


def test_on_the_way_back_the_second_process_ends_first() -> None:
    """Else it would go on in the place of the first."""
    before = note_before_alone("office", LOCAL.path, STOCK, host(masked=frozenset({STOCK.name})))
    assert Before.from_plain(before.to_plain()) == before
    assert (before.addresses, before.masked) == ((), (STOCK.name,))
    first, *rest = find_return(before, managed=False)
    assert first == ("systemctl", "disable", "--now", "openvpn-cluster-spare@office")
    assert ("systemctl", "start", STOCK.name) in rest
    earlier = {key: value for key, value in before.to_plain().items() if key != "spare"}
    assert not Before.from_plain(earlier).spare
