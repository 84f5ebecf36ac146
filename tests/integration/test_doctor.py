"""``ovpnha doctor`` on real nodes: nothing is wrong with a good one, and each fault is found.

One cluster for all faults, on its standby: real keepalived, nftables, OpenVPN and certificates. A
fault is undone before the next one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ovpnha.doctor.kinds import DoctorKind
from tests.integration.conftest import OPENVPN, configure
from tests.integration.pace import PATIENCE
from tests.integration.vip_cells import is_whole
from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.node import Node, Setup
from tests.lab.sidecar import ENVIRONMENT, OVPNHA
from tests.lab.topology import inside, set_sysctls
from tests.lab.waiting import connect, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KIND = DoctorKind
QUICK = 5.0  # seconds, on a machine that does nothing else
OPTIONS = ("disable-dco", "management-client-user root", "management-client-group root")
Fault = Callable[[Lab, Node], AbstractContextManager[object]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """Two nodes, and a sidecar that knows OpenVPN's file."""
    with Lab(Setup(openvpn=OPENVPN, server_options=OPTIONS)) as lab:
        named = f'vip_manager = "keepalived"\nserver_config = "{lab.directory}/server.conf"'
        configure(lab, 'vip_manager = "keepalived"', named)
        lab.start_cluster()
        lab.wait_in_sync("b")
        yield lab


def examine(lab: Lab, node: Node, *arguments: str) -> tuple[dict[str, Any], int]:
    """What doctor says of a node, and its exit code."""
    command = [*OVPNHA, "doctor", "--json", "--config", lab.directory / "ovpnha.toml"]
    done = subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            node.namespace,
            *map(str, command),
            "--node",
            node.name,
            *arguments,
        ],
        env=ENVIRONMENT | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


def kinds(answer: dict[str, Any], severity: str = "") -> set[str]:
    found = answer["findings"]
    return {one["kind"] for one in found if severity in ("", one["severity"])}


@pytest.mark.parametrize("name", ["a", "b"])
def test_nothing_is_wrong_with_a_good_node(cluster: Lab, name: str) -> None:
    node = cluster.nodes[name]
    started = time.monotonic()
    answer, code = examine(cluster, node)
    took = time.monotonic() - started
    print(f"{took:.1f} s: {sorted(kinds(answer))}")
    assert kinds(answer, "problem") == set(), answer["findings"]
    assert kinds(answer) <= {
        KIND.CERTIFICATE_ENDS_SOON,  # the lab's live for two days
        KIND.PRIVATE_KEY_MODE,  # and are nobody's secret
        KIND.CLOCK,
        KIND.PACKAGE_OUTDATED,
        KIND.REBOOT_WANTED,
        KIND.KEEPALIVED_NOT_ENABLED,  # the units of the machine that the lab is on
        KIND.SIDECAR_NOT_ENABLED,
        KIND.UNIT_STALE,
    }
    assert code in {0, 1, 3}
    assert took < max(QUICK, PATIENCE / 3)


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with another text in it, for a while."""
    before = path.read_bytes()
    text = before.decode()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """A path with other permissions, for a while."""
    before = path.stat().st_mode & 0o7777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def keepalived(file: str, old: str, new: str) -> Fault:
    """keepalived's file on disk; the one that runs is not told."""
    return lambda _lab, node: changed(node.directory / "keepalived" / file, old, new)


def server(new: str) -> Fault:
    return lambda lab, _node: changed(lab.directory / "server.conf", "dh none", f"dh none\n{new}")


def certificate(begins: int, ends: int) -> Fault:
    """A certificate with another key in the server's place, with these days from now."""

    @contextmanager
    def replace(lab: Lab, _node: Node) -> Iterator[None]:
        path = lab.pki.directory / "server.crt"
        before = path.read_bytes()
        path.write_bytes(make_certificate(begins, ends))
        try:
            yield
        finally:
            path.write_bytes(before)

    return replace


def make_certificate(begins: int, ends: int) -> bytes:
    now = datetime.now(UTC)
    first, last = (now + timedelta(days=days) for days in (begins, ends))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, first, last)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def rules(text: str) -> Fault:
    """A table in the node's packet filter."""

    @contextmanager
    def load(lab: Lab, node: Node) -> Iterator[None]:
        nft = ["ip", "netns", "exec", node.namespace, "nft"]
        table = f"table inet faulty {{\n{text}\n}}\n"
        subprocess.run([*nft, "-f", "-"], input=table, text=True, check=True)
        try:
            yield
        finally:
            subprocess.run([*nft, "delete", "table", "inet", "faulty"], check=True)
            lab.wait_in_sync(node.name)

    return load


def sysctl(name: str, bad: str, good: str) -> Fault:
    @contextmanager
    def load(_lab: Lab, node: Node) -> Iterator[None]:
        set_sysctls(node.namespace, {name: bad})
        try:
            yield
        finally:
            set_sysctls(node.namespace, {name: good})

    return load


def link(bad: str, good: str) -> Fault:
    """The BCN's interface, set so, and back."""

    @contextmanager
    def load(lab: Lab, node: Node) -> Iterator[None]:
        command = ["ip", "-n", node.namespace, "link", "set", plan.BCN.interface]
        subprocess.run([*command, *bad.split()], check=True)
        try:
            yield
        finally:
            subprocess.run([*command, *good.split()], check=True)
            lab.wait_in_sync(node.name)

    return load


@contextmanager
def no_keepalived(lab: Lab, node: Node) -> Iterator[None]:
    node.vip_manager.stop()
    try:
        yield
    finally:
        node.vip_manager.start()
        back = "doctor sees keepalived again"
        wait_until(lambda: KIND.KEEPALIVED_DOWN not in kinds(examine(lab, node)[0]), back, PATIENCE)


@contextmanager
def no_sidecar(lab: Lab, node: Node) -> Iterator[None]:
    node.sidecar.process.stop()
    try:
        yield
    finally:
        node.sidecar.process.start()
        lab.wait_in_sync(node.name)


@contextmanager
def stranger(lab: Lab, node: Node) -> Iterator[None]:
    """Another program has the management socket, and the sidecar waits."""
    with no_sidecar(lab, node):
        with inside(node.namespace):
            socket = connect(node.directory / "openvpn.sock", "OpenVPN listens", PATIENCE)
        program = "import sys, time; print('up', flush=True); sys.stdin.read()"
        holder = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[socket.fileno()],
        )
        socket.close()
        assert holder.stdout is not None
        wait_until(holder.stdout.readline, "the stranger runs", PATIENCE)
        try:
            yield
        finally:
            holder.communicate(timeout=PATIENCE)


@contextmanager
def no_script(_lab: Lab, node: Node) -> Iterator[None]:
    with mode(node.directory / "keepalived" / "check-grade", 0o644):
        yield


FAULTS: dict[str, tuple[Fault, DoctorKind, str]] = {
    "a key that others may read": (
        lambda lab, _node: mode(lab.directory / "cluster.key", 0o644),
        KIND.KEY_FILE,
        "chmod 600",
    ),
    "no-replay": (server("no-replay"), KIND.CONFIGURATION, "no-replay: remove it"),
    "nobody": (server("user nobody"), KIND.USER_GIVEN_UP, "user nobody"),
    "pool": (server("ifconfig-pool-persist ipp.txt"), KIND.POOL_FILE, "ipp.txt"),
    "an ended certificate": (certificate(-9, -3), KIND.CERTIFICATE_ENDED, "ended 3 days ago"),
    "a certificate of tomorrow": (certificate(9, 99), KIND.CERTIFICATE_NOT_YET, "valid in"),
    "another key": (certificate(-1, 99), KIND.CERTIFICATE_KEY, "does not belong"),
    "no forwarding": (
        sysctl("net/ipv4/ip_forward", "0", "1"),
        KIND.FORWARDING,
        "sysctl -w net.ipv4.ip_forward=1",
    ),
    "a small MTU": (link("mtu 1200", "mtu 1500"), KIND.LINK_MTU, "mtu 1500"),
    "a link that is down": (link("down", "up"), KIND.CLUSTER, "BCN link"),
    "a rule against the BCN": (
        rules("chain c { type filter hook input priority 0; udp dport 11940 drop; }"),
        KIND.FIREWALL_BLOCKS,
        "the back channel network",
    ),
    "masquerade": (
        rules("chain c { type nat hook postrouting priority 100; masquerade; }"),
        KIND.FIREWALL_MASQUERADE,
        "to this node's own address",
    ),
    "a stateful filter": (
        rules(
            "chain c { type filter hook forward priority 0; policy drop;"
            " ct state established accept; tcp flags & (syn | ack) == syn accept; }"
        ),
        KIND.FIREWALL_STATEFUL,
        "conntrackd",
    ),
    "no keepalived": (no_keepalived, KIND.KEEPALIVED_DOWN, "systemctl enable --now keepalived"),
    "a word that keepalived does not know": (
        keepalived("keepalived.conf", "advert_int", "advrt_int"),
        KIND.KEEPALIVED_REFUSES,
        "advrt_int",
    ),
    "another grade": (
        keepalived("node.conf", "udp.grade", "up.grade"),
        KIND.KEEPALIVED_GRADE,
        "up.grade",
    ),
    "another weight": (
        keepalived("keepalived.conf", "weight 1\n", "weight 2\n"),
        KIND.KEEPALIVED_WEIGHT,
        "weight 1",
    ),
    "no init_file": (
        keepalived("keepalived.conf", "init_file 0", ""),
        KIND.KEEPALIVED_INIT_FILE,
        "init_file 0",
    ),
    "a priority that outweighs": (
        keepalived("node.conf", "$PRIORITY=", "$PRIORITY=1"),
        KIND.KEEPALIVED_PRIORITY,
        "priority 1",
    ),
    "another VIP": (
        keepalived("node.conf", f"{plan.OUT.vip}/", "192.0.2.77/"),
        KIND.KEEPALIVED_VIP,
        plan.OUT.vip,
    ),
    "vmac": (
        keepalived("keepalived.conf", "state BACKUP", "state BACKUP\n    use_vmac"),
        KIND.KEEPALIVED_INTERFACE,
        f"counts on {plan.OUT.interface} only",
    ),
    "a script that nobody may run": (no_script, KIND.KEEPALIVED_SCRIPT, "not executable"),
    "real time by keepalived": (
        keepalived("keepalived.conf", "vrrp_no_swap", "vrrp_no_swap\n    vrrp_rt_priority 50"),
        KIND.KEEPALIVED_REAL_TIME,
        "drop-in",
    ),
    "no sidecar": (no_sidecar, KIND.SIDECAR_DOWN, "systemctl enable --now ovpnha"),
    "a stranger": (stranger, KIND.MANAGEMENT_STRANGER, "python"),
    "a socket for everybody": (
        lambda _lab, node: mode(node.directory / "openvpn.sock", 0o666),
        KIND.MANAGEMENT_MODE,
        "chmod o=",
    ),
    "a directory for everybody": (
        lambda _lab, node: mode(node.directory, 0o777),
        KIND.DIRECTORY_MODE,
        "chmod o-w",
    ),
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(cluster: Lab, name: str) -> None:
    provoke, kind, words = FAULTS[name]
    node = cluster.nodes["b"]
    with provoke(cluster, node):
        answer, code = examine(cluster, node)
    found = [one for one in answer["findings"] if one["kind"] == kind]
    assert found, answer["findings"]
    assert any(words in f"{one['what']}; {one['fix']}" for one in found), found
    worst = {one["severity"] for one in answer["findings"]}
    assert code == (2 if "problem" in worst else 1 if "warning" in worst else code)


def test_what_is_meant_so_is_left_out(cluster: Lab) -> None:
    node = cluster.nodes["b"]
    with mode(node.directory / "openvpn.sock", 0o666):
        answer, _ = examine(cluster, node, "--ignore", KIND.MANAGEMENT_MODE)
    assert kinds(answer, "problem") == set()


def test_a_user_without_rights_is_told_what_was_not_looked_at(cluster: Lab) -> None:
    node = cluster.nodes["b"]
    command = [*OVPNHA, "doctor", "--config", cluster.directory / "ovpnha.toml", "--node", "b"]
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = subprocess.run(
        ["ip", "netns", "exec", node.namespace, *nobody, *map(str, command)],
        env=ENVIRONMENT | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 2, 3}, done.stderr
    assert "Not looked at" in done.stdout
    assert "run as root" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_hung_sidecar_is_no_reason_to_wait(cluster: Lab) -> None:
    node = cluster.nodes["b"]
    node.sidecar.process.signal(signal.SIGSTOP)
    started = time.monotonic()
    try:
        answer, _ = examine(cluster, node)
    finally:
        node.sidecar.process.signal(signal.SIGCONT)
    assert time.monotonic() - started < 2 * max(QUICK, PATIENCE / 3)
    assert any("no answer within" in one["why"] for one in answer["unmade"]), answer
    whole = "a master and a standby in sync, whichever: keepalived was started anew before"
    wait_until(lambda: is_whole(cluster), whole, PATIENCE)
