"""Two OpenVPN processes of one server whose socket takes any address, of IPv4 alone or of both.

What a client speaks to is known to the process that read it; the other one has it from the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.integration.sparepair import (
    RUNNING,
    SERVER_ADDRESS,
    SparePair,
    expect_untouched,
    restarts,
)
from tests.lab.topology import set_sysctls
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

BOUND = f"local {SERVER_ADDRESS}\nport 1194\nproto udp4\n"
ANY = "cluster-address {address}\nport 1194\nproto {proto}\n"


@pytest.fixture(params=["udp4", "udp6"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SparePair]:
    """Both processes run, ``a`` serves, ``b`` has taken the descriptors."""
    with SparePair(tmp_path, OPENVPN) as made:
        made.write(change=(BOUND, ANY.format(address=SERVER_ADDRESS, proto=request.param)))
        made.serve()
        yield made


def test_a_planned_change_and_a_death_lose_nothing(pair: SparePair) -> None:
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        streams.linger(RUNNING)
        pair.switch(pair.a, pair.b, "2/b")
        assert pair.a.one("cluster-demote").startswith("SUCCESS")
        pair.carry(pair.b, pair.a)
        streams.linger(RUNNING)
        pair.b.process.kill()
        assert pair.a.one("cluster-promote 3/a").startswith("SUCCESS")
        streams.linger(RUNNING)
    assert all(len(one.missing) <= 1 for one in streams.counted), streams.counted
    assert restarts(client.log()) == []
    assert pair.a.status()["apart"] == "0"


def test_who_retires_leaves_everything_and_the_next_one_waits(pair: SparePair) -> None:
    client = pair.connect()
    pair.carry(pair.a, pair.b)
    with pair.streams() as streams:
        pair.switch(pair.a, pair.b, "2/b")
        assert pair.a.one("cluster-retire") == "SUCCESS: cluster-retire"
        assert pair.a.ends() == 0
        streams.linger(RUNNING)
        expect_untouched(pair)
        pair.a.start()
        pair.share(pair.b, pair.a)
        pair.carry(pair.b, pair.a)
        pair.switch(pair.b, pair.a, "3/a")
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]
    assert restarts(client.log()) == []


def test_a_process_without_a_server_opens_its_own(pair: SparePair) -> None:
    """The port is free again, by the wildcard address as by any other."""
    third = pair.process("c").start()
    third.expect(">CLUSTER:WAITING")
    for one in (pair.a, pair.b):
        one.process.kill()
    wait_until(lambda: third.status()["descriptors"] == "own", "one of its own", PATIENCE)


def test_the_kernel_may_let_it_send_from_what_is_not_here(tmp_path: Path) -> None:
    """From an IPv6 address, and only if it was told to; so this process is not to serve early."""
    with SparePair(tmp_path, OPENVPN) as made:
        both = f"cluster-address 2001:db8:55::1\n{ANY.format(address=SERVER_ADDRESS, proto='udp6')}"
        made.write(change=(BOUND, both))
        made.a.start()
        for told in "010":
            set_sysctls(made.server, {"net/ipv6/ip_nonlocal_bind": told})
            assert made.a.status()["early"] == told
