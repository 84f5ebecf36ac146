"""One server with a second process: restarts and crashes that no client notices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.systemd import hand_over
from tests.integration.conftest import MakeLab
from tests.integration.sparepair import run
from tests.lab.errors import LabError
from tests.lab.measure import lost
from tests.lab.session import Moment, Watch
from tests.lab.sparelab import PATIENCE, SPARE_OPTIONS, SpareLab
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

TOLD = 5.0  # seconds: sooner than a client misses its server by itself
WITHIN = 60.0  # seconds: less than a restart may wait
SETTLED = 0.5  # seconds until an answer that is still missing will not come


@pytest.fixture
def alone(make_lab: MakeLab) -> Iterator[SpareLab]:
    """A server with a spare, in sync, that are started anew when they end."""
    with SpareLab(make_lab(vip_manager=None, server_options=SPARE_OPTIONS)) as lab:
        lab.start()
        lab.keep()
        yield lab


def watch(alone: SpareLab) -> Watch:
    client = alone.lab.start_client()
    stream, _ = alone.lab.start_probes()
    alone.wait_spare(1)
    return Watch(alone.lab, client, stream)


def expect_unnoticed(watched: Watch, moment: Moment, most: int) -> None:
    watched.linger(SETTLED)
    gap = watched.outage_ms(moment)
    watched.forward.stop()
    after = [one for one in watched.forward.probes() if one.sent >= moment.monotonic]
    print(f"lost {lost(after)} of {len(after)}, gap {gap:.0f} ms")
    assert lost(after) <= most
    assert watched.noticed(moment).nothing


def test_a_restart_is_not_noticed(alone: SpareLab) -> None:
    watched = watch(alone)
    moment = watched.mark()
    assert "the spare process serves, no client was told" in alone.restart()
    alone.wait_spare(1)
    assert "the main process serves, no client was told" in alone.restart()
    assert alone.status()["spare"]["restarts"] == 2
    expect_unnoticed(watched, moment, 0)


def test_a_crash_is_not_noticed(alone: SpareLab) -> None:
    watched = watch(alone)
    moment = watched.mark()
    for number, (name, process) in enumerate(alone.processes.items(), 1):
        process.signal(signal.SIGKILL)
        wait_until(lambda: alone.serving() != name, f"{name} is followed", PATIENCE)  # noqa: B023
        alone.wait_spare(1)
        assert alone.status()["spare"]["crashes"] == number
    expect_unnoticed(watched, moment, 2)


def test_a_spare_for_a_restart_is_there_for_its_length(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role comes back to the usual process; what systemd would be told is told a script."""
    orders = tmp_path / "orders"
    script = tmp_path / "systemctl"
    script.write_text(f'#!/bin/sh\necho "$@" >>{orders}\n')
    script.chmod(0o755)
    orders.touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    lab = make_lab(vip_manager=None, server_options=SPARE_OPTIONS)
    with SpareLab(lab, "restart") as alone, ThreadPoolExecutor(1) as pool:
        alone.start_alone()
        alone.keep()
        client = lab.start_client()
        stream, _ = lab.start_probes()
        watched = Watch(lab, client, stream)
        moment, first = watched.mark(), alone.node.openvpn.pid
        script.write_text(f'{script.read_text()}[ "$1" != show ] || echo {first}\n')
        restarting = pool.submit(alone.order_restart)
        unit = "openvpn-cluster-spare@udp.service"
        wait_until(lambda: f"start --no-block {unit}" in orders.read_text(), unit, PATIENCE)
        alone.spare.start()
        assert "the main process serves, no client was told" in restarting.result()
        assert alone.node.openvpn.pid != first
        assert orders.read_text().splitlines()[-1] == f"stop {unit}"
        expect_unnoticed(watched, moment, 0)


def stop_as_systemd_does(alone: SpareLab, name: str) -> None:
    """What `systemctl stop` of one unit does."""
    process = alone.processes[name]
    hand_over(alone.lab, alone.node, "--pid", str(process.pid))
    process.signal(signal.SIGTERM)
    process.wait()


@pytest.mark.parametrize("serving", ["main", "spare"])
def test_when_both_are_stopped_the_clients_are_told(make_lab: MakeLab, serving: str) -> None:
    """Each of the two knows a process that has all clients, until that ends."""
    options = (*SPARE_OPTIONS, "explicit-exit-notify 1")
    with SpareLab(make_lab(vip_manager=None, server_options=options)) as alone:
        alone.start()
        watched = watch(alone)
        if serving == "spare":
            alone.move()
            alone.wait_spare(1)
        moment = watched.mark()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: stop_as_systemd_does(alone, name), alone.processes))
        wait_until(lambda: watched.noticed(moment).restarts, "the client is told", TOLD)


def test_when_one_is_stopped_the_other_goes_on(make_lab: MakeLab) -> None:
    options = (*SPARE_OPTIONS, "explicit-exit-notify 1")
    with SpareLab(make_lab(vip_manager=None, server_options=options)) as alone:
        alone.start()
        watched = watch(alone)
        moment = watched.mark()
        stop_as_systemd_does(alone, "main")
        wait_until(lambda: alone.serving() == "spare", "the other one serves", PATIENCE)
        expect_unnoticed(watched, moment, 0)


def test_a_new_process_that_never_comes_changes_nothing(alone: SpareLab) -> None:
    watched = watch(alone)
    moment = watched.mark()
    with pytest.raises(LabError, match="the main process serves on"):
        alone.restart("--within", "100ms")
    assert alone.serving() == "main"
    expect_unnoticed(watched, moment, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_that_is_ended_does_not_come_later(
    make_lab: MakeLab, number: signal.Signals
) -> None:
    """The same command is refused by nothing, and who comes up after SIGTERM stays the spare."""
    with SpareLab(make_lab(vip_manager=None, server_options=SPARE_OPTIONS)) as alone:
        alone.start_alone()
        with alone.begin_restart() as begun:
            begun.send_signal(number)
            said = begun.communicate()[1]
        if number is signal.SIGTERM:
            assert said.endswith("was ended; the main process serves\n")
            assert alone.ask("look").phase == "failed"
            alone.spare.start()
            alone.wait_spare()
            assert alone.serving() == "main"
            alone.keep()
            assert "the spare process serves, no client was told" in alone.restart()
        else:
            with pytest.raises(LabError, match="the other process does not run"):
                alone.restart("--within", "100ms")


def change(alone: SpareLab, option: str, value: str) -> str:
    """Another value in the configuration; what it was."""
    config = alone.lab.directory / "server.conf"
    (line,) = [one for one in config.read_text().splitlines() if one.startswith(f"{option} ")]
    config.write_text(config.read_text().replace(line, f"{option} {value}"))
    return line.split()[1]


OTHER_NETWORK = "10.77.0.0 255.255.255.0"


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("port", "4711", "port differs: the socket has {}"),
        ("server", OTHER_NETWORK, "server differs: what is open has "),
        ("hand-window", "8\nroute 10.78.0.0 255.255.0.0", "route differs: what is open has none"),
    ],
)
def test_what_was_changed_and_cannot_be_taken_is_refused_by_name(
    alone: SpareLab, option: str, value: str, named: str
) -> None:
    """The new process has opened nothing, and the old one serves on."""
    watched = watch(alone)
    moment = watched.mark()
    was = change(alone, option, value)
    begun = time.monotonic()
    with pytest.raises(LabError, match=named.format(was)):
        alone.restart()
    assert time.monotonic() - begun < WITHIN
    assert alone.serving() == "main"
    expect_unnoticed(watched, moment, 0)


def test_another_network_is_there_when_the_main_process_serves_again(make_lab: MakeLab) -> None:
    """As by ``--force`` while the spare serves: the main process comes first, and waits."""
    with SpareLab(make_lab(vip_manager=None, server_options=SPARE_OPTIONS)) as alone:
        alone.start()
        alone.move()
        alone.wait_spare()
        change(alone, "server", OTHER_NETWORK)
        stop_as_systemd_does(alone, "main")
        alone.processes["main"].start()

        def refused() -> bool:
            main = alone.status()["spare"]["main"]
            return main["place"] == "waiting" and "server differs" in main["problem"]

        wait_until(refused, "it refuses the old tun", PATIENCE)
        stop_as_systemd_does(alone, "spare")
        wait_until(lambda: alone.serves() and alone.serving() == "main", "it serves", PATIENCE)
        found = run("ip", "-n", alone.node.namespace, "-br", "addr", "show", "type", "tun")
        assert "10.77.0.1/24" in found
        assert len(found.splitlines()) == 1


def test_what_would_be_done_is_told_and_not_done(alone: SpareLab) -> None:
    before = {name: process.pid for name, process in alone.processes.items()}
    assert "Nothing stands against it." in alone.restart("--dry-run")
    assert before == {name: process.pid for name, process in alone.processes.items()}
