"""What ``cluster`` cannot move is refused at the start, in one line that names the fix."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.lab.pki import Pki

pytestmark = pytest.mark.integration

GOOD = {
    "dev": "tun",
    "proto": "udp4",
    "local": "198.51.100.10",
    "server": "10.8.0.0 255.255.255.0",
    "topology": "subnet",
    "dh": "none",
    "management": "openvpn.sock unix",
    "data-ciphers": "AES-256-GCM:AES-256-CBC",
    "cluster": "",
}
REFUSED: dict[str, tuple[dict[str, str | None], str]] = {
    "TCP": ({"proto": "tcp-server"}, "use --proto udp"),
    "too many MAC addresses": (
        {"dev": "tap", "max-routes-per-client": "1025"},
        "--max-routes-per-client 1024 or less",
    ),
    "no local": ({"local": None}, "use --local ADDRESS, or --cluster-address ADDRESS"),
    "no local, multihome": ({"local": None, "multihome": ""}, "or --cluster-address ADDRESS"),
    "local and others": ({"cluster-address": "192.0.2.11"}, "without --local: remove one of them"),
    "a name": ({"local": None, "cluster-address": "vpn.example.net"}, "is no address: give"),
    "loopback": ({"local": None, "cluster-address": "127.0.0.1"}, "that servers can share: give"),
    "too many addresses": (
        {
            "local": None,
            "cluster-address": "\ncluster-address ".join(f"192.0.2.{one}" for one in range(1, 10)),
        },
        "192.0.2.9 is one too many: give an address that the nodes share, at most 8",
    ),
    "IPv6 by a socket for IPv4": (
        {"local": None, "cluster-address": "2001:db8::1"},
        "needs --proto udp6",
    ),
    "IPv4 by a socket for IPv6 only": (
        {
            "local": None,
            "proto": "udp6",
            "bind": "ipv6only",
            "cluster-address": "192.0.2.10",
        },
        "--bind ipv6only",
    ),
    "address without cluster": (
        {"cluster": None, "cluster-address": "192.0.2.1"},
        "need --cluster",
    ),
    "wildcard": ({"local": "0.0.0.0"}, "use --local ADDRESS"),  # noqa: S104
    "wildcard IPv6": ({"local": "::", "proto": "udp6"}, "use --local ADDRESS"),
    "no management": ({"management": None}, "use --management PATH unix"),
    "management on TCP": ({"management": "127.0.0.1 7505"}, "use --management PATH unix"),
    "two management lines": (
        {"management": "openvpn.sock unix\nmanagement 127.0.0.1 7505"},
        "unix, once",
    ),
    **{
        option: ({option: value}, f"--{option}: the management interface belongs to ovpnha")
        for option, value in (
            ("management-client-auth", ""),
            ("management-hold", ""),
            ("management-query-passwords", ""),
        )
    },
    "IPv4 address for IPv6": ({"proto": "udp6"}, "needs --proto udp4"),
    "IPv6 address for IPv4": ({"local": "2001:db8::1"}, "needs --proto udp6"),
    "no-replay": ({"no-replay": ""}, "--no-replay: remove it"),
    "CFB": ({"data-ciphers": "AES-256-GCM:AES-256-CFB"}, "remove it from --data-ciphers"),
    "token without a secret": ({"auth-gen-token": "3600"}, "--auth-gen-token-secret"),
    "port without cluster": ({"cluster": None, "cluster-port": "11940"}, "need --cluster"),
    "spare without cluster": ({"cluster": None, "cluster-spare": ""}, "need --cluster"),
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Pki(tmp_path_factory.mktemp("refusals") / "pki")
    made.issue("server", server=True)
    return made.directory


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(pki: Path, tmp_path: Path, name: str) -> None:
    changes, words = REFUSED[name]
    options: dict[str, str | None] = {**GOOD, **changes}
    lines = [f"{option} {value}" for option, value in options.items() if value is not None]
    files = [f"ca {pki}/ca.crt", f"cert {pki}/server.crt", f"key {pki}/server.key"]
    config = tmp_path / "server.conf"
    config.write_text("\n".join([*lines, *files, ""]))
    done = subprocess.run(
        [OPENVPN, "--cd", tmp_path, "--config", config],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if "Options error" in line]
    assert done.returncode == 1
    assert len(errors) == 1, done.stdout
    assert words in errors[0]
    assert "--cluster" in errors[0]
