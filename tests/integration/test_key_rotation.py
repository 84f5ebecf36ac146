"""A running cluster gets a new cluster key in three steps, and nobody notices.

docs/wire.md: add the new key at the end, move it to the front, remove the old one; after each step
the sidecars are reloaded, or restarted, one after the other, so that each step is for a while half
done.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from ovpnha.runtime.control import StatusRequest
from tests.integration.pace import PATIENCE
from tests.integration.test_sidecar_restart import tables_equal
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.measure import lost
from tests.lab.session import Session
from tests.lab.sidecar import Sidecar, run_command
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

CLIENTS = 3


def keys_of(file: Path) -> list[str]:
    return [line for line in file.read_text().split("\n") if line and line[0] != "#"]


def write_keys(file: Path, keys: list[str]) -> None:
    file.write_text("\n".join([*keys, ""]))


def add(file: Path) -> None:
    run_command("keygen", "--add", file)
    assert len(keys_of(file)) == 2


def move_to_the_front(file: Path) -> None:
    rotate(file, "--use-newest")


def remove_the_old(file: Path) -> None:
    rotate(file, "--drop-old")


def rotate(file: Path, step: str) -> None:
    """As soon as the sidecar knows that the nodes are ready: a hello is half a second old."""
    config = file.with_name("ovpnha.toml")

    def done() -> bool:
        try:
            run_command("keygen", step, "--config", config, "--node", "a", file)
        except LabError as error:
            if "not changed" not in str(error):
                raise
            return False
        return True

    wait_until(done, f"keygen {step}", PATIENCE)


def refused(lab: Lab, name: str) -> int:
    """Datagrams that a sidecar refused since its start because of their key."""
    reasons = lab.nodes[name].sidecar.ask(StatusRequest())["status"]["refused"]
    return sum(reasons.get(one, 0) for one in ("unknown_key", "unauthentic"))


def restart(lab: Lab, name: str) -> None:
    lab.nodes[name].sidecar.process.kill()
    lab.nodes[name].sidecar.process.start()


def reload(lab: Lab, name: str) -> None:
    sidecar = lab.nodes[name].sidecar
    before = read_again(sidecar)
    sidecar.process.signal(signal.SIGHUP)
    wait_until(lambda: read_again(sidecar) > before, f"{name} has read the keys", PATIENCE)


def read_again(sidecar: Sidecar) -> int:
    return sidecar.process.log.read_text().count('"cluster keys read again"')


def step(lab: Lab, change: Callable[[Path], None], renew: Callable[[Lab, str], None]) -> None:
    """Change the file that both read, and renew the standby's sidecar, then the master's."""
    change(lab.directory / "cluster.key")
    for name in ("b", "a"):
        renew(lab, name)
        wait_until(lambda: tables_equal(lab, CLIENTS + 1), f"{change.__name__}: equal", PATIENCE)
        assert refused(lab, "a") == refused(lab, "b") == 0, f"{change.__name__}, {name}"


@pytest.mark.parametrize("renew", [restart, reload])
def test_rotating_the_cluster_key_drops_nothing(
    lab: Lab, renew: Callable[[Lab, str], None]
) -> None:
    file = lab.directory / "cluster.key"
    lab.start_cluster()
    session = Session(lab)
    lab.start_clients(CLIENTS)
    wait_until(lambda: tables_equal(lab, CLIENTS + 1), "clients on both nodes", PATIENCE)
    since, old = session.mark(), keys_of(file)
    for change in (add, move_to_the_front, remove_the_old):
        step(lab, change, renew)
    assert len(keys_of(file)) == 1
    assert keys_of(file) != old
    session.forward.stop()
    during = [probe for probe in session.forward.probes() if probe.sent > since.monotonic]
    assert lost(during) == 0
    assert session.noticed(since).nothing
    assert session.finish() == ""


def test_a_reload_of_another_key_is_shown_and_of_a_bad_file_changes_nothing(lab: Lab) -> None:
    lab.start_cluster()
    session = Session(lab)
    since, file, sidecar = session.mark(), lab.directory / "cluster.key", lab.nodes["b"].sidecar
    keys = keys_of(file)
    write_keys(file, ["no key"])
    sidecar.process.signal(signal.SIGHUP)
    wait_until(lambda: "not read again" in sidecar.process.log.read_text(), "the line", PATIENCE)
    session.linger(1.0)
    assert refused(lab, "a") == refused(lab, "b") == 0
    write_keys(file, [sha256(b"another").hexdigest()])
    reload(lab, "b")
    wait_until(lambda: refused_somewhere(lab), "refused datagrams on both nodes", PATIENCE)
    write_keys(file, keys)
    reload(lab, "b")
    wait_until(lambda: tables_equal(lab, 1), "equal again", PATIENCE)
    assert session.noticed(since).nothing
    assert session.finish() == ""


def test_a_step_left_out_is_shown(lab: Lab) -> None:
    """One node seals with a key that the other lacks: both say so, the master serves on."""
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    write_keys(lab.directory / "cluster.key", [sha256(b"another").hexdigest()])
    lab.nodes["b"].sidecar.process.kill()
    lab.nodes["b"].sidecar.process.start()
    wait_until(lambda: refused_somewhere(lab), "refused datagrams on both nodes", PATIENCE)
    assert lab.vips.holder() == "a"
    assert session.noticed(since).nothing


def refused_somewhere(lab: Lab) -> bool:
    return bool(refused(lab, "a")) and bool(refused(lab, "b"))
