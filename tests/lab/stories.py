"""What happens in a row of ``make scenarios``: a story for each victim of the table.

A story begins with a cluster of two nodes that serves a client, brings about what its victim says,
and gives the moment from which everything is counted. It ends when all is told: what comes after is
observation.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from tests.lab import plan, served
from tests.lab.deaths import cut_node, kill_openvpn
from tests.lab.lab import Lab
from tests.lab.measure import lost
from tests.lab.node import Node
from tests.lab.overflow import count_full_processors, count_full_queues
from tests.lab.process import Process
from tests.lab.scenarios import Victim
from tests.lab.session import Moment, Session
from tests.lab.sidecar import run_command
from tests.lab.traffic import agent
from tests.lab.waiting import wait_until

Story = Callable[[Session], Moment]

PATIENCE = 60.0
FLAPS = 10
FLAP_SECONDS = 6.0
DOWN_SECONDS = 0.5
RESTART_SECONDS = 0.2
"""After which systemd starts a sidecar that has died (deploy/systemd)."""
STAY_SECONDS = 4.0
LOAD_MBIT = 100
LOAD_SECONDS = 2.0


def _struck(deed: Callable[[Lab, Node], None]) -> Story:
    return lambda session: session.strike(deed)


def _cut(*segments: plan.Segment) -> Story:
    """The master loses these networks."""

    def cut(lab: Lab, master: Node) -> None:
        lab.topology.set_links(master.name, "down", segments)

    return _struck(cut)


def lose_back_channel(session: Session) -> Moment:
    """The VIP stays where it is; watched for longer than it takes to give a silent node up."""
    moment = _cut(plan.BCN)(session)
    session.linger(STAY_SECONDS)
    return moment


def freeze(session: Session) -> Moment:
    """Everything on the master stands still until another one serves, and goes on then."""
    master = session.lab.master
    moment = session.strike(lambda lab, node: signal_node(lab, node, signal.SIGSTOP))
    session.recovers(moment, PATIENCE)
    session.linger(STAY_SECONDS)
    signal_node(session.lab, master, signal.SIGCONT)
    one_holder(session.lab)
    return moment


def signal_node(lab: Lab, node: Node, number: signal.Signals) -> None:
    """Send a signal to everything on a node that runs, with its children.

    That a node's routing goes on while what it routes to stands still is no node that is frozen:
    both nodes would be announced, and nobody could say which is the one to go to.
    """
    for process in (*node.processes, *lab.topology.programs(node.name)):
        if process.running:
            os.killpg(process.pid, number)


def one_holder(lab: Lab) -> None:
    """Wait until the VIP is on one node only."""

    def is_one() -> bool:
        present: set[str] = set()
        for event in lab.vips.events():
            if event.address == plan.OUT.vip:
                (present.add if event.present else present.discard)(event.node)
        return len(present) == 1

    wait_until(is_one, "the VIP is on one node only", PATIENCE)


def lose_both(session: Session) -> Moment:
    """The cluster loses its master, and the successor its sidecar in the moment of the takeover."""
    lab = session.lab
    successor = lab.nodes[lab.other(lab.master.name)]
    moment = session.strike(cut_node)
    wait_until(lambda: lab.vips.holder() == successor.name, "the VIP moves", PATIENCE)
    successor.sidecar.process.kill()
    session.linger(RESTART_SECONDS)
    successor.sidecar.process.start()
    return moment


def come_back(session: Session) -> Moment:
    """From the moment on in which a master that was cut off is there again."""
    lab = session.lab
    cut = session.strike(cut_node)
    successor = lab.other(cut.node)
    lab.wait_master(successor, PATIENCE)
    session.recovers(cut, PATIENCE)
    session.linger(1.0)
    moment = session.mark()
    lab.topology.set_links(cut.node, "up")
    if lab.setup.priorities:
        lab.wait_master(cut.node, PATIENCE)
        lab.wait_in_sync(successor, PATIENCE)
    else:
        lab.wait_in_sync(cut.node, PATIENCE)
        session.linger(STAY_SECONDS)
    return moment


def switch_all_off_and_on(session: Session) -> Moment:
    """The standby goes first and comes first."""
    lab = session.lab
    master = lab.master
    standby = lab.nodes[lab.other(master.name)]
    moment = session.mark()
    for node in (standby, master):
        _all(node, Process.stop)
    moment = replace(moment, over=time.monotonic_ns())
    for node in (standby, master):
        node.start()
        node.vip_manager.start()
    session.recovers(moment, 3 * PATIENCE)
    lab.wait_standbys(PATIENCE)
    return moment


def _all(node: Node, verb: Callable[[Process], None]) -> None:
    node.vip_manager.stop()
    for process in (node.openvpn, node.sidecar.process, node.conntrackd.process):
        if process.running:
            verb(process)


def switch_over(lab: Lab, master: Node) -> None:
    """As an operator does it, and it must succeed."""
    run_command("switchover", "--config", lab.directory / "ovpnha.toml", "--node", master.name)


def flap(session: Session) -> Moment:
    """Always the same node: the one that is master at the beginning."""
    lab = session.lab
    moment = session.mark()
    for _ in range(FLAPS):
        begin = time.monotonic()
        lab.topology.set_links(moment.node, "down", (plan.OUT,))
        session.linger(DOWN_SECONDS)
        lab.topology.set_links(moment.node, "up", (plan.OUT,))
        session.linger(max(0.0, begin + FLAP_SECONDS - time.monotonic()))
    return moment


def switch_under_load(session: Session) -> Moment:
    """The load flows from before the switchover until what is observed of it is over.

    Told beside it: packets that found a queue full, and probes lost, of the time before and since.
    """
    lab = session.lab
    load = lab.look_after(flood(lab)).start()
    session.linger(LOAD_SECONDS)
    begun, full = time.monotonic_ns(), count_full(lab)
    session.linger(LOAD_SECONDS)
    before = count_full(lab)
    moment = session.strike(switch_over)
    session.linger(LOAD_SECONDS)
    session.told |= {"full_before": before - full, "full_since": count_full(lab) - before}
    load.stop()
    quiet = (one for one in session.forward.probes() if begun <= one.sent < moment.monotonic)
    session.told["lost_before"] = lost(quiet)
    return moment


def count_full(lab: Lab) -> int:
    """Packets that the kernel dropped so far, anywhere in the lab, as a process had no turn."""
    processes = [client.process for client in lab.clients]
    processes += [node.openvpn for node in lab.nodes.values()]
    return count_full_processors() + sum(count_full_queues(one.pid) for one in processes)


def flood(lab: Lab) -> Process:
    """What sends ``LOAD_MBIT`` from the LAN host to the client, not started yet."""
    return agent(
        "flood",
        "flood",
        [lab.tunnel_address(), str(LOAD_MBIT)],
        namespace=lab.topology.namespace("lan"),
        directory=lab.directory,
    )


STORIES: dict[Victim, Story] = {
    Victim.CABLES: _struck(cut_node),
    Victim.OPENVPN: _struck(kill_openvpn),
    Victim.OUTSIDE: _cut(plan.OUT),
    Victim.BACKCHANNEL: lose_back_channel,
    Victim.OUTSIDE_AND_BACKCHANNEL: _cut(plan.OUT, plan.BCN),
    Victim.FROZEN: freeze,
    Victim.SUCCESSOR: lose_both,
    Victim.RETURN: come_back,
    Victim.BOOT: Session.mark,
    Victim.ALL: switch_all_off_and_on,
    Victim.MOVED: _struck(switch_over),
    Victim.FLAPS: flap,
    Victim.LOADED: switch_under_load,
    Victim.CHECKED: served.fail_check,
    Victim.FENCED: served.end_silent_master,
    Victim.UNFENCED: served.fail_fence,
    Victim.FENCE_HANGS: served.hang_fence,
}
