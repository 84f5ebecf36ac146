"""What `ovpnha init --stock` writes is taken by stock OpenVPN, keepalived and ovpnha."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.integration.setuphost import (
    SERVER,
    USER,
    SetupHost,
    answers,
    give_server,
    make_files,
)
from tests.lab.openvpn import STOCK
from tests.lab.waiting import wait_until
from tests.unit.setup.test_configurations import EXPECTED

pytestmark = pytest.mark.integration

STARTING = [name for name in EXPECTED if name != "qnap-old"]
OVPNHA = Path(sys.executable).with_name("ovpnha")
GIVEN = ("--vip", "192.0.2.10", "--inside-vip", "198.51.100.10", "--bcn-interface", "bcn0")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that one of the configurations names."""
    return make_files(tmp_path_factory.mktemp("pki") / "files", STOCK)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SetupHost]:
    with SetupHost(tmp_path / "a", "a", 1) as one:
        one.check("install", "-d", "-o", str(USER), "/var/lib/ovpnha", "/var/lib/ovpnha/pool")
        one.check("sysctl", "-q", "net.ipv4.ip_nonlocal_bind=1")  # as the unit does
        yield one


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", STARTING)
def test_a_server_starts_with_what_is_proposed(
    host: SetupHost, pki: Path, name: str, tmp_path: Path
) -> None:
    text = give_server(host, name, pki)
    host.check(OVPNHA, "init", "--stock", *GIVEN, "--write")
    assert "good. Node a of cluster" in host.check(OVPNHA, "check-config", user=0)
    host.check("keepalived", "--vrrp", "--config-test", "-f", "/etc/keepalived/keepalived.conf")
    host.check("install", "-o", str(USER), "/dev/null", f"/var/lib/ovpnha/pool/{name}")
    log = tmp_path / "openvpn.log"
    with host.start(STOCK, "--cd", SERVER, "--config", f"{name}.conf", log=log) as process:
        said = wait_until(
            lambda: answers(host, name, "load-stats", "nclients"),
            f"{name} answers, see {log}",
            PATIENCE,
        )
        assert "nclients=0" in said
        process.terminate()
    assert "cannot open" not in log.read_text()
    host.check(OVPNHA, "uninit", "--write")
    assert (host.path(SERVER) / f"{name}.conf").read_text() == text
