"""A machine with two processes of OpenVPN: a ``Pair`` of real cores, and the shell between them.

As ``model_cluster.ModelNode``, which stands beside it in the same world. The kernel is modelled as
far as a spare needs it: who has the port, and that a death is seen apart from the end of a
connection, in either order.
"""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.machines import Process
from ovpnha.model import BootId, NodeName, Role, Unreachable
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory, Remembered
from ovpnha.node.moving import RestartFigures
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    CloseManagement,
    EndProcess,
    LogEvent,
    Output,
    PassDescriptors,
    Remember,
    RoleChanged,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.node.pair import Pair, spare_config
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.replication.config import ReplicationConfig
from tests.model_cluster import INSTANCE, KEY, LINK, ModelNode, World
from tests.model_openvpn import ModelOpenvpn, Told

ABSENT = Unreachable("nobody has the socket open", "start it", absent=True)
BARRED = Unreachable("management socket: Permission denied", "let this user through")
MAIN, SPARE = Process.MAIN, Process.SPARE
PORT_AGAIN = 1.5
"""Seconds after which a process that waits for descriptors tries the port again."""


class ModelPair(ModelNode):
    """One machine: two processes, one sidecar."""

    pair: Pair | None

    def __init__(self, world: World, name: str, config: InstanceConfig) -> None:
        super().__init__(world, name, config)
        self.pair = None
        self.openvpns: dict[Process, ModelOpenvpn] = {}
        self.memories: dict[Process, Remembered | None] = dict.fromkeys(Process)
        self._connections = dict.fromkeys(Process, 0)
        self.wanted = True  # the configuration wants a spare
        self.always = False  # all the time
        self.foreign = False  # another program has the port
        self.ends = True  # a process that is to be ended can be
        self.deaf: set[Process] = set()  # what is written to these waits
        self.barred: set[Process] = set()  # the sockets of these let nobody through
        self.knows_vip = True  # the sidecar does from its start, not from OpenVPN
        self._waiting: list[tuple[Process, int, bytes]] = []

    # Life and death.

    def boot(self) -> Pair:
        """Start the sidecar; it connects to whatever runs."""
        replication = ReplicationConfig(
            cluster="office", node=NodeName(self.name), keys=(KEY,), links=(LINK,)
        )
        config = NodeConfig(replication, (self.config,))
        configs = {MAIN: config, SPARE: spare_config(config, {INSTANCE})}
        rng, now = self.world.rng, self.world.now
        cores = {
            process: Node(
                one,
                boot=BootId(rng.randbytes(16)),
                random=rng.randbytes,
                now=now,
                wall=lambda: self.world.now,
                memories={INSTANCE: Memory(self.memories[process], self.vouched_until)},
            )
            for process, one in configs.items()
        }
        wanted, always = ({INSTANCE} if which else () for which in (self.wanted, self.always))
        self.pair = Pair(cores[MAIN], cores[SPARE], now, LINK, wanted, always)
        if self.knows_vip:
            self.tell_vip()
        for process in Process:
            if process in self.openvpns:
                self.attach(process)
            else:
                self._miss(process)
        return self.pair

    def tell_vip(self) -> None:
        """The sidecar knows where the VIP is."""
        self.do(lambda pair, at: pair.vip_changed(INSTANCE, self.vip, at))

    def _miss(self, process: Process) -> None:
        why = BARRED if process in self.barred else ABSENT
        self.do(lambda pair, now: pair.management_unreachable(INSTANCE, why, now, process))

    def run_process(self, process: Process, **options: object) -> ModelOpenvpn:
        """Start a process: it waits if the other one has the port."""
        known = {key: options.pop(key) for key in list(options) if hasattr(Told, key)}
        self.openvpns[process] = ModelOpenvpn(
            self.world.rng,
            taken=self._is_taken(process),
            told=Told(**known),  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
        self.world.later(PORT_AGAIN, self._try_port, process, self.openvpns[process])
        self.attach(process)
        return self.openvpns[process]

    def _is_taken(self, process: Process) -> bool:
        """Whether the other process has the port, or a program that is none of ours."""
        other = self.openvpns.get(process.other)
        return self.foreign or (other is not None and other.descriptors is not None)

    def _try_port(self, process: Process, openvpn: ModelOpenvpn) -> None:
        """One that waits tries now and then whether anybody has the port still."""
        if self.openvpns.get(process) is not openvpn or openvpn.descriptors is not None:
            return
        if openvpn.waiting or self._is_taken(process):
            self.world.later(PORT_AGAIN, self._try_port, process, openvpn)
        else:
            openvpn.open_port()
            self.pump_process(process)

    def kill_process(self, process: Process, *, proof: float | None = 0.001) -> None:
        """It dies; ``proof``: seconds until the kernel has said so, None: it says nothing."""
        self.openvpns.pop(process)
        self.deaf.discard(process)
        self.world.later(0.0005, self._close, process, self._connections[process])
        if proof is not None:
            self.world.later(proof, self._prove, process)

    def _close(self, process: Process, connection: int) -> None:
        if connection == self._connections[process]:
            self._detach(process, "closed by openvpn")

    def _prove(self, process: Process) -> None:
        self.do(lambda pair, now: pair.process_ended(INSTANCE, process, now))

    def end_sidecar(self) -> None:
        """The sidecar dies; both processes go on."""
        self.pair, self.vouched_until = None, self.world.now
        for process, openvpn in self.openvpns.items():
            self._connections[process] += 1
            openvpn.disconnect()

    def set_vip(self, present: bool) -> None:
        """The VIP arrives or leaves."""
        if self.vip != present:
            self.vip = present
            self.do(lambda pair, now: pair.vip_changed(INSTANCE, present, now))

    # The shell.

    def attach(self, process: Process) -> None:
        """Connect the sidecar to this process."""
        if self.pair is None or process not in self.openvpns:
            return
        if process in self.barred:
            self.do(lambda pair, now: pair.management_unreachable(INSTANCE, BARRED, now, process))
            return
        self._connections[process] += 1
        self.openvpns[process].connect()
        self.do(lambda pair, now: pair.management_up(INSTANCE, now, process))
        self.pump_process(process)

    def _detach(self, process: Process, reason: str) -> None:
        self._connections[process] += 1
        if process in self.openvpns:
            self.openvpns[process].disconnect()
        self.do(lambda pair, now: pair.management_down(INSTANCE, reason, now, process))

    def do(self, event: Callable[[Pair, float], object]) -> None:
        """Let the pair take an event, and carry out what follows."""
        if self.pair is None:
            return
        event(self.pair, self.world.now)
        while (output := self.pair.next_output()) is not None:
            self.outputs.append(output)
            self.carry_out(output)
        self._rearm_pair()

    def step(self, event: Callable[[Node, float], object]) -> None:
        """As the world calls it: a pair has the face of a node."""
        self.do(event)  # type: ignore[arg-type]

    def carry_out(self, output: Output) -> None:
        """One output."""
        later, local = self.world.later, self.world.local()
        match output:
            case WriteManagement(data=data, process=process):
                later(local, self._write_to, process, self._connections[process], data)
            case PassDescriptors(target=target, data=data):
                later(local, self._write_to, target, self._connections[target], data)
            case CloseManagement(process=process):
                later(0.0, self._detach, process, "closing")
                later(0.02, self.attach, process)
            case EndProcess(process=process):
                if self.ends and process in self.openvpns:
                    self.kill_process(process)
            case SendDatagram(data=data):
                self.world.broadcast(self, data)
            case SetGrade():
                self.grades.append(output)
            case Remember(what=what, process=process):
                self.memories[process] = what
            case RoleChanged():
                self.roles.append(output)
            case LogEvent():
                self.logs.append(output)
            case _:
                pass

    def _rearm_pair(self) -> None:
        assert self.pair is not None
        self._timer += 1
        when = self.pair.get_timer()
        if when is not None:
            self.world.later(max(0.0, when - self.world.now), self._pair_due, self._timer)

    def _pair_due(self, number: int) -> None:
        if number == self._timer and self.pair is not None:
            self.do(lambda pair, now: pair.handle_timer(now))
            due = self.pair.get_timer()
            assert due is None or due > self.world.now, "time has passed and nothing was done"

    def _write_to(self, process: Process, connection: int, data: bytes) -> None:
        openvpn = self.openvpns.get(process)
        if process in self.deaf:
            self._waiting.append((process, connection, data))
        elif connection == self._connections[process] and openvpn is not None:
            openvpn.receive(data)
            self.pump_process(process)
            if openvpn.retired:
                self.kill_process(process)

    def hear_again(self, *processes: Process) -> None:
        """What waits for these, or for both, is read."""
        self.deaf -= set(processes or Process)
        waiting, self._waiting = self._waiting, []
        for process, connection, data in waiting:
            self._write_to(process, connection, data)

    def pump_process(self, process: Process) -> None:
        """What a process has said travels to the sidecar, cut anywhere."""
        openvpn = self.openvpns.get(process)
        data = openvpn.take_output() if openvpn is not None else b""
        cut = self.world.rng.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            if piece:
                later, place = self.world.later, self._connections[process]
                later(self.world.local(), self._read_from, process, place, piece)

    def _read_from(self, process: Process, connection: int, data: bytes) -> None:
        if connection == self._connections[process]:
            self.do(lambda pair, now: pair.receive_management(INSTANCE, data, now, process))

    # What a test asks.

    @property
    def told(self) -> RestartFigures:
        """What the machine tells of its two processes."""
        assert self.pair is not None
        figures = self.pair.restart_figures(INSTANCE, self.world.now)
        assert figures is not None
        return figures

    @property
    def serves(self) -> Process | None:
        """Which process is master; never both."""
        masters = [one for one, openvpn in self.openvpns.items() if openvpn.role is Role.MASTER]
        assert len(masters) < 2, "two masters on one machine"
        return masters[0] if masters else None

    @property
    def figures(self) -> InstanceStatistics:
        """The statistics of the instance, as a machine."""
        assert self.pair is not None
        return self.pair.statistics(self.world.now).instances[0]


def add_pair(world: World, name: str, *, start: bool = True) -> ModelPair:
    """A machine with two processes in sync, unless it is to be started by hand."""
    one = ModelPair(world, name, InstanceConfig(INSTANCE, ("192.0.2.10",)))
    world.nodes[name] = one
    if start:
        one.run_process(MAIN)
        one.run_process(SPARE)
        one.boot()
    return one
