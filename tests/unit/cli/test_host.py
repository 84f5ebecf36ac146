"""What `ovpnha check-config` says of the host it runs on."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovpnha.cli.lint import lint, lint_http
from ovpnha.config import Config, parse_config
from ovpnha.errors import ConfigError
from ovpnha.runtime.hostcheck import check_host, is_served
from ovpnha.runtime.network import IFF_LOWER_UP, IFF_UP, NetworkTable
from tests.unit.cli.sockets import listening


def table(*addresses: tuple[int, str, int]) -> NetworkTable:
    """eth0 is link 2, bcn0 is link 3."""
    found = NetworkTable()
    for index, name in ((2, "eth0"), (3, "bcn0")):
        attrs = [("IFLA_IFNAME", name)]
        message = {"event": "RTM_NEWLINK", "index": index, "flags": IFF_UP | IFF_LOWER_UP}
        found.apply({**message, "attrs": attrs})
    for index, text, prefix in addresses:
        attrs = [("IFA_LOCAL", text)]
        message = {"event": "RTM_NEWADDR", "index": index, "prefixlen": prefix, "flags": 0}
        found.apply({**message, "family": 2, "attrs": attrs})
    return found


def warnings(config: Path, network: NetworkTable, **changes: str) -> str:
    text = config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    return "\n".join(lint(parsed(text), network))


def parsed(text: str) -> Config:
    return parse_config(text, "f")


def refusals(config: Path, network: NetworkTable, more: str = "", **changes: str) -> str:
    text = config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    try:
        check_host(parsed(text + more), network)
    except ConfigError as error:
        return str(error)
    return ""


VIP_LISTED = """
[node.a.bcn]
mode = "unicast"
links = [{ interface = "bcn0", nodes = ["192.0.2.10", "10.0.0.2"] }]
"""
GOOD = table((2, "192.0.2.1", 24), (3, "10.0.0.1", 24))


def test_nothing_is_odd_about_a_good_host(config: Path) -> None:
    (config.parent / "udp.sock").touch()
    assert not warnings(config, GOOD)
    assert not refusals(config, GOOD)


def test_the_bcn_on_the_client_facing_interface_is_refused(config: Path) -> None:
    network = table((3, "192.0.2.1", 24))
    assert "bcn0 is also the interface that clients of udp reach" in refusals(config, network)
    more = '[node.a.instance.udp]\nvip_interface = "bcn0"\n'
    assert "bcn0 is also the interface" in refusals(config, GOOD, more)
    allowed = "[node.a.bcn]\nshared_with_clients = true\n"
    assert not refusals(config, network, allowed)


def test_a_vip_that_is_the_node_s_own_address_is_refused(config: Path) -> None:
    network = table((2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    assert "192.0.2.10 is this node's own address" in refusals(config, network)
    beside = table((2, "192.0.2.1", 24), (2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    assert not refusals(config, beside)
    assert not refusals(config, network, "[node.a.instance.udp]\nvip_alone = true\n")


def test_a_vip_among_the_bcn_addresses_is_refused(config: Path) -> None:
    found = refusals(config, GOOD, VIP_LISTED)
    assert "instance[udp].vip: 192.0.2.10 is listed in bcn.links nodes" in found


def test_a_broadcast_address_of_somebody_else_is_refused(config: Path) -> None:
    link = '[node.a.bcn]\nlinks = [{{ interface = "bcn0", address = "{}" }}]\n'
    found = refusals(config, GOOD, link.format("8.8.8.8"))
    assert found == (
        "bcn.links: 8.8.8.8 is no broadcast address of bcn0; use 10.0.0.255, or leave it out"
    )
    for fine in ("10.0.0.255", "255.255.255.255"):
        assert not refusals(config, GOOD, link.format(fine))
    assert not refusals(config, table(), link.format("8.8.8.8")), "the interface may still come"


def test_a_second_openvpn_that_is_not_wanted_is_odd(config: Path) -> None:
    """Taken out of the file while it runs: it may be the one that serves."""
    (config.parent / "udp.sock").touch()
    path = config.parent / "udp-spare.sock"
    text = config.read_text() + "[node.a.instance.udp]\n"
    with socket.socket(socket.AF_UNIX) as spare:
        spare.bind(str(path))
        spare.listen()
        found = warnings(config, GOOD)
        assert f"instance[udp].spare: a second OpenVPN of it runs ({path})" in found
        assert "systemctl disable --now openvpn-cluster-spare@udp;" in found
        named = 'server_config = "/etc/openvpn/server/office.conf"\n'
        assert "spare@office;" in "\n".join(lint(parsed(text + named), GOOD))
        assert not list(lint(parsed(text + 'spare = "restart"\n'), GOOD))
    assert not warnings(config, GOOD)


@pytest.mark.parametrize(
    ("options", "blamed"),
    [("cluster\n", True), ("cluster\ncluster-spare\n", False), ("proto udp\n", False)],
)
def test_a_server_that_shares_with_no_second_one_is_odd(
    config: Path, options: str, blamed: bool
) -> None:
    (config.parent / "udp.sock").touch()
    server = config.parent / "udp.conf"
    server.write_text(options)
    text = config.read_text()
    named = f'[node.a.instance.udp]\nserver_config = "{server}"\n'
    assert not list(lint(parsed(text + named), GOOD))
    found = "\n".join(lint(parsed(text + named + 'spare = "always"\n'), GOOD))
    assert ("does not say cluster-spare" in found) is blamed
    server.unlink()
    server.mkdir()
    assert not list(lint(parsed(text + named + 'spare = "always"\n'), GOOD))


def test_a_track_file_that_is_something_else_is_refused(config: Path) -> None:
    path = config.parent / "udp.grade"
    more = f'[node.a.instance.udp]\ntrack_file = "{path}"\n'
    path.write_text("-254\n")
    assert not refusals(config, GOOD, more)
    path.write_text("secret\n")
    assert "udp.grade holds something else than a grade" in refusals(config, GOOD, more)
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in refusals(config, GOOD, more)


def test_another_name_of_the_key_file_is_refused(config: Path) -> None:
    path = config.parent / "udp.grade"
    path.symlink_to(parsed(config.read_text()).cluster.key_file)
    more = f'[node.a.instance.udp]\ntrack_file = "{path}"\n'
    assert "udp.grade is cluster.key_file" in refusals(config, GOOD, more)


def test_a_vip_interface_without_an_address_of_its_own_is_odd(config: Path) -> None:
    (config.parent / "udp.sock").touch()
    text = config.read_text() + '[node.a.instance.udp]\nvip_interface = "eth0"\n'
    network = table((3, "10.0.0.1", 24))
    assert "set vip_alone = true" in "\n".join(lint(parsed(text), network))
    assert not list(lint(parsed(text + "vip_alone = true\n"), network))


def test_missing_interfaces_are_odd_a_missing_directory_is_refused(config: Path) -> None:
    network = table((2, "192.0.2.1", 24))
    text = config.read_text() + '[node.a.instance.udp]\nvip_interface = "eth7"\n'
    text = text.replace('vip = "192', 'track_file = "/run/oha-none/udp.grade"\nvip = "192').replace(
        '"bcn0"', '"bcn7"'
    )
    found = "\n".join(lint(parsed(text), network))
    assert "interface bcn7 is missing on this host" in found
    assert "instance[udp].vip_interface: interface eth7 is missing" in found
    with pytest.raises(ConfigError, match="there is no directory /run/oha-none; make it"):
        check_host(parsed(text), network)


def test_a_management_socket_that_is_not_there_is_odd(config: Path) -> None:
    path = config.parent / "udp.sock"
    assert f"OpenVPN does not run yet, or its configuration does not say: management {path}" in (
        warnings(config, GOOD)
    )
    nowhere = warnings(config, GOOD, **{f"{path}": "/run/oha-none/udp.sock"})
    assert "instance[udp].management: there is no directory /run/oha-none" in nowhere


def test_a_management_socket_out_of_reach_is_odd(config: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    text = config.read_text().replace(f"{config.parent}/control.sock", "/run/control.sock")
    checked = parsed(text)
    config.parent.chmod(0o700)
    os.seteuid(12345)
    try:
        found = list(lint(checked, GOOD))
    finally:
        os.seteuid(0)
    assert any("this user may not look into" in one for one in found)


def test_a_conntrackd_that_is_not_there_is_odd(config: Path, tmp_path: Path) -> None:
    socket = tmp_path / "conntrackd.ctl"
    more = f'[conntrack]\nflows = ["10.8.0.0/24"]\nsocket = "{socket}"\n'

    def found(manager: str) -> str:
        text = config.read_text() + f'{more}manager = "{manager}"\n'
        return "\n".join(lint(parsed(text), GOOD))

    assert "conntrack.socket" not in found("none")
    assert f"conntrack.socket: there is no {socket}" in found("conntrackd")
    socket.touch()
    assert "conntrack.socket" not in found("conntrackd")


def test_a_bcn_interface_without_an_address_is_odd(config: Path) -> None:
    assert "has no IPv4 address to broadcast from" in warnings(config, table())


def http_warning(config: Path, listen: str) -> str:
    more = f'[http]\nlisten = "{listen}"\n'
    return "\n".join(lint_http(parsed(config.read_text() + more)))


def test_an_http_port_that_is_free_or_switched_off_is_not_odd(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        free = one.getsockname()[1]
    assert http_warning(config, f"127.0.0.1:{free}") == http_warning(config, "") == ""


def test_an_http_address_of_another_host_is_odd(config: Path) -> None:
    assert "192.0.2.77:9594: this host has no such address" in http_warning(
        config, "192.0.2.77:9594"
    )


class Answering(http.server.BaseHTTPRequestHandler):
    """Somebody on the HTTP port: a daemon of this name and boot, or a program of another kind."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An HTTP server on a port of its own that always says this."""
    handler = type("Handler", (Answering,), {"body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        (b'{"node": "a", "boot": "00ff"}', False),
        (b'{"node": "a", "boot": "0123"}', True),
        (b"<html>", True),
        (b"[1]", True),
    ],
)
@pytest.mark.usefixtures("daemon")
def test_an_http_port_that_another_program_has_is_a_warning(
    config: Path, body: bytes, warned: bool
) -> None:
    with answering(body) as listen:
        assert ("another program has this port" in http_warning(config, listen)) is warned


def test_a_daemon_that_may_not_be_asked_is_known_by_its_node(config: Path) -> None:
    with answering(b'{"node": "a", "boot": "00ff"}') as listen:
        assert "another program" in http_warning(config, listen)
        (config.parent / "control.sock").touch()  # somebody is there, and does not answer us
        assert not http_warning(config, listen)


def test_a_server_that_runs_is_not_left_for_the_addresses_of_a_moment(config: Path) -> None:
    """Its own may be away because a lease is renewed, and clients would have no copy meanwhile."""
    away = table((2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    (line,) = check_host(parsed(config.read_text()), away, served=True)
    assert "192.0.2.10 is this node's own address" in line
    with pytest.raises(ConfigError, match="is listed in bcn"):
        check_host(parsed(config.read_text() + VIP_LISTED), away, served=True)


def test_it_runs_when_somebody_listens_at_one_of_its_sockets(config: Path) -> None:
    checked = parsed(config.read_text())
    assert not is_served(checked)
    with listening(checked.instance[0].spare_socket):
        assert is_served(checked)
    with listening(checked.instance[0].management):
        assert is_served(checked)


def test_several_vips_are_each_looked_at(config: Path) -> None:
    both = {'"192.0.2.10"': '["192.0.2.10", "2001:db8::10"]'}
    own = table((2, "192.0.2.10", 24), (2, "192.0.2.1", 24), (2, "2001:db8::10", 64))
    (line,) = refusals(config, own, **both).splitlines()
    assert "vip: 2001:db8::10 is this node's own address, the only one of its" in line
    beside = table((2, "2001:db8::10", 64), (2, "fe80::1", 64), (2, "192.0.2.1", 24))
    assert not refusals(config, beside, **both)
    near = table((3, "2001:db8::1", 64), (2, "192.0.2.1", 24))
    assert "bcn0 is also the interface that clients of udp reach" in refusals(config, near, **both)
    placed = {"[control]": 'vip_interface = "eth0"\n[control]'}
    assert "eth0 has no address of its own" in warnings(config, GOOD, **both, **placed)
    assert "eth0 has no address of its own" not in warnings(config, GOOD, **placed)
