"""ovpnha beside stock OpenVPN and stock clients: who has which address after a takeover."""

from __future__ import annotations

import json
import re
import signal
import statistics
from pathlib import Path

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.clientlog import RESTART
from tests.lab.lab import Lab
from tests.lab.openvpn import READY, Transport
from tests.lab.process import Process
from tests.lab.sidecar import run_command
from tests.lab.stock import POOL as POOL_FILE
from tests.lab.stock import TCP, UDP, addresses, lose, prepare_stock, stock_setup, wait_known
from tests.lab.topology import set_sysctls
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

CLIENTS = 50
POOL = 13
SMALL_POOL = ("topology subnet", "server 10.8.0.0 255.255.255.240")
"""A pool of so many addresses."""

IPV4_ONLY = ("topology subnet", f"server {plan.TUNNEL.network_address} {plan.TUNNEL.netmask}")
SILENT = {f"net/ipv6/conf/{which}/disable_ipv6": "1" for which in ("all", "default")}
"""A client whose kernel asks for no routers in the tunnel has nothing to send."""


def serve(make_lab: MakeLab, transport: Transport, *, keeps: bool = True) -> Lab:
    """Node a serves so many clients."""
    lab = make_lab(**stock_setup(transport=transport, keepalive="1 4"))
    prepare_stock(lab, keeps=keeps)
    lab.start_cluster()
    lab.start_clients(CLIENTS)
    return lab


def returns(lab: Lab, begin: int) -> list[float]:
    """Seconds from this moment until each client was connected again the last time."""
    lines = ([one for one in client.log() if READY in one.text] for client in lab.clients)
    return sorted((found[-1].time - begin) / 1e9 for found in lines)


def notices(lab: Lab, begin: int) -> list[float]:
    """Seconds from this moment until each client gave its connection up the first time.

    How long a full machine takes to connect all of them at once says nothing of who was told.
    """
    times = [
        [one.time for one in client.log() if one.time >= begin and RESTART in one.text]
        for client in lab.clients
    ]
    return sorted((found[0] - begin) / 1e9 for found in times)


def take_over(lab: Lab) -> tuple[int, list[float]]:
    """Node a is lost; when, and how long each client was away."""
    begin = lose(lab, "a")

    def all_back() -> bool:
        return len(addresses(lab, "b")) == CLIENTS and min(returns(lab, begin)) > 0

    lab.wait_master("b")
    wait_until(all_back, "all clients are back", 4 * PATIENCE)
    return begin, returns(lab, begin)


@pytest.mark.parametrize("transport", [UDP, TCP], ids=["udp", "tcp"])
def test_fifty_clients_keep_their_addresses(make_lab: MakeLab, transport: Transport) -> None:
    lab = serve(make_lab, transport)
    before = wait_known(lab, "b", CLIENTS, PATIENCE)
    assert before == addresses(lab, "a")
    lab.wait_in_sync("b")
    _begin, away = take_over(lab)
    assert addresses(lab, "b") == before
    print(f"away: {statistics.median(away):.2f} s, at most {away[-1]:.2f} s")
    told = lab.nodes["b"].sidecar.instance()
    assert told is not None
    assert (told["addresses_kept"], told["addresses_changed"]) == (CLIENTS, 0)
    assert (told["seamless"], told["protected"]) == (False, 0)
    page = run_command("status", "--config", lab.directory / "ovpnha.toml", "--node", "b")
    assert "seamless: no" in page
    assert "50 of 50 that came back" in " ".join(page.split())


def test_without_the_copy_most_get_another_address(make_lab: MakeLab) -> None:
    """The control run: the same, with nothing in the file."""
    lab = serve(make_lab, UDP, keeps=False)
    before = wait_known(lab, "b", CLIENTS, PATIENCE)
    take_over(lab)
    after = addresses(lab, "b")
    kept = sum(after[name] == address for name, address in before.items())
    print(json.dumps({"kept": kept, "of": CLIENTS}))
    assert kept < CLIENTS / 2


def test_a_pool_that_many_have_used_still_takes_new_names(make_lab: MakeLab) -> None:
    """An address from the pool file is fixed: were all of them, each new name would be refused."""
    lab = make_lab(**stock_setup(keepalive="1 4", network=SMALL_POOL))
    prepare_stock(lab, keeps=True)
    lab.start_cluster()
    for batch in range(3):
        last = [lab.launch_beside(f"guest{batch}-{index}") for index in range(4)]
        for client in last:
            client.wait_connected()
        before = wait_known(lab, "b", 4, PATIENCE)
        if batch < 2:
            for client in last:
                client.process.stop()
            wait_until(lambda: not addresses(lab, "b"), "the guests are gone", 4 * PATIENCE)
    lose(lab, "a")
    lab.wait_master("b")
    wait_until(lambda: addresses(lab, "b") == before, "the last guests are back", 4 * PATIENCE)
    new = [lab.launch_beside(f"new{index}") for index in range(POOL - 5)]
    for client in new:
        client.wait_connected()
    wait_until(lambda: len(addresses(lab, "b")) == POOL - 1, "all have addresses", PATIENCE)


@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
def test_idle_clients_over_tcp_are_told(make_lab: MakeLab, tells: bool) -> None:
    """They send a ``ping`` every 15 s. One segment each, and they reconnect at once."""
    lab = make_lab(**stock_setup(transport=TCP, keepalive="15 60", network=IPV4_ONLY))
    set_sysctls(lab.topology.namespace("client"), SILENT)
    prepare_stock(lab, keeps=True, tells=tells)
    lab.start_cluster()
    lab.start_clients(CLIENTS)
    before = wait_known(lab, "b", CLIENTS, PATIENCE)
    lab.wait_in_sync("b")
    begin, away = take_over(lab)
    assert addresses(lab, "b") == before
    noticed = notices(lab, begin)
    for what, seconds in (("noticed", noticed), ("away", away)):
        print(f"{what}: {statistics.median(seconds):.2f} s, at most {seconds[-1]:.2f} s")
    assert (statistics.median(noticed) < 5) is tells
    assert (noticed[-1] < 6) is tells


def start_anew(openvpn: Process) -> None:
    """A person's SIGUSR1."""
    ready = openvpn.log.read_text().count(READY)
    openvpn.signal(signal.SIGUSR1)
    wait_until(lambda: openvpn.log.read_text().count(READY) > ready, "it is there", PATIENCE)


def wait_written(file: Path, text: str) -> None:
    wait_until(lambda: text in file.read_text(), f"{text} in the pool file", PATIENCE)


def test_a_soft_restart_by_hand_reads_whole_lines(make_lab: MakeLab) -> None:
    """OpenVPN goes on reading where the file once ended, and the file has changed since."""
    lab = make_lab(**stock_setup(keepalive="1 4"))
    prepare_stock(lab, keeps=True)
    lab.start_cluster()
    lab.start_clients(8)
    openvpn, file = lab.nodes["b"].openvpn, lab.nodes["b"].directory / POOL_FILE
    for count in range(9, 13):
        last = max(wait_known(lab, "b", count - 1, PATIENCE), key=len)
        wait_written(file, f"{last},")
        start_anew(openvpn)
        lab.launch_beside(f"visitor-{count:0{2 * count}}").wait_connected()
    names = wait_known(lab, "b", 12, PATIENCE).keys()
    wait_written(file, f"visitor-{12:024}")
    start_anew(openvpn)
    read = re.findall(r"ifconfig_pool_read\(\), in='(.*)'", openvpn.log.read_text())
    assert read
    assert {line.split(",")[0] for line in read} <= names
    assert all(len(line.split(",")) == 3 for line in read)
    rest = file.read_text().splitlines()
    assert {line.split(",")[0] for line in rest if line[0] != "#"} == names
