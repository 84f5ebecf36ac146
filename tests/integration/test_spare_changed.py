"""What was changed in a configuration is never taken for what was opened under the old one.

Ruled by docs/adr/0082-what-was-made-is-written-down.md and, for two servers that share a file,
docs/adr/0080-known-by-the-configuration-not-by-the-port.md.
"""

from __future__ import annotations

import signal
import socket

import pytest

from tests.integration.sparepair import PORT, RUNNING, SparePair, run, switched
from tests.lab.topology import inside

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NETWORK = "server 10.8.0.0 255.255.255.0"


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (NETWORK, "server 10.9.0.0 255.255.255.0", "server differs: what is open has 10.8.0.1"),
        ("topology subnet", "topology net30", "topology differs"),
        ("cluster-spare", "cluster-spare\ntun-mtu 1400", "tun-mtu differs: what is open has 1500"),
        ("cluster-spare", "cluster-spare\ntxqueuelen 700", "txqueuelen differs"),
        ("cluster-spare", "cluster-spare\nsndbuf 70000", "sndbuf differs"),
        ("cluster-spare", "cluster-spare\nmultihome", "multihome differs"),
        ("route 10.55", "route 10.66", "route differs: what is open has 10.55.0.0 255.255.0.0"),
        ("/up.sh", "/down.sh", "up differs"),
    ],
)
def test_what_the_other_one_made_otherwise_is_not_taken(
    lone: SparePair, before: str, after: str, named: str
) -> None:
    """Clients would be connected and nothing get through, or the change be told as done."""
    lone.serve_alone()
    lone.connect()
    lone.write(change=(before, after))
    with lone.streams() as streams:
        lone.b.start()
        lone.b.expect(f">CLUSTER:WAITING,configuration,{lone.a.process.pid}")
        lone.expect_refused(lone.a, lone.b, named)
        streams.linger(RUNNING)
    assert [one.missing for one in streams.counted] == [(), ()]


def test_the_next_one_makes_anew_what_was_changed_when_the_last_one_ends(pair: SparePair) -> None:
    """Of a forced restart while the spare serves: the main process comes first, and waits."""
    switched(pair)
    pair.a.process.signal(signal.SIGTERM)
    assert pair.a.ends() == 0
    pair.write(change=(NETWORK, "server 10.9.0.0 255.255.255.0"))
    pair.a.start()
    pair.expect_refused(pair.b, pair.a, "server differs")
    pair.b.process.signal(signal.SIGTERM)
    assert pair.b.ends() == 0
    assert pair.a.status()["descriptors"] == "own"
    assert pair.a.one("cluster-promote 3/a").startswith("SUCCESS")
    found = run("ip", "-n", pair.server, "-br", "addr", "show", "dev", "tun0")
    assert "10.9.0.1/24" in found
    assert "10.8.0.1" not in found
    pair.b.start()
    pair.share(pair.a, pair.b)  # which is configured as that one


def test_a_tun_made_by_a_process_that_took_none_before_is_compared_anew(lone: SparePair) -> None:
    """What an earlier one of this configuration made of its own tun is past."""
    lone.a.start()
    lone.a.status()
    lone.a.leave()
    lone.a.process.kill()
    lone.write(change=("route 10.55", "route 10.66"))
    lone.serve()


def test_two_servers_with_one_file_in_common_do_not_wait_for_each_other(lone: SparePair) -> None:
    """OpenVPN itself knows the first --config only."""
    own = ("port ", "dev ", "server ", "route ", "writepid", "status ", "ifconfig-pool-persist")
    lines = (lone.home / "server.conf").read_text().splitlines()
    common = "".join(f"{line}\n" for line in lines if not line.startswith(own))
    (lone.home / "common.conf").write_text(common)
    servers = []
    for number, port in ((1, 1194), (2, 1195)):
        (lone.home / f"udp{number}.conf").write_text(
            f"port {port}\ndev tun{number}\nserver 10.{number}.0.0 255.255.255.0\n"
        )
        for name in (f"main{number}", f"spare{number}"):
            more = ("--config", f"udp{number}.conf")
            servers.append(lone.process(name, "common.conf", more=more).start())
            if name.startswith("main"):
                assert servers[-1].status()["descriptors"] == "own"
    for main, spare in (servers[:2], servers[2:]):
        spare.expect(f">CLUSTER:WAITING,configuration,{main.process.pid}")
        lone.share(main, spare)


def test_another_program_s_port_is_told_as_that(lone: SparePair) -> None:
    lone.write(change=("local 10.99.0.1", "local 127.0.0.1"))
    with inside(lone.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", PORT))
        lone.a.start()
        lone.a.expect(">CLUSTER:WAITING,port")
    assert lone.a.status()["descriptors"] == "own"
