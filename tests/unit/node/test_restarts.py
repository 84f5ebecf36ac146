"""Sidecars start and die, OpenVPN is found in any state, channels break."""

from __future__ import annotations

import pytest

from ovpnha.model import Epoch, Grade, NodeName, Role, Sync
from ovpnha.node.openvpn.refusals import LASTS_AFTER
from ovpnha.node.outputs import CloseManagement, WriteManagement
from ovpnha.node.role.succession import KEEP, LISTEN
from ovpnha.problems import Problem, ProblemKind
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.unit.node.test_resync import lose_what_is_written
from tests.unit.node.test_takeover import serve


def orders(node: ModelNode) -> list[str]:
    """The orders about its role that OpenVPN was given."""
    assert node.openvpn is not None
    words = ("cluster-promote", "cluster-hold", "cluster-demote", "cluster-drop")
    return [line for line in node.openvpn.commands if line.startswith(words)]


def test_a_restarted_sidecar_of_the_master_leaves_the_clients_alone() -> None:
    world, a, b = serve(100)
    assert a.openvpn is not None
    a.openvpn.commands.clear()
    a.kill_sidecar()
    world.run(1)
    a.openvpn.connect_client("unheard")
    a.openvpn.lapses = 1
    a.start()
    took = world.run_until(lambda: world.same_tables("a", "b"))
    assert took < 2
    world.run_until(lambda: a.figures.exporter.protected == 101)
    assert orders(a) == []
    assert a.plays(Role.MASTER)
    assert a.figures.epoch == Epoch(1, NodeName("a"))
    assert (
        a.figures.openvpn.counters["waits_lapsed"],
        a.figures.openvpn.counters["waits_in_vain"],
    ) == (1, 0)
    assert b.in_sync


@pytest.mark.parametrize("holds", [False, True])
def test_who_comes_back_tells_that_clients_may_have_changed(holds: bool) -> None:
    """It does not know what its OpenVPN did while nobody looked."""
    world, a, b = serve()
    if holds:
        a.set_vip(False)
        world.run(0.1)
    a.kill_sidecar()
    world.run(1)
    a.start()
    world.run(1)
    assert b.node is not None
    told = b.node._instances[INSTANCE].parts.view.state(NodeName("a"))
    assert told is not None
    assert told.touched


def test_what_is_lost_is_lost_once_and_says_why() -> None:
    """Nobody waits for an answer of what is known to be gone."""
    world, a, _b = serve()
    a.kill_openvpn()
    reason = a.roles[-1].reason
    world.run(10)
    assert reason.startswith("OpenVPN is down: ")
    assert [one.fields["reason"] for one in a.logged("openvpn lost")] == [reason]


def test_what_refuses_us_is_lost_once_and_says_why() -> None:
    _world, a, _b = serve()
    assert a.node is not None
    parts = a.node._instances[INSTANCE].parts
    fault = Problem(ProblemKind.SERVER_SILENT, "it wants a password")
    a.step(lambda node, now: node._instances[INSTANCE].give_up(fault, now))
    assert parts.discovery.get_timer() is None
    assert [one.fields["reason"] for one in a.logged("openvpn lost")] == ["it wants a password"]


def test_every_openvpn_is_given_the_cookie_key() -> None:
    world = World()
    a = world.add("a", cookie_key=b"c" * 32)
    world.run(0.1)
    assert a.openvpn is not None
    assert a.openvpn.cookie_key == b"c" * 32
    a.kill_openvpn()
    world.run(0.1)
    fresh = a.start_openvpn()
    world.run(0.1)
    assert fresh.cookie_key == b"c" * 32


def test_an_older_openvpn_is_asked_once_for_cookies() -> None:
    """It takes the key's line for a command, whose answer breaks the channel."""
    world = World()
    a = world.add("a", cookie_key=b"c" * 32, cookies=False)
    world.run(5)
    assert a.openvpn is not None
    assert a.openvpn.commands.count("cluster-cookie") == 1
    assert len(a.logged("openvpn refused a command")) == 1
    assert a.plays(Role.STANDBY)
    a.kill_openvpn()
    a.start_openvpn()
    world.run(1)
    assert a.openvpn.cookie_key == b"c" * 32


def test_a_restarted_sidecar_of_a_standby_drops_what_is_gone() -> None:
    world, a, b = serve(100)
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.kill_sidecar()
    for uid in list(a.openvpn.clients)[:10]:
        a.openvpn.disconnect_client(uid)
    for uid in list(a.openvpn.clients)[:10]:
        a.openvpn.renegotiate(uid)
    a.pump()
    world.run(3)
    holder = b.openvpn.holder
    b.start()
    world.run_until(lambda: world.same_tables("a", "b"))
    world.run_until(lambda: b.in_sync)
    assert b.openvpn.holder == holder
    assert len(orders(b)) == 10


def test_a_sidecar_that_finds_a_master_without_the_vip_holds_it() -> None:
    world, a, _ = serve()
    a.kill_sidecar()
    a.vip = False
    a.start()
    world.run(0.1)
    assert a.plays(Role.HELD)
    assert a.openvpn is not None
    assert a.openvpn.plays(Role.HELD)
    assert a.roles[-1].reason == "OpenVPN says it is master, and the VIP is not here"
    assert a.grade == Grade.MASTER
    world.move_vip("a")
    world.run(0.1)
    assert orders(a) == ["cluster-promote 1/a", "cluster-hold", "cluster-promote 1/a"]
    assert a.figures.clients == 10


def test_a_sidecar_that_finds_openvpn_held_goes_on_from_there() -> None:
    world, a, b = serve()
    world.move_vip(None)
    world.run(0.1)
    a.kill_sidecar()
    world.run(1)
    a.start()
    world.run(0.1)
    assert a.plays(Role.HELD)
    assert a.roles[-1].reason == "OpenVPN says it is held"
    world.move_vip("b")
    world.run_until(lambda: a.in_sync)
    assert b.plays(Role.MASTER)
    assert orders(a)[-1] == "cluster-demote"


def test_a_sidecar_that_finds_a_standby_under_the_vip_promotes() -> None:
    world, a, b = serve()
    b.kill_sidecar()
    a.kill()
    b.vip = True
    b.start()
    world.run(0.1 + LISTEN)
    assert b.plays(Role.MASTER)
    assert b.figures.clients == 10


def test_a_sidecar_that_starts_slowly_listens_before_it_promotes() -> None:
    """It has begun long before it reads what OpenVPN and the other nodes have said."""
    world, a, b = serve()
    a.kill_sidecar()
    a.kill_openvpn()
    a.reachable = False
    a.start()
    world.run(2 * LISTEN)
    a.start_openvpn()
    world.run(LISTEN / 5)
    assert a.plays(Role.STANDBY)
    a.reachable = True
    world.run(LISTEN / 2)
    assert a.plays(Role.STANDBY)
    assert a.grade == Grade.FAULT
    world.move_vip("b")
    world.run(LISTEN)
    assert b.plays(Role.MASTER)
    assert b.figures.clients == 10


@pytest.mark.parametrize("vip", [True, False])
def test_an_openvpn_that_is_found_starting_cannot_have_the_vip(vip: bool) -> None:
    """SIGUSR1 while no sidecar was there: its clients are gone, and it pauses for a second."""
    world = World()
    a = world.add("a", start=False)
    a.vip = vip
    a.start()
    openvpn = a.start_openvpn()
    openvpn.waiting = True
    world.run(0.01)
    assert [(one.grade, one.reason) for one in a.grades] == (
        [(Grade.FAULT, "OpenVPN starts anew")] if vip else []
    )
    openvpn.waiting = False
    world.run(1)
    assert a.plays(Role.MASTER if vip else Role.STANDBY)
    assert len(a.logged("openvpn lost")) == vip


def test_a_master_promoted_by_hand_gets_an_epoch() -> None:
    world = World()
    a = world.add("a", start=False)
    a.vip = True
    openvpn = a.start_openvpn()
    openvpn.role = Role.MASTER
    openvpn.epoch = "by-hand"
    a.start()
    world.run(0.1)
    assert a.figures.epoch == Epoch(1, NodeName("a"))
    assert orders(a) == []


def test_nothing_is_ordered_before_the_vip_is_known() -> None:
    world, a, _ = serve()
    a.kill_sidecar()
    a.grades.clear()
    assert a.openvpn is not None
    a.openvpn.commands.clear()
    world.run(0.1)
    a.start()
    assert a.grades == []
    world.run(1)
    assert [one.grade for one in a.grades] == [Grade.MASTER]


def test_an_openvpn_that_never_starts_is_a_fault() -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    world.run(2.9)
    assert a.grades == []
    assert a.plays(Role.INIT)
    world.run(0.2)
    assert a.grade == Grade.FAULT
    assert a.grades[-1].reason == "OpenVPN is down"
    assert a.roles[-1].reason == "OpenVPN is down"
    a.start_openvpn()
    world.run(0.1)
    assert a.plays(Role.STANDBY)
    world.run(30)
    assert len(a.logged("openvpn lost")) == 1


def test_an_openvpn_that_does_not_answer_is_a_fault_until_it_does() -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    a.step(lambda node, now: node.management_up(INSTANCE, now))
    world.run(9)
    assert not a.grades  # a busy one that serves must not lose the VIP to its sidecar's start
    world.run(2)
    assert a.grades[-1].reason == "OpenVPN does not answer"
    a.start_openvpn()
    world.run(0.1)
    assert a.plays(Role.STANDBY)


def test_a_late_answer_ends_the_fault() -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    a.step(lambda node, now: node.management_up(INSTANCE, now))
    world.run(11)
    status = (
        b"SUCCESS: cluster-status version=2,format=1,role=standby,instances=0,holder="
        + b"ab" * 16
        + b",epoch=-,openvpn=2.6.14\r\nEND\r\n"
    )
    a.step(lambda node, now: node.receive_management(INSTANCE, status, now))
    assert a.plays(Role.STANDBY)


def test_an_openvpn_that_waits_for_hold_release_is_released() -> None:
    world = World()
    a = world.add("a", held_start=True)
    world.run(0.5)
    assert a.openvpn is not None
    assert not a.openvpn.waiting
    assert a.plays(Role.STANDBY)


def test_openvpn_without_the_patch_is_shown_as_it_is() -> None:
    world = World()
    a = world.add("a", patched=False)
    world.run(1)
    assert a.openvpn is not None
    a.openvpn.connect_client()
    world.run(3)
    figures = a.figures
    assert not figures.discovery.seamless
    assert figures.discovery.openvpn == "2.6.14"
    assert figures.clients == 1
    assert figures.role is Role.STANDBY
    assert a.grade == Grade.LONE
    assert len(a.logged("openvpn lacks the patch")) == 1
    world.move_vip("a")
    assert a.grade == Grade.MASTER
    assert a.plays(Role.MASTER)
    world.move_vip(None)
    assert a.plays(Role.STANDBY)
    a.step(lambda node, now: node.link_changed("bcn", False, now))
    assert a.grade == Grade.DEGRADED
    assert not [line for line in a.openvpn.commands if "promote" in line or "hold" in line]
    a.kill_openvpn()
    assert a.grade == Grade.FAULT
    a.start_openvpn(patched=True)
    world.run(0.1)
    assert a.figures.discovery.seamless
    assert a.plays(Role.STANDBY)


@pytest.mark.parametrize(
    ("refusal", "after"), [("no-cluster needs --cluster", 0.1), ("not now", 4.0)]
)
def test_the_patch_without_the_option_counts_as_stock(refusal: str, after: float) -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    openvpn = a.start_openvpn()
    for _ in range(400):
        openvpn.refuse["cluster-status"] = refusal
        world.run(0.01)
        if world.now > 1000 + after:
            break
    assert a.logged("openvpn runs without the option cluster")
    assert not a.figures.discovery.seamless
    openvpn.refuse.clear()
    world.run(3)
    assert a.plays(Role.STANDBY)
    assert a.figures.discovery.seamless


def test_a_broken_channel_is_connected_again_and_costs_nothing() -> None:
    world, a, b = serve()
    assert a.openvpn is not None
    a.grades.clear()
    a.roles.clear()
    a.openvpn.commands.clear()
    a.openvpn.notify("what is this")
    a.pump()
    world.run(1)
    assert [one for one in a.outputs if isinstance(one, CloseManagement)]
    assert a.logged("management channel broken")
    assert a.plays(Role.MASTER)
    assert a.grades == []
    assert a.roles == []
    assert orders(a) == []
    world.run_until(lambda: a.figures.exporter.protected == 10)
    assert a.figures.openvpn.counters["management_errors"] == 1
    assert b.in_sync


def test_a_broken_channel_that_cannot_be_connected_again_is_a_fault() -> None:
    world, a, _ = serve()
    assert a.openvpn is not None
    a.openvpn.notify("what is this")
    a.pump()
    world.run(0.01)
    a.openvpn = None
    world.run(2.9)
    assert a.grade == Grade.MASTER
    world.run(0.2)
    assert a.grade == Grade.FAULT


def test_a_socket_that_closes_in_mid_line_is_one_clear_event() -> None:
    world, a, _ = serve()
    a.step(lambda node, now: node.receive_management(INSTANCE, b">CLUSTER:CHA", now))
    a.kill_openvpn()
    assert len(a.logged("management socket closed in mid-line")) == 1
    a.step(lambda node, now: node.receive_management(INSTANCE, b"more", now))
    world.run(0.1)
    assert a.plays(Role.FAULT)


def test_an_order_that_is_refused_is_found_out_about() -> None:
    world, a, b = serve()
    assert b.openvpn is not None
    b.openvpn.refuse["cluster-promote"] = "no"
    a.kill()
    world.move_vip("b")
    world.run(0.5)
    assert b.logged("openvpn refused an order")
    assert b.plays(Role.INIT)
    world.run(1)
    assert b.plays(Role.MASTER)
    assert b.openvpn.plays(Role.MASTER)
    assert b.figures.clients == 10


def test_an_openvpn_that_changes_by_itself_is_asked_again() -> None:
    world, a, b = serve()
    assert b.openvpn is not None
    b.openvpn._do_demote([], [])
    b.pump()
    world.run_until(lambda: b.in_sync and len(b.openvpn.clients) == 10)  # type: ignore[union-attr]
    assert b.logged("openvpn changed its role by itself")
    world.run_until(lambda: a.figures.exporter.protected == 10)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (">PASSWORD:Need 'Auth' username/password", "management-query-passwords"),
        (">CLIENT:CONNECT,0,1", "management-client-auth"),
    ],
)
def test_a_question_that_ovpnha_does_not_answer_names_the_option(line: str, option: str) -> None:
    world, a, _ = serve()
    assert a.openvpn is not None
    a.openvpn.notify(line)
    a.openvpn.notify(line)
    a.openvpn.notify(">STATE:1,CONNECTED,SUCCESS,,,,,")
    a.openvpn.notify(">FATAL:cannot go on")
    a.pump()
    world.run(0.1)
    warnings = a.logged("openvpn asks what ovpnha does not answer")
    assert [one.fields["remove"] for one in warnings] == [option]
    assert a.logged("openvpn ends")[0].fields["reason"] == "cannot go on"


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"digest": "other"}, "configuration"),
        ({"certificate": "other"}, "certificate"),
        ({"issuer": "other"}, "issuer"),
        ({"record_format": 2}, "record format"),
    ],
)
def test_a_node_that_differs_from_the_master_is_in_fault(
    option: dict[str, object], word: str
) -> None:
    world, _, b = serve()
    c = world.add("c", start=True, **option)
    world.run(1)
    assert c.plays(Role.FAULT)
    assert c.grade == Grade.FAULT
    assert word in c.grades[-1].reason
    assert len(c.logged("must not replicate")) == 1
    assert c.figures.clients == 0
    assert c.figures.nodes[0].problem
    assert b.in_sync
    c.kill_openvpn()
    c.start_openvpn()
    world.run_until(lambda: c.in_sync)


def test_a_node_that_differs_serves_when_it_is_given_the_vip() -> None:
    world, a, b = serve()
    c = world.add("c", digest="other")
    world.run(1)
    world.move_vip("c")
    world.run(0.1)
    assert c.plays(Role.MASTER)
    assert c.grade == Grade.MASTER
    world.run(KEEP)
    assert a.plays(Role.FAULT)
    assert b.plays(Role.FAULT)


def test_a_difference_can_be_tolerated_and_can_end() -> None:
    world, a, b = serve()
    c = world.add("c", certificate="other", tolerate=frozenset({"certificate"}))
    d = world.add("d", digest="other")
    world.run(1)
    assert c.in_sync
    assert d.plays(Role.FAULT)
    a.kill()
    b.kill()
    world.run(3)
    assert d.plays(Role.STANDBY)
    assert d.figures.sync is Sync.NONE


def test_stopping_says_goodbye_and_orders_nothing() -> None:
    world, a, b = serve()
    assert a.openvpn is not None
    a.outputs.clear()
    a.step(lambda node, now: node.stop(now))
    assert not [one for one in a.outputs if isinstance(one, WriteManagement)]
    a.kill_sidecar()
    world.run(0.1)
    assert b.logged("node lost")[-1].fields["reason"] == "goodbye"
    assert a.openvpn.plays(Role.MASTER)


def test_an_overtake_that_is_lost_with_the_channel_is_ordered_again() -> None:
    """Else this node says an epoch above another one, and OpenVPN has not jumped above its ids."""
    world, a, b = serve()
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.reachable = False
    world.run(3.0)
    b.set_vip(True)
    world.run(0.1)
    uids = list(b.openvpn.clients)
    heard = {uid: b.openvpn.send_packet(uid) or 0 for uid in uids}
    b.set_vip(False)
    b.reachable, a.busy = True, 0.01
    world.run_until(lambda: a.logged("overtaking an epoch without master") != [])
    lose_what_is_written(a)
    world.run(0.001)
    assert a.openvpn.epoch == "1/a"
    a.busy = 0.0
    world.run(0.5)
    assert a.openvpn.epoch == str(a.figures.epoch)
    assert a.figures.epoch > Epoch(2, NodeName("b"))
    assert all((a.openvpn.send_packet(uid) or 0) > heard[uid] for uid in uids)


def test_a_sidecar_that_finds_openvpn_held_learns_whose_keys_to_renew() -> None:
    world, a, b = serve()
    a.kill()
    world.move_vip("b")
    world.run(0.5)
    world.move_vip(None)
    b.kill_sidecar()
    b.start()
    world.run(0.2)
    assert b.plays(Role.HELD)
    world.move_vip("b")
    world.run_until(lambda: b.figures.rekey.done == 10)


def test_copies_that_were_found_are_not_said_to_have_no_packet_ids() -> None:
    """Those of clients that the master lacks are kept, and their ids are not known."""
    world, a, b = serve()
    a.kill_openvpn()
    world.run(0.1)
    a.start_openvpn()
    world.run(3.0)
    assert (a.figures.clients, b.figures.clients) == (0, 10)
    b.kill_sidecar()
    b.start()
    world.run(2 * LASTS_AFTER)
    assert b.figures.clients == 10
    assert b.in_sync
    assert b.told_problems == ()
