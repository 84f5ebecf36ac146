"""Which parts one instance has, and in which order time passes for them.

Decides nothing: it gives each part what it needs of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ovpnha.model import NodeName
from ovpnha.node.cluster.announcer import Announcer
from ovpnha.node.cluster.fence import Fence
from ovpnha.node.cluster.pause import Pause
from ovpnha.node.cluster.predecessor import Predecessor
from ovpnha.node.cluster.servicechecks import ServiceChecks
from ovpnha.node.cluster.successor import Successor
from ovpnha.node.cluster.switchover import Switchover
from ovpnha.node.cluster.two_masters import TwoMasters
from ovpnha.node.cluster.view import ClusterView
from ovpnha.node.cluster.vip_problems import VipProblems
from ovpnha.node.config import InstanceConfig
from ovpnha.node.master.exporter import Exporter
from ovpnha.node.master.farewell import Farewell
from ovpnha.node.master.reconnecting import Reconnecting
from ovpnha.node.master.rekey import Rekey
from ovpnha.node.memory import Memory
from ovpnha.node.openvpn.apart import Apart
from ovpnha.node.openvpn.discovery import Discovery
from ovpnha.node.openvpn.liveness import Liveness
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.presence import Presence
from ovpnha.node.openvpn.sharing import Sharing
from ovpnha.node.openvpn.traffic import Traffic
from ovpnha.node.outputs import Output
from ovpnha.node.part import Part, first
from ovpnha.node.role.current import CurrentRole
from ovpnha.node.role.ownepoch import OwnEpoch
from ovpnha.node.role.promotion import Promotion
from ovpnha.node.role.vip import Vip
from ovpnha.node.standby.counters import CounterRelay
from ovpnha.node.standby.importer import Importer
from ovpnha.node.stock.stock import Stock
from ovpnha.replication.protocol import Replication


class Assembly:
    """All of one instance."""

    def __init__(
        self,
        config: InstanceConfig,
        node: NodeName,
        backchannel: Replication,
        outputs: deque[Output],
        now: float,
        memory: Memory | None = None,
    ) -> None:
        self.config = config
        self.node = node
        self.backchannel = backchannel
        self.role = CurrentRole(config.name, outputs, now)
        self.vip = Vip(now)
        self.own = OwnEpoch(config.held_max)
        self.memory = memory or Memory()
        self.promotion = Promotion()
        self.openvpn = openvpn = Openvpn(config.name, outputs)
        self.discovery = Discovery(openvpn, now, config.cookie_key, meant_stock=config.stock)
        self.liveness = Liveness(openvpn, config.answer_within)
        self.traffic = Traffic(openvpn, lambda: self.role.role, per_client=config.per_client)
        self.presence = Presence(openvpn)
        self.sharing = Sharing(openvpn)
        self.apart = Apart()
        self.view = ClusterView(config.name, now, config.lone_after, node)
        self.vip_problems = VipProblems(openvpn, config.vips)
        self.checks = ServiceChecks()
        self.announcer = Announcer(openvpn, backchannel)
        self.two_masters = TwoMasters(openvpn)
        self.successor = Successor(config.name, backchannel)
        self.predecessor = Predecessor(config.name, backchannel, self.vip)
        self.switchover = Switchover(node, openvpn, self.vip, self.discovery.doubt)
        self.pause = Pause(openvpn, self.vip)
        self.fence = Fence(
            config.name, config.fence, outputs, unknown_waits=config.fence_unknown_waits
        )
        self.importer = Importer(openvpn, backchannel)
        self.counter_relay = CounterRelay(openvpn)
        self.exporter = Exporter(openvpn, backchannel, config.protect_wait)
        self.rekey = Rekey(openvpn, config.rekey_after_promotion, config.rekey_rate)
        self.reconnecting = Reconnecting(openvpn)
        self.farewell = Farewell(openvpn, self.exporter.protection, config.rekey_rate)
        self.stock = Stock(openvpn, backchannel, config, lambda: self.discovery.stock_clients, now)

        # In the order in which time passes for them: first, whether OpenVPN is there at all.
        self._all: tuple[Part, ...] = (
            *(self.discovery, self.liveness, self.traffic, self.sharing, self.own),
            *(self.reconnecting, self.farewell, self.apart),
            *(self.role, self.vip, self.promotion, self.openvpn, self.presence, self.view),
            *(self.vip_problems, self.checks, self.announcer, self.two_masters, self.successor),
            *(self.predecessor, self.switchover, self.pause, self.fence, self.importer),
            *(self.counter_relay, self.exporter, self.rekey, self.stock),
        )

        self._timed = [one for one in self._all if type(one).get_timer is not Part.get_timer]

    @property
    def slot(self) -> bool:
        """Whether the VIP of this machine is for this process."""
        return self.vip.ours

    def __iter__(self) -> Iterator[Part]:
        return iter(self._all)

    def get_timer(self) -> float | None:
        """The next moment of any part."""
        return first([one.get_timer() for one in self._timed])
