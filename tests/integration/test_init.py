"""What `ovpnha init` writes is taken by OpenVPN, keepalived and ovpnha, and goes away again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.integration.setuphost import (
    SERVER,
    USER,
    SetupHost,
    answers,
    give_server,
    make_files,
)
from tests.lab.configurations.files import WRITTEN
from tests.lab.waiting import wait_until
from tests.unit.setup.test_configurations import EXPECTED

pytestmark = pytest.mark.integration

STARTING = [name for name, one in EXPECTED.items() if not one["stops"]]
OVPNHA = Path(sys.executable).with_name("ovpnha")
STATUS = ("cluster-status", "cluster-status")
GIVEN = ("--inside-vip", "198.51.100.10", "--bcn-interface", "bcn0")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that one of the configurations names."""
    return make_files(tmp_path_factory.mktemp("pki") / "files", OPENVPN)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SetupHost]:
    with SetupHost(tmp_path / "a", "a", 1) as one:
        yield one


def snapshot(host: SetupHost) -> dict[str, tuple[bytes, int]]:
    root = host.path("/etc")
    places = (root / one for one in ("openvpn", "ovpnha", "keepalived", "network"))
    files = (path for place in places for path in place.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in files}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", STARTING)
def test_a_server_starts_with_what_is_proposed(
    host: SetupHost, pki: Path, name: str, tmp_path: Path
) -> None:
    give_server(host, name, pki)
    before = snapshot(host)
    host.check(OVPNHA, "init", "--vip", "192.0.2.10", *GIVEN, "--write")
    assert "good. Node a of cluster" in host.check(OVPNHA, "check-config", user=0)
    told = host.run(
        "keepalived", "--vrrp", "--config-test", "-f", "/etc/keepalived/keepalived.conf"
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
    log = tmp_path / "openvpn.log"
    with host.start(OPENVPN, "--cd", SERVER, "--config", f"{name}.conf", log=log) as process:
        said = wait_until(
            lambda: answers(host, name, *STATUS), f"{name} answers, see {log}", PATIENCE
        )
        assert "role=standby" in said
        process.terminate()
    host.check(OVPNHA, "uninit", "--write")
    after = snapshot(host)
    own = {str(host.path(SERVER) / one) for one in WRITTEN}
    assert {path: one for path, one in after.items() if path not in own} == before


def test_a_second_host_takes_the_sealed_file(host: SetupHost, pki: Path, tmp_path: Path) -> None:
    give_server(host, "nyr", pki)
    passphrase, sealed = tmp_path / "passphrase", tmp_path / "nyr.sealed"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    secret = ("--passphrase-file", passphrase)
    host.check(OVPNHA, "init", *GIVEN, "--write", "--export", sealed, *secret)
    with SetupHost(tmp_path / "b", "b", 2) as other:
        before = snapshot(other)
        other.check(OVPNHA, "init", "--join", sealed, *secret, "--write")
        assert "good. Node b of cluster nyr" in other.check(OVPNHA, "check-config")
        for file in ("nyr.conf", "server.key", "ca.crt", "tc.key", "dh.pem", "crl.pem"):
            ours, theirs = (one.path(f"{SERVER}/{file}") for one in (host, other))
            assert ours.read_bytes() == theirs.read_bytes()
        key = other.path("/etc/ovpnha/cluster.key")
        assert key.read_bytes() == host.path("/etc/ovpnha/cluster.key").read_bytes()
        assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (USER, 0o600)
        other.check(
            "keepalived", "--vrrp", "--config-test", "-f", "/etc/keepalived/keepalived.conf"
        )
        log = tmp_path / "openvpn.log"
        with other.start(OPENVPN, "--cd", SERVER, "--config", "nyr.conf", log=log) as process:
            wait_until(lambda: answers(other, "nyr", *STATUS), f"nyr answers, see {log}", PATIENCE)
            process.terminate()
        other.check(OVPNHA, "uninit", "--write")
        assert {
            one: text for one, text in snapshot(other).items() if "ipp.txt" not in one
        } == before


def test_an_address_is_given_up_and_taken_back(host: SetupHost, pki: Path) -> None:
    """With the commands of both ways, as far as they are about addresses."""
    give_server(host, "nyr", pki)
    host.check("ip", "address", "del", "192.0.2.1/24", "dev", "eth0")
    host.check("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
    host.check("ip", "route", "add", "default", "via", "192.0.2.254", "src", "192.0.2.10")
    interfaces = host.path("/etc/network/interfaces")
    interfaces.write_text("iface eth0 inet static\n    address 192.0.2.10/24\n")
    own = ("--own-address", "192.0.2.11", "--inside-vip", "198.51.100.10")
    plain = host.check(OVPNHA, "init", *own, "--bcn-interface", "bcn0", "--write", "--json")
    carry_out(host, plain)
    assert has(host) == ["192.0.2.11/24"]
    assert "via 192.0.2.254" in host.check("ip", "route", "show", "default")
    assert "address 192.0.2.11/24" in interfaces.read_text()
    carry_out(host, host.check(OVPNHA, "uninit", "--json"))
    host.check(OVPNHA, "uninit", "--write")
    assert has(host) == ["192.0.2.10/24"]
    assert "address 192.0.2.10/24" in interfaces.read_text()


def carry_out(host: SetupHost, plain: str) -> None:
    commands = json.loads(plain)["commands"]
    assert any(one[0] == "systemctl" for one in commands)
    for command in commands:
        if "systemctl" not in " ".join(command):
            host.check(*command)


def has(host: SetupHost) -> list[str]:
    found = json.loads(host.check("ip", "-json", "-4", "address", "show", "dev", "eth0"))
    return [f"{one['local']}/{one['prefixlen']}" for one in found[0]["addr_info"]]


SYSTEMCTL = r"""#!/bin/bash
# Keeps a file for each unit that runs.
mkdir -p /run/units
cd /run/units
verb=$1 now= units=()
for word in "${@:2}"; do
    [[ $word != --now ]] || now=1
    [[ $word == -* || $word == *.target ]] || units+=("${word%.service}")
done
if [[ -e /run/refused && $verb == "$(</run/refused)" ]]; then
    rm /run/refused
    exit 1
fi
for unit in "${units[@]}"; do
    case $verb in
        is-active) [[ -e $unit ]] || exit 3 ;;
        start | restart) touch "$unit" ;;
        stop) rm -f "$unit" ;;
        enable) [[ -z $now ]] || touch "$unit" ;;
        disable) [[ -z $now ]] || rm -f "$unit" ;;
        show) [[ -e $unit ]] && state=active || state=inactive
            printf 'Id=%s.service\nActiveState=%s\n\n' "$unit" "$state" ;;
    esac
done
"""
OWN_KEEPALIVED = """vrrp_instance own {
    state BACKUP
    interface eth0
    virtual_router_id 9
    virtual_ipaddress {
        192.0.2.99/24
    }
}
"""


@pytest.mark.parametrize("units", [("keepalived",), ()])
@pytest.mark.parametrize("steps", [("--write", "--now"), ("--write",)])
def test_somebody_has_the_vip_however_keepalived_was(
    host: SetupHost, pki: Path, tmp_path: Path, units: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    give_server(host, "nyr", pki)
    fake = tmp_path / "systemctl"
    fake.write_text(SYSTEMCTL)
    fake.chmod(0o755)
    host.check("mount", "--bind", fake, "/usr/bin/systemctl")
    before = {*units, "openvpn-server@nyr"}
    host.check("systemctl", "start", *before)
    host.path("/etc/keepalived/keepalived.conf").write_text(OWN_KEEPALIVED)
    host.check("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
    given = ("--inside-vip", "none", "--bcn-interface", "bcn0", "--keepalived")
    refused = host.run(OVPNHA, "init", *given, "leave", "--write", "--now")
    assert (refused.returncode, has(host)) == (2, ["192.0.2.1/24", "192.0.2.10/24"])
    host.check(OVPNHA, "init", *given, "replace", *steps)
    host.check(OVPNHA, "init", "--write", "--now")
    assert has(host) == ["192.0.2.1/24"]
    assert running(host) == {"keepalived", "openvpn-cluster@nyr", "ovpnha"}
    host.check("systemctl", "start", "openvpn-cluster-spare@nyr")  # by hand, as the page has it
    host.check(OVPNHA, "uninit", "--write", "--now")
    assert has(host) == ["192.0.2.1/24", "192.0.2.10/24"]
    assert running(host) == before


@pytest.mark.parametrize("refused", ["start", "disable"])
def test_a_way_back_that_was_interrupted_comes_to_its_end(
    host: SetupHost, pki: Path, tmp_path: Path, refused: str
) -> None:
    give_server(host, "nyr", pki)
    before = snapshot(host)
    fake = tmp_path / "systemctl"
    fake.write_text(SYSTEMCTL)
    fake.chmod(0o755)
    host.check("mount", "--bind", fake, "/usr/bin/systemctl")
    host.check("systemctl", "start", "openvpn-server@nyr")
    host.check("ip", "address", "del", "192.0.2.1/24", "dev", "eth0")
    host.check("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
    given = ("--own-address", "192.0.2.11", "--inside-vip", "none", "--bcn-interface", "bcn0")
    host.check(OVPNHA, "init", *given, "--write", "--now")
    assert has(host) == ["192.0.2.11/24"]
    host.path("/run/refused").write_text(refused)
    done = host.run(OVPNHA, "uninit", "--write", "--now")
    assert (done.returncode, "run this command again" in done.stderr) == (1, True)
    host.check(OVPNHA, "uninit", "--write", "--now")
    assert (has(host), running(host)) == (["192.0.2.10/24"], {"openvpn-server@nyr"})
    assert snapshot(host) == before
    assert "Nothing to put back" in host.check(OVPNHA, "uninit", "--write", "--now")


def running(host: SetupHost) -> set[str]:
    return {*host.check("ls", "/run/units").split()}
