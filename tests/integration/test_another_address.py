"""A client goes from one of the servers' addresses to another, which it is answered from.

What the client sees as its server stays the same while a translation on its way leads elsewhere; or
it starts anew at its own port, and takes another remote. Both come from where it has been before.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.integration.anyaddress import (
    OUT,
    OUTSIDE2,
    SECOND,
    beside,
    instance,
    is_alive,
    listening,
    problems,
    wait_protected,
)
from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.clientlog import CONNECTED
from tests.lab.lab import Lab
from tests.lab.openvpn import Client, Transport
from tests.lab.topology import change_vip, set_sysctls
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

TRANSLATED = OUT.address(77)
"""What the client takes for its server's address."""
BY_NAT = Transport(address=TRANSLATED)
OWN = OUT.address(plan.node_number("a"))
SOURCE = OUT.address(plan.OTHERS)
FIXED = "lport 4321"
TABLE = """
table ip moves
delete table ip moves
table ip moves {{
    chain out {{
        type nat hook output priority -100
        ip daddr {taken} udp dport {port} dnat to {given}
    }}
}}
"""


def run(lab: Lab, host: str, command: str, text: str | None = None) -> None:
    within = ["ip", "netns", "exec", lab.topology.namespace(host), *command.split()]
    subprocess.run(within, check=True, input=text, text=True, capture_output=True)


def lead_to(lab: Lab, address: str) -> None:
    """Let what the client sends go to this address; what is known of it is forgotten."""
    text = TABLE.format(taken=TRANSLATED, port=plan.PORT, given=address)
    run(lab, "client", "nft -f -", text=text)
    run(lab, "client", "conntrack -F")


def wait_alive(lab: Lab, client: Client) -> None:
    """Wait until it hears its server after now, twice: the first one may have been on its way."""
    for _ in range(2):
        wait_until(is_alive(lab, client), f"{client.process.name} hears the server", PATIENCE)


@pytest.fixture
def two(make_lab: MakeLab) -> Lab:
    """Nodes with two addresses of one family, both with node a, which serves."""
    lab = make_lab(
        transport=Transport(shared=(OUT.vip, SECOND)), keepalive="1 20", vip_manager=None
    )
    change_vip(lab.topology.namespace("a"), OUTSIDE2, "add")
    lab.start_cluster()
    return lab


def take_over(lab: Lab) -> None:
    """Node a fails, node b gets all addresses."""
    lab.wait_in_sync("b")
    lab.nodes["a"].openvpn.kill()
    change_vip(lab.topology.namespace("a"), OUTSIDE2, "del")
    lab.move_vips("b")
    change_vip(lab.topology.namespace("b"), OUTSIDE2, "add")
    lab.wait_master("b")


def connections(client: Client) -> int:
    """How often it has connected so far."""
    return sum(CONNECTED in line.text for line in client.log())


def start_anew(lab: Lab, client: Client, address: str) -> None:
    """Its process dies without a word, and the next one takes this remote."""
    config = lab.directory / f"{client.process.name}.conf"
    client.process.kill()
    (lab.directory / f"{client.process.name}.status").unlink()
    config.write_text(re.sub(r"(?m)^remote \S+", f"remote {address}", config.read_text()))
    wanted = connections(client) + 1
    client.process.start()
    wait_until(lambda: connections(client) >= wanted, "it connects again", PATIENCE)


def test_a_client_that_is_translated_to_another_address(two: Lab) -> None:
    """And over a takeover, after which the server speaks from there, too."""
    lead_to(two, OUT.vip)
    client = beside(two, "moves", BY_NAT)
    wait_protected(two, 1)
    wait_alive(two, client)

    lead_to(two, SECOND)
    wait_alive(two, client)
    wait_protected(two, 1)
    with listening(two) as listener:
        take_over(two)
        wait_alive(two, client)
    assert listener.answers == {SECOND}

    lead_to(two, OUT.vip)
    wait_alive(two, client)
    assert connections(client) == 1


def test_a_client_that_starts_anew_with_another_remote(two: Lab) -> None:
    """From the port that it had: for the server it is the client that is there."""
    client = beside(two, "moves", Transport(address=OUT.vip), FIXED)
    wait_alive(two, client)
    start_anew(two, client, SECOND)
    wait_alive(two, client)
    wait_protected(two, 1)
    with listening(two) as listener:
        take_over(two)
        wait_alive(two, client)
    assert listener.answers == {SECOND}

    start_anew(two, client, OUT.vip)
    wait_alive(two, client)


def test_a_client_that_goes_to_the_nodes_own_address_and_back(two: Lab) -> None:
    """There it is served and told to no standby; back it is protected again."""
    lead_to(two, OUT.vip)
    client = beside(two, "moves", BY_NAT)
    wait_protected(two, 1)

    lead_to(two, OWN)
    wait_alive(two, client)
    wait_until(lambda: "clients_apart" in problems(two, "a"), "that it is told", PATIENCE)
    assert instance(two, "a")["apart"] == 1
    wait_until(lambda: instance(two, "b")["records"] == 0, "b forgets the client", PATIENCE)

    lead_to(two, OUT.vip)
    wait_alive(two, client)
    wait_until(lambda: "clients_apart" not in problems(two, "a"), "its end", PATIENCE)
    wait_protected(two, 1)
    take_over(two)
    wait_alive(two, client)
    assert connections(client) == 1


def test_an_answer_takes_the_way_that_routes_say(two: Lab) -> None:
    """Not the interface that the client came by: that one may be gone."""
    names = (two.topology.namespace("client"), two.topology.namespace("a"))
    for name in names:
        set_sysctls(name, {"net/ipv4/conf/all/rp_filter": "0"})
    run(two, "client", f"ip link add by0 type veth peer by0 netns {names[1]}")
    for name, address in (("client", "10.98.0.1/30"), ("a", "10.98.0.2/30")):
        run(two, name, f"ip addr add {address} dev by0")
        run(two, name, "ip link set by0 up")
    run(two, "client", f"ip route add {SECOND} via 10.98.0.2")
    client = beside(two, "around", Transport(address=SECOND), f"local {SOURCE}", FIXED)
    with listening(two) as listener:
        wait_alive(two, client)
    assert listener.answers == {SECOND}

    run(two, "client", "ip link del by0")
    wait_alive(two, client)
    assert connections(client) == 1
