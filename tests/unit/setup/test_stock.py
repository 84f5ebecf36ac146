"""A server whose OpenVPN stays the distribution's: what is proposed, and what is left to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.config import parse_config
from ovpnha.setup.commands import Before, StockUnit, find_return, find_start, note_before
from ovpnha.setup.files import TOML_PATH
from ovpnha.setup.proposal import Proposal, ServerSource, propose
from ovpnha.setup.refusals import is_wrong_family
from ovpnha.setup.server import Server
from ovpnha.setup.stock import find_tcp_port, has_pool
from tests.unit.setup.builders import ANSWERS, SOURCE, TEXT, host, plan, supplies

STOCK = replace(ANSWERS, openvpn="stock")
INSTALLED = frozenset(
    {
        "/usr/lib/systemd/system/openvpn-beside@.service",
        "/usr/sbin/openvpn",
        "/usr/sbin/keepalived",
    }
)
WANTED = """management /run/openvpn-cluster/office.sock unix
management-client-user ovpnha
management-client-group ovpnha
"""
POOL = "ifconfig-pool-persist /var/lib/ovpnha/pool/office 0\n"


def made(text: str = TEXT, vip: str = "192.0.2.10") -> Proposal:
    answers = replace(STOCK, vip=vip)
    where = host(files={SOURCE.path: text}, programs=INSTALLED)
    return propose(plan(answers, where), replace(SOURCE, text=text), where, supplies())


def file(found: Proposal, path: str = SOURCE.path) -> str:
    return next(one.after for one in found.changes if one.path == path)


def read(text: str) -> Server:
    return ServerSource(SOURCE.path, text).read()


def test_the_servers_file_and_ours_agree() -> None:
    found = made()
    assert found.problems == ()
    assert set((WANTED + POOL + "local 192.0.2.10\n").splitlines()) <= set(file(found).splitlines())
    assert "cluster" not in file(found).replace("openvpn-cluster", "").split()
    (one,) = parse_config(file(found, TOML_PATH), "ovpnha.toml", "a").instance
    assert (one.seamless, str(one.pool_file)) == (False, "/var/lib/ovpnha/pool/office")
    assert one.tcp_port is None
    (note,) = found.notes
    assert note.startswith("the distribution's OpenVPN stays (--stock)")


def test_a_second_time_nothing_is_left_to_write() -> None:
    found = made()
    files = {one.path: one.after for one in found.changes}
    where = host(files=files, programs=INSTALLED)
    source = replace(SOURCE, text=files[SOURCE.path])
    assert propose(plan(STOCK, where), source, where, supplies()).changes == ()


@pytest.mark.parametrize("more", ["secret-of-none x\n", "fragment 1300\n", "comp-lzo yes\n"])
def test_what_only_the_patched_openvpn_refuses_is_fine(more: str) -> None:
    assert made(TEXT.replace("udp", "tcp-server") + more).problems == ()


def test_options_that_openvpn_lacks_are_named() -> None:
    (problem,) = made(TEXT + "keysize 256\n").problems
    assert "keysize: OpenVPN 2.6 has no such option" in problem


def test_a_tcp_server_has_its_port_and_needs_no_local_for_several_addresses() -> None:
    text = TEXT.replace("udp", "tcp-server") + "port 443\n"
    found = made(text)
    assert parse_config(file(found, TOML_PATH), "x", "a").instance[0].tcp_port == 443
    found = made("local 192.0.2.10\n" + text, "192.0.2.10 192.0.2.12")
    assert not read(file(found)).has("local")
    assert not read(file(found)).has("multihome")


def test_a_udp_server_for_several_addresses_is_multihome() -> None:
    found = made("local 192.0.2.10\n" + TEXT, "192.0.2.10 192.0.2.12")
    assert read(file(found)).has("multihome")
    assert not read(file(found)).has("local")
    assert not read(file(found)).has("cluster-address")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server 10.8.0.0 255.255.255.0", True),
        ("server 10.8.0.0 255.255.255.0\nduplicate-cn", False),
        ("server 10.8.0.0 255.255.255.0 nopool", False),
        ("server 10.8.0.0 255.255.255.0 nopool\nifconfig-pool 10.8.0.2 10.8.0.9", True),
        ("server-ipv6 fd00::/64", True),
        ("server-bridge 10.8.0.4 255.255.255.0 10.8.0.50 10.8.0.99", True),
        ("server-bridge", False),
        ("mode server", False),
    ],
)
def test_whether_a_pool_file_is_of_use(text: str, expected: bool) -> None:
    """OpenVPN does not start with one that it has no pool for."""
    assert has_pool(read(text)) is expected


def test_without_a_pool_no_file_is_named() -> None:
    found = made(TEXT + "duplicate-cn\n")
    assert "ifconfig-pool-persist" not in file(found)
    assert "pool_file" not in file(found, TOML_PATH)
    assert any("ifconfig-pool-persist: is of no use" in one for one in found.notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proto udp", None),
        ("proto tcp", 1194),
        ("proto tcp6-server\nport 443", 443),
        ("proto tcp\nport 443\nlport 444", 444),
        ("proto tcp\nport https", None),
    ],
)
def test_the_port_of_a_tcp_server(text: str, expected: int | None) -> None:
    assert find_tcp_port(read(text)) == expected


def test_what_somebody_should_know() -> None:
    found = made(TEXT + "management 127.0.0.1 5555\ncrl-verify crl.pem\n")
    notes = "\n".join(found.notes)
    assert "management 127.0.0.1 5555: whatever used it" in notes
    assert "crl-verify: keep them equal" in notes
    where = host(files={SOURCE.path: TEXT}, programs=frozenset())
    found = propose(plan(STOCK, where), SOURCE, where, supplies())
    notes = "\n".join(found.notes)
    assert "openvpn-beside@.service is not installed" in notes
    assert "openvpn is not installed" in notes
    assert found.problems == ()
    where = replace(where, active=frozenset({"openvpn-server@office.service"}))
    assert propose(plan(STOCK, where), SOURCE, where, supplies()).problems == (
        "/usr/sbin/openvpn is not there, which the new unit runs: apt install openvpn",
    )


@pytest.mark.parametrize(
    ("more", "reads"),
    [
        ("", True),
        ("user nobody\n", True),
        ("user nobody\nport 443\n", False),
        ("user nobody\nport https\n", False),
        ("port 443\n", True),
        ("user nobody\nport 443\nlport 1195\n", True),
    ],
)
def test_who_ends_by_a_soft_restart_gets_no_pool_file(more: str, reads: bool) -> None:
    """One that has left root opens no port below 1024 again, and reads no key anew."""
    found = made(TEXT + more)
    server = read(file(found))
    assert server.has("ifconfig-pool-persist") is reads
    assert ("pool_file" in file(found, TOML_PATH)) is reads
    assert any("SIGUSR1" in one for one in found.notes) is not reads
    kept = server.has("persist-key") and server.has("persist-tun")
    assert kept is (reads and "user" in more)


@pytest.mark.parametrize(
    ("proto", "vip", "expected"),
    [
        ("proto udp", "192.0.2.10", "udp"),
        ("proto udp4", "2001:db8::10", "udp6"),
        ("proto tcp4-server", "2001:db8::10", "tcp6-server"),
        ("proto tcp6\nlocal 2001:db8::1", "192.0.2.10", "tcp4"),
        ("proto tcp6", "192.0.2.10", "tcp6"),
        ("proto tcp6-server", "192.0.2.10", "tcp6-server"),
        ("proto udp6", "192.0.2.10", "udp6"),
        ("proto udp", "192.0.2.10 2001:db8::10", "udp6"),
        ("proto tcp-server", "192.0.2.10 2001:db8::10", "tcp6-server"),
        ("proto tcp", "192.0.2.10 192.0.2.12", "tcp"),
        ("proto icmp", "192.0.2.10", "icmp"),
    ],
)
def test_the_socket_is_of_the_family_that_clients_use(proto: str, vip: str, expected: str) -> None:
    found = read(file(made(TEXT.replace("proto udp", proto), vip)))
    assert found.word("proto") == expected
    assert not is_wrong_family(found)


def test_the_way_there_and_back_is_by_a_unit_of_its_own() -> None:
    where = host(files={SOURCE.path: TEXT}, programs=INSTALLED)
    unit = StockUnit("openvpn-server@office.service", enabled=True, active=True)
    chosen = plan(STOCK, where)
    start = list(find_start(chosen, unit, where))
    assert ("systemctl", "start", "openvpn-beside@office", "keepalived") in start
    assert ("systemctl", "disable", "openvpn-server@office.service") in start
    before = note_before(chosen, SOURCE.path, unit, where)
    assert before.beside
    assert Before.from_plain(before.to_plain()) == before
    back = list(find_return(before))
    assert any("openvpn-beside@office" in one for one in back if one[1] == "disable")
    assert not any("openvpn-cluster@" in word for one in (*start, *back) for word in one)
