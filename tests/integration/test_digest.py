"""The digest of a server's options: what counts differs, what does not count does not.

Each server runs in a network namespace of its own, which ends with it; its address need not exist.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovpnha.node.cluster.difference import OPTION_GROUPS
from tests.integration.conftest import OPENVPN
from tests.integration.rows import genkey
from tests.lab.pki import Pki
from tests.lab.waiting import try_connect, wait_until
from tests.options.table import BESIDE, COMPARED, DIFFERENT_FILES, reasons, render

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "build/openvpn/tree/src/openvpn/options.c"
BASE = """\
dev tun
proto udp4
local 127.0.0.1
port 1194
server 10.8.0.0 255.255.255.0
topology subnet
ping 10
ping-restart 60
dh none
ifconfig-noexec
route-noexec
data-ciphers AES-256-GCM
cluster
cert server.crt
key server.key
"""
TEXT_LIMIT = 64
"""Characters for which every release of the sidecar has room."""
MANAGEMENT = "management openvpn.sock unix"
EQUAL = {
    "nothing": "",
    "verb": "verb 9",
    "less verb": "verb 1",
    "buffers": "sndbuf 100000\nrcvbuf 100000",
    "script-security": "script-security 2",
    "status": "status openvpn.status 10",
    "multihome": "multihome",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("digest")
    for name in ("pki", "other"):
        Pki(directory / name).issue("server", server=True)
    for name in ("ca.crt", "server.crt", "server.key"):
        shutil.copy(directory / "pki" / name, directory / name)
    shutil.copy(directory / "other" / "ca.crt", directory / "other-ca.crt")
    (directory / "certificates").mkdir()
    kinds = {
        "secret": ("first", "second"),
        "tls-crypt-v2-server": ("v2",),
        "auth-token": ("token", "other-token"),
    }
    for kind, names in kinds.items():
        for name in names:
            genkey(directory, kind, f"{name}.key")
    return directory


@contextmanager
def server(directory: Path, lines: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A running server: its management channel, and its process."""
    path, config = directory / "openvpn.sock", directory / "server.conf"
    path.unlink(missing_ok=True)
    ca = "" if re.search("^(ca|peer-fingerprint) ", lines, re.M) else "ca ca.crt\n"
    config.write_text(f"{BASE}{MANAGEMENT}\n{ca}{lines}\n")
    with (directory / "log").open("w") as log:
        command = ["unshare", "--net", "--", OPENVPN, "--cd", directory, "--config", config]
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    channel = socket.socket(socket.AF_UNIX)
    try:
        with channel:
            wait_until(lambda: reached(channel, path, process), "the management socket", 20)
            yield channel, process
    finally:
        process.terminate()
        process.wait(20)


def reached(channel: socket.socket, path: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (path.parent / "log").read_text()
    return try_connect(channel, path)


def digest(directory: Path, lines: str) -> str:
    with server(directory, lines) as (channel, _), channel.makefile("rw") as file:
        file.write("cluster-status\n")
        file.flush()
        answer = next(line for line in file if line.startswith("SUCCESS: cluster-status"))
    return re.search("digest=([^,]*)", answer)[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def base(files: Path) -> str:
    return digest(files, "")


def plugin() -> str:
    found = sorted(Path("/usr/lib").rglob("openvpn-plugin-down-root.so"))
    assert found, "the distribution's openvpn brings this plugin"
    return str(found[0])


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", COMPARED)
def test_what_counts(files: Path, base: str, name: str) -> None:
    beside = BESIDE.get(name)
    before = base if beside is None else digest(files, beside)
    other = digest(files, f"{beside or ''}\n{COMPARED[name]}".replace("PLUGIN", plugin()))
    version = before.partition(":")[0]
    assert other.startswith(f"{version}:")
    assert len(other) == len(before) <= TEXT_LIMIT
    hints = 2 * len(OPTION_GROUPS)
    assert other[:-hints] != before[:-hints]


def test_the_group_is_told(files: Path, base: str) -> None:
    for name, number in (("data-ciphers", 6), ("client-to-client", 14), ("learn-address", 17)):
        other = digest(files, COMPARED[name])
        groups = [digest_groups(one)[number] for one in (base, other)]
        assert groups[0] != groups[1], OPTION_GROUPS[number]


def digest_groups(text: str) -> bytes:
    return bytes.fromhex(text[-2 * len(OPTION_GROUPS) :])


@pytest.mark.parametrize("name", DIFFERENT_FILES)
def test_what_is_in_a_file_counts(files: Path, name: str) -> None:
    assert digest(files, COMPARED[name]) != digest(files, DIFFERENT_FILES[name])


@pytest.mark.parametrize("name", EQUAL)
def test_what_does_not_count(files: Path, base: str, name: str) -> None:
    assert digest(files, EQUAL[name]) == base


def test_how_a_file_is_written_does_not_count(files: Path, base: str) -> None:
    text = (files / "ca.crt").read_text()
    (files / "written-ca.crt").write_text("# our CA\r\n" + text.replace("\n", "\r\n") + "\r\n")
    assert digest(files, "ca written-ca.crt") == base
    assert digest(files, f"<ca>\n{text}</ca>") == base


def test_every_option_is_in_the_table() -> None:
    named = set(re.findall(r'streq\(p\[0\], "([a-z0-9-]+)"\)', SOURCE.read_text()))
    assert named == set(COMPARED) | set(reasons())


def test_the_document_is_made_from_the_table() -> None:
    made = "python -m tests.options > docs/options.md"
    assert (ROOT / "docs/options.md").read_text() == render(), made
