"""What doctor reads of files: certificates, keepalived's configuration, OpenVPN's, the key."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ovpnha.config import parse_config
from ovpnha.doctor.facts import CertificateFacts, KeyFacts, ServerFacts, UnitFacts, Unread
from ovpnha.doctor.keepalived import KeepalivedBlock
from ovpnha.machines import SparePolicy
from ovpnha.runtime import hostservers
from ovpnha.runtime.hostcertificates import read_certificates
from ovpnha.runtime.hostkeepalived import read_keepalived
from ovpnha.runtime.hostservers import (
    ServerFile,
    SidecarUser,
    list_server_files,
    read_servers,
)
from ovpnha.runtime.hostsidecar import read_key
from ovpnha.runtime.serverfile import read_server
from tests.lab.pki import Pki

NOBODY = SidecarUser(65534)
TOML = """
[cluster]
name = "c"
node = "a"
[bcn]
links = [{{ interface = "bcn0" }}]
[[instance]]
name = "udp"
management = "{home}/udp.sock"
server_config = "{home}/udp.conf"
track_file = "{home}/udp.grade"
vip = "192.0.2.10"
"""


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    found = Pki(tmp_path / "pki")
    found.issue("server", server=True)
    found.issue("other", server=True)
    return found


def certificates(directory: Path, text: str) -> list[CertificateFacts | Unread]:
    path = directory / "udp.conf"
    path.write_text(text)
    return list(read_certificates(read_server(path)))


FILES = "ca pki/ca.crt\ncert pki/{}.crt\nkey pki/{}.key\n"


def test_the_certificates_of_a_server(pki: Pki, tmp_path: Path) -> None:
    found = certificates(tmp_path, FILES.format("server", "server"))
    mine, ca = (one for one in found if isinstance(one, CertificateFacts))
    assert (mine.role, mine.subject, mine.key_fits) == ("certificate", "server", True)
    assert mine.where == str(pki.directory / "server.crt")
    assert (ca.role, ca.subject, ca.key_fits) == ("ca", "ovpnha lab CA", None)
    assert mine.ends is not None
    assert mine.begins < datetime.now(UTC).timestamp() < mine.ends


@pytest.mark.usefixtures("pki")
def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    mine = certificates(tmp_path, FILES.format("server", "other"))[0]
    assert isinstance(mine, CertificateFacts)
    assert mine.key_fits is False


def test_a_key_that_cannot_be_looked_at(pki: Pki, tmp_path: Path) -> None:
    for key in ("missing", "locked"):
        (pki.directory / "locked.key").write_text("-----BEGIN X-----\n")
        mine = certificates(tmp_path, FILES.format("server", key))[0]
        assert isinstance(mine, CertificateFacts)
        assert mine.key_fits is None
    (mine,) = certificates(tmp_path, "cert pki/server.crt\n")
    assert isinstance(mine, CertificateFacts)
    assert mine.key_fits is None


def test_what_stands_in_the_file_itself(pki: Pki, tmp_path: Path) -> None:
    directory = pki.directory
    blocks = [
        f"<{name}>\n{(directory / file).read_text()}</{name}>\n"
        for name, file in (("cert", "server.crt"), ("key", "server.key"))
    ]
    (mine,) = certificates(tmp_path, "".join(blocks))
    assert isinstance(mine, CertificateFacts)
    assert (mine.where, mine.key_fits) == (f"<cert> in {tmp_path}/udp.conf", True)


def test_what_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    text = "pkcs12 p\ncert x\nca none\ncrl-verify x\n"
    whys = [one.why for one in certificates(tmp_path, text) if isinstance(one, Unread)]
    assert len(whys) == 4
    assert "pkcs12" in whys[0]
    assert "none: No such file" in whys[2]


def test_a_list_of_the_revoked(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "o\n")])
    builder = x509.CertificateRevocationListBuilder(issuer, now, now + timedelta(days=1))
    crl = builder.sign(key, hashes.SHA256())
    (tmp_path / "crl").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    (found,) = certificates(tmp_path, "crl-verify crl\n")
    assert isinstance(found, CertificateFacts)
    assert (found.role, found.ends) == ("crl", (now + timedelta(days=1)).timestamp())
    assert found.subject.isprintable()
    assert certificates(tmp_path, "crl-verify crl dir\n") == []


def test_keys_that_others_may_read(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "udp.conf"
    path.write_text("server 10.8.0.0 255.255.255.0\nkey pki/server.key\ntls-auth [inline]\n")
    key = pki.directory / "server.key"
    key.chmod(0o640)
    files = (ServerFile(path),)
    (found,) = read_servers(files, {}, NOBODY, 10.0)
    assert isinstance(found, ServerFacts)
    assert found.open_keys == ()
    key.chmod(0o644)
    (found,) = read_servers(files, {}, NOBODY, 10.0)
    assert isinstance(found, ServerFacts)
    assert found.open_keys == (str(key),)


# keepalived.


def test_keepalived_s_files_with_what_they_include(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    (tmp_path / "a.conf").write_text("$P=7\ninclude keepalived.conf\n")
    (tmp_path / "b.conf").write_text('vrrp_script s {\n script "/none/x y"\n}\n')
    path.write_text("include ?.conf\nvrrp_instance v {\n priority $P\n}\n")
    found = read_keepalived(path, None, 10.0)
    assert found.blocks == (
        KeepalivedBlock(("vrrp_script", "s"), (KeepalivedBlock(("script", "/none/x y")),)),
        KeepalivedBlock(("vrrp_instance", "v"), (KeepalivedBlock(("priority", "7")),)),
    )
    assert found.scripts == {"/none/x": "it cannot be found: No such file or directory"}
    assert not isinstance(found.tested, Unread)
    assert found.tested


def test_keepalived_s_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    assert read_keepalived(path, None, 10.0).blocks is None
    path.write_text("include gone.conf\n")
    found = read_keepalived(path, None, 10.0).blocks
    assert isinstance(found, Unread)
    assert "gone.conf is included, and not there" in found.why
    path.unlink()
    path.mkdir()
    found = read_keepalived(path, None, 10.0).blocks
    assert isinstance(found, Unread)
    assert "Is a directory" in found.why


@pytest.mark.parametrize(
    ("bits", "wrong"), [(0o755, ""), (0o644, "not executable"), (0o777, "others than root")]
)
def test_a_script_that_keepalived_is_to_run(tmp_path: Path, bits: int, wrong: str) -> None:
    script = tmp_path / "check-grade"
    script.touch()
    script.chmod(bits)
    path = tmp_path / "keepalived.conf"
    path.write_text(f"vrrp_script s {{\n script {script}\n}}\n")
    (said,) = read_keepalived(path, None, 10.0).scripts.values()
    assert (wrong in said) if wrong else (said == "")


# OpenVPN's files.


def test_servers_are_found_where_debian_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(TOML.format(home=tmp_path), "f")
    server = tmp_path / "server"
    server.mkdir()
    monkeypatch.setattr(hostservers, "DEFAULT_DIRECTORY", server)
    monkeypatch.setattr(hostservers, "STOCK_UNITS", {server: "openvpn-server@"})
    (tmp_path / "udp.conf").write_text("cluster\nlocal 192.0.2.10\nuser nobody\n")
    (server / "tcp.conf").write_text("server 10.9.0.0 255.255.255.0\nproto tcp-server\n")
    (server / "client.conf").write_text("client\n")
    files = list_server_files(config)
    assert [one.path.name for one in files] == ["udp.conf", "client.conf", "tcp.conf"]
    assert (files[0].our_unit, files[0].stock_unit) == ("", "")
    assert files[2].our_unit == "openvpn-cluster@tcp.service"
    assert files[2].stock_unit == "openvpn-server@tcp.service"
    stock = config.instance[0].model_copy(update={"seamless": False})
    beside = replace(files[2], instance=stock)
    assert beside.our_unit == "openvpn-beside@tcp.service"
    assert (files[0].spare_unit, files[2].spare_unit) == ("", "openvpn-cluster-spare@tcp.service")
    udp, tcp = read_servers(files, {}, NOBODY, 10.0)
    assert isinstance(udp, ServerFacts)
    assert isinstance(tcp, ServerFacts)
    assert (udp.instance, udp.cluster, udp.user, udp.tcp) == ("udp", True, "nobody", False)
    assert (tcp.instance, tcp.cluster, tcp.tcp, tcp.socket) == ("", False, True, None)
    assert udp.socket is not None
    assert udp.socket.mode is None


def test_a_second_process_has_a_unit_and_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TOML.format(home=tmp_path).replace("[[instance]]\n", '[[instance]]\nspare = "always"\n')
    monkeypatch.setattr(hostservers, "DEFAULT_DIRECTORY", tmp_path)
    (tmp_path / "udp.conf").write_text("cluster\ncluster-spare\n")
    (tmp_path / "udp-spare.sock").touch(0o600)
    files = list_server_files(parse_config(text, "f"))[:1]
    unit = UnitFacts("openvpn-cluster-spare@udp.service", active=True, pid=os.getpid())
    (found,) = read_servers(files, {unit.name: unit}, SidecarUser(0), 10.0)
    assert isinstance(found, ServerFacts)
    assert (found.spare, found.shares, found.spare_unit) == (SparePolicy.ALWAYS, True, unit)
    assert found.spare_process is not None
    assert found.spare_process.pid == os.getpid()
    assert found.spare_socket is not None
    assert found.spare_socket.path == str(tmp_path / "udp-spare.sock")


def test_a_server_s_file_that_cannot_be_read(tmp_path: Path) -> None:
    (found,) = read_servers((ServerFile(tmp_path),), {}, NOBODY, 10.0)
    assert isinstance(found, Unread)
    assert "Is a directory" in found.why


@pytest.mark.parametrize(
    ("line", "file"), [("ipp.txt", "ipp.txt"), ("ipp.txt 60", "ipp.txt"), ("/x/pool 0", "")]
)
def test_the_pool_file_that_a_server_writes_itself(tmp_path: Path, line: str, file: str) -> None:
    path = tmp_path / "udp.conf"
    path.write_text(f"server 10.8.0.0 255.255.255.0\nifconfig-pool-persist {line}\n")
    (found,) = read_servers((ServerFile(path),), {}, NOBODY, 10.0)
    assert isinstance(found, ServerFacts)
    assert found.pool_file == file


@pytest.mark.parametrize(("bits", "reachable"), [(0o660, False), (0o666, True)])
def test_whether_the_sidecar_s_user_may_open_a_socket(
    tmp_path: Path, bits: int, reachable: bool
) -> None:
    config = parse_config(TOML.format(home=tmp_path), "f")
    for one in (tmp_path, *tmp_path.parents[:-2]):
        one.chmod(0o755)
    (tmp_path / "udp.conf").write_text("cluster\n")
    (tmp_path / "udp.grade.openvpn").write_text(f"{os.getpid()} 192.0.2.10\n")
    (tmp_path / "udp.sock").touch()
    (tmp_path / "udp.sock").chmod(bits)
    found, *_ = read_servers(list_server_files(config)[:1], {}, NOBODY, 10.0)
    assert isinstance(found, ServerFacts)
    assert found.socket is not None
    assert (found.socket.mode, found.socket.reachable) == (bits, reachable)
    assert found.process is not None
    assert found.process.pid == os.getpid()
    root, *_ = read_servers(list_server_files(config)[:1], {}, SidecarUser(0), 10.0)
    assert isinstance(root, ServerFacts)
    assert root.socket is not None
    assert root.socket.reachable is True


# The key.


def test_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    missing = read_key(path, NOBODY)
    assert isinstance(missing, KeyFacts)
    assert "there is no key file" in missing.problem
    path.write_text(bytes(range(32)).hex())
    path.chmod(0o600)
    mine = read_key(path, SidecarUser(os.geteuid()))
    assert mine == KeyFacts(str(path), "", "root", for_sidecar=True)
    theirs = read_key(path, NOBODY)
    assert isinstance(theirs, KeyFacts)
    assert theirs.for_sidecar is False
    os.chown(path, 12345, 0)
    strange = read_key(path, NOBODY)
    assert isinstance(strange, KeyFacts)
    assert strange.owner == "user 12345"
    closed = read_key(path / "x", NOBODY)
    assert isinstance(closed, Unread)
