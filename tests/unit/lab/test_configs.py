"""What the lab hands to OpenVPN and keepalived is what users are told to write."""

from __future__ import annotations

from pathlib import Path

from tests.lab.keepalived import SOURCE, Keepalived
from tests.lab.openvpn import IPV4, IPV6, client_config, server_config
from tests.lab.vip_manager import ManagedNode

PKI = Path("/pki")


def server(*, cluster: bool) -> list[str]:
    text = server_config(PKI, keepalive="10 60", transport=IPV4, cluster=cluster)
    return text.splitlines()


def test_only_two_lines_make_a_server_one_of_a_cluster() -> None:
    more = set(server(cluster=True)) - set(server(cluster=False))
    assert more == {"cluster", "management openvpn.sock unix"}


def test_a_server_is_bound_to_the_vip_and_wraps_its_control_channel() -> None:
    lines = server(cluster=True)
    assert f"local {IPV4.address}" in lines
    assert "tls-crypt /pki/tls-crypt.key" in lines
    assert "keepalive 10 60" in lines


def test_a_client_knows_nothing_of_clusters() -> None:
    text = client_config(PKI, "client", IPV6, ["dev tun0"])
    assert f"remote {IPV6.address} 1194 udp6" in text
    assert "cluster" not in text
    assert "verb 4" in text.splitlines()


def make(tmp_path: Path, *, seamless: bool) -> str:
    grade_file, pid_file = tmp_path / "grade", tmp_path / "pid"
    Keepalived(ManagedNode("a", "none", tmp_path, grade_file, pid_file, seamless=seamless))
    return (tmp_path / "keepalived" / "keepalived.conf").read_text()


def test_a_cluster_runs_the_file_that_users_start_from(tmp_path: Path) -> None:
    assert make(tmp_path, seamless=True) == (SOURCE / "keepalived.conf").read_text()


def test_the_lab_defines_every_value_of_the_example(tmp_path: Path) -> None:
    make(tmp_path, seamless=True)
    assert variables(tmp_path / "keepalived" / "node.conf") >= variables(SOURCE / "node.conf")


def test_the_control_run_knows_no_grade(tmp_path: Path) -> None:
    assert "track_file" not in make(tmp_path, seamless=False)


def variables(path: Path) -> set[str]:
    return {line.partition("=")[0] for line in path.read_text().splitlines() if line[:1] == "$"}
