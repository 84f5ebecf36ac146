"""Servers with ``dev tap``: a takeover moves what is known of MAC addresses, everywhere.

Without it the clients notice nothing either, and still nobody reaches them, or they nobody, until
something speaks by chance: for 1 to 49 s. So here the holes are what counts, in both directions,
and with clients that say nothing by themselves.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE, is_short
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.deaths import demote, kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.session import Moment, Session, Watch
from tests.lab.tap import (
    BRIDGED,
    FrameWatch,
    add_host_behind,
    bridge_nodes,
    connect_host_behind,
    mac_of,
    make_branch,
    run_ip,
    speak_up,
    tap_setup,
)
from tests.lab.traffic import ProbeStream
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

MakeLab = Callable[..., Lab]
HOLE_MS = 4000.0
"""Less than the holes there would be where nodes route, and more than a takeover takes anywhere. In
a bridged lab they can be shorter: there the frames on the LAN and the standby's routes tell."""
STATUS = ("status status 1", "status-version 2")
HOST_MAC = "06:00:00:00:01:01"
HOST = plan.LAN.address(210)


def bridged(make_lab: MakeLab, **changes: object) -> Lab:
    lab = make_lab(**tap_setup(**{"network": BRIDGED, **changes}))
    bridge_nodes(lab)
    return lab


def probe(lab: Lab, host: str, target: str) -> ProbeStream:
    stream = ProbeStream(
        f"probe-{host}-{target}", lab.topology.namespace(host), target, lab.directory
    )
    lab.look_after(stream.process)
    return stream.start()


def expect_no_hole(watch: Watch, moment: Moment, streams: list[ProbeStream]) -> None:
    """All streams go on, none was without answers for long, and the client has seen nothing."""
    by_now = watch.mark().monotonic
    for stream in streams:
        wait_until(partial(stream.answered_since, by_now), stream.process.name, PATIENCE)
    watches = {stream.process.name: Watch(watch.lab, watch.client, stream) for stream in streams}
    holes = {name: round(one.outage_ms(moment)) for name, one in watches.items()}
    print(holes)
    assert [name for name, one in watches.items() if not is_short(one, moment, HOLE_MS)] == [], (
        holes
    )
    seen = watch.noticed(moment)
    assert seen.nothing, seen


def move_back(lab: Lab) -> None:
    """The node that was killed comes back, and is given the role."""
    back = lab.other(lab.master.name)
    lab.nodes[back].openvpn.start()
    lab.wait_in_sync(back)
    demote(lab, lab.master)
    lab.wait_master(back)
    lab.wait_standbys()


def go_away_and_back(lab: Lab, session: Session, streams: list[ProbeStream]) -> None:
    """The master is killed, and later given the role again; no stream has a hole either time."""
    moment = session.strike(kill_openvpn)
    assert session.recovers(moment, PATIENCE)
    lab.wait_master("b")
    expect_no_hole(session, moment, streams)
    second = session.mark()
    move_back(lab)
    expect_no_hole(session, second, streams)


def test_routed_in_both_directions(make_lab: MakeLab) -> None:
    lab = make_lab(**tap_setup())
    lab.start_cluster()
    session = Session(lab)
    sixth = probe(lab, "client", plan.LAN.address6(100))
    streams = [session.forward, session.reverse, sixth]
    go_away_and_back(lab, session, streams)
    third = session.strike(demote)
    lab.wait_master("b")
    expect_no_hole(session, third, streams)
    assert session.finish() == ""


def test_bridged_in_both_directions(make_lab: MakeLab) -> None:
    lab = bridged(make_lab)
    lab.start_cluster()
    session = Session(lab)
    go_away_and_back(lab, session, [session.forward, session.reverse])
    assert session.finish() == ""


@pytest.mark.parametrize("where", ["routed", "bridged"])
def test_a_client_that_only_answers(make_lab: MakeLab, where: str) -> None:
    """The LAN goes on reaching it, wherever it was reached before."""
    lab = bridged(make_lab) if where == "bridged" else make_lab(**tap_setup())
    lab.start_cluster()
    client = lab.start_client()
    lab.wait_standbys()
    watch = Watch(lab, client, probe(lab, "lan", lab.tunnel_address()))
    for deed, then in ((demote, "b"), (demote, "a"), (kill_openvpn, "b")):
        lab.wait_standbys()
        moment = watch.strike(deed)
        lab.wait_master(then)
        expect_no_hole(watch, moment, [watch.forward])


def test_several_hosts_behind_a_client(make_lab: MakeLab) -> None:
    lab = bridged(make_lab, server_options=STATUS)
    lab.start_cluster()
    client = lab.start_client()
    hosts = {f"behind{at}": plan.LAN.address(210 + at) for at in range(3)}
    for at, (name, address) in enumerate(hosts.items()):
        add_host_behind(lab, name, "tun0", f"06:00:00:00:02:0{at}", f"{address}/24")
    streams = [probe(lab, "lan", address) for address in hosts.values()]
    watch = Watch(lab, client, streams[0])
    lab.wait_standbys()
    wait_until(partial(routes_are_equal, lab), "the standby has the same MAC routes", PATIENCE)
    with FrameWatch(lab) as frames:
        moment = watch.strike(kill_openvpn)
        lab.wait_master("b")
        expect_no_hole(watch, moment, streams)
        macs = {(0, bytes((6, 0, 0, 0, 2, at))) for at in range(3)}
        wait_until(lambda: twice(frames) >= macs, "two RARP frames of each", PATIENCE)


def test_site_to_site(make_lab: MakeLab) -> None:
    """The client is a bridge itself, as the forerunners had it: two LANs are one."""
    lab = bridged(make_lab, client_options=("ifconfig-noexec",), server_options=STATUS)
    make_branch(lab, "branch", f"{HOST}/24")
    lab.start_cluster()
    client = lab.start_client()
    run_ip(lab, "client", "link set tun0 master office0 up")
    streams = [probe(lab, "branch", plan.LAN.address(100)), probe(lab, "lan", HOST)]
    watch = Watch(lab, client, streams[0])
    for deed, then in ((demote, "b"), (demote, "a"), (kill_openvpn, "b")):
        lab.wait_standbys()
        moment = watch.strike(deed)
        lab.wait_master(then)
        expect_no_hole(watch, moment, streams)


def twice(frames: FrameWatch) -> set[tuple[int, bytes]]:
    return {which for which, count in frames.rarps().items() if count == 2}


def test_a_host_that_has_moved_to_another_client(make_lab: MakeLab) -> None:
    """Each of two clients has had it, and the standby knows which was the last."""
    lab = bridged(make_lab, server_options=STATUS)
    lab.start_cluster()
    client = lab.start_client()
    second = lab.launch_beside("second", ["ifconfig-noexec"])
    second.wait_connected()
    run_ip(lab, "client", "link set tun2 up")
    add_host_behind(lab, "behind", "tun0", HOST_MAC, f"{HOST}/24")
    stream = probe(lab, "lan", HOST)
    watch = Watch(lab, client, stream)
    for device in ("tun2", "tun0", "tun2"):
        connect_host_behind(lab, "behind", device, HOST_MAC, f"{HOST}/24")
        # as a host does that is plugged in
        speak_up(lab, "behind", "eth0", bytes.fromhex(HOST_MAC.replace(":", "")))
        now = watch.mark()
        assert watch.recovers(now, PATIENCE)
    wait_until(partial(routes_are_equal, lab), "the standby has the same MAC routes", PATIENCE)
    moment = watch.strike(kill_openvpn)
    lab.wait_master("b")
    expect_no_hole(watch, moment, [stream])
    assert noticed_nothing(second, moment)


def noticed_nothing(client: Client, moment: Moment) -> bool:
    return noticed(client.log(), moment.wall).nothing


def routes_of(file: Path) -> set[tuple[str, str]]:
    """The routing table of a status file: address and the name of its client."""
    rows = [line.split(",") for line in file.read_text().splitlines()]
    return {(row[1], row[2]) for row in rows if row[0] == "ROUTING_TABLE"}


def routes_are_equal(lab: Lab) -> bool:
    """Whether what all nodes have last written down is the same, and not nothing."""
    tables = [routes_of(node.directory / "status") for node in lab.nodes.values()]
    return bool(tables[0]) and all(table == tables[0] for table in tables)


def test_vlans(make_lab: MakeLab, tmp_path: Path) -> None:
    """A client in a VLAN is reached from there, and told of there, in a frame with its tag."""
    (tmp_path / "client").write_text("vlan-pvid 10\nifconfig-push 10.77.0.5 255.255.255.0\n")
    tagging = ("vlan-tagging", "vlan-accept all", "vlan-pvid 1", f"client-config-dir {tmp_path}")
    lab = bridged(make_lab, server_options=(*tagging, *STATUS))
    lab.start_cluster()
    client = lab.start_client()
    mac = mac_of(lab, "client", "tun0")
    speak_up(lab, "client", "tun0", mac)
    with FrameWatch(lab) as frames:
        reach_in_vlan(frames, mac)
        lab.wait_standbys()
        wait_until(partial(routes_are_equal, lab), "the standby has the MAC route", PATIENCE)
        wall = time.time_ns()
        kill_openvpn(lab, lab.master)
        reach_in_vlan(frames, mac)
        lab.wait_master("b")
        wait_until(lambda: twice(frames) == {(10, mac)}, "two RARP frames", PATIENCE)
    assert noticed(client.log(), wall).nothing


def reach_in_vlan(frames: FrameWatch, mac: bytes) -> None:
    """Ask until there is an answer to what was asked from now on."""
    before = frames.answers(10, mac)

    def is_answered() -> bool:
        frames.ask(10, mac, "10.77.0.5")
        return frames.answers(10, mac) > before

    wait_until(is_answered, "an answer in the VLAN", PATIENCE)


def test_too_many_macs(make_lab: MakeLab) -> None:
    """A client that makes addresses up has its quota of them on a standby and in the LAN, too."""
    quota = 40
    lab = bridged(make_lab, server_options=(f"max-routes-per-client {quota}", *STATUS))
    lab.start_cluster()
    client = lab.start_client()
    watch = Watch(lab, client, probe(lab, "client", plan.LAN.address(100)))
    made_up = [struct.pack("!HI", 0x0600, number) for number in range(10 * quota)]
    speak_up(lab, "client", "tun0", *made_up)
    standby = lab.nodes["b"].directory / "status"
    wait_until(lambda: len(routes_of(standby)) == quota, "a standby with all of them", PATIENCE)
    lab.wait_standbys()
    with FrameWatch(lab) as frames:
        moment = watch.strike(kill_openvpn)
        lab.wait_master("b")
        expect_no_hole(watch, moment, [watch.forward])
        wait_until(lambda: len(twice(frames)) == quota, "two RARP frames of each", PATIENCE)
        assert frames.rarps().total() == 2 * quota
    # Once a second it is written anew, line by line.
    wait_until(lambda: len(routes_of(standby)) == quota, "still all of them, and no more", PATIENCE)
