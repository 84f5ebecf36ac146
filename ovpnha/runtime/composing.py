"""The pure core of a node, made from its configuration.

Decides which key of the configuration the core is told, and under which name. The clocks and the
randomness that a running node has are given to it here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ovpnha import __version__
from ovpnha.config import Config, UnknownMaster
from ovpnha.model import BOOT_SIZE, BootId, ClientMetrics, FencePolicy, InstanceName, NodeName
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory
from ovpnha.node.node import Node
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.history import HistoryEntry
from ovpnha.replication.sealing import ClusterKey, cluster_tag
from ovpnha.runtime.keyfile import derive_key


def compose_node(
    config: Config,
    keys: tuple[bytes, ...],
    history: Iterable[HistoryEntry] = (),
    memories: Mapping[InstanceName, Memory] = MappingProxyType({}),
) -> Node:
    """The pure core of this node."""
    replication = ReplicationConfig(
        cluster=config.cluster.name,
        node=NodeName(config.cluster.node),
        keys=keys,
        links=config.bcn.link_names(),
        release=__version__,
    )
    settings = tuple(
        InstanceConfig(
            name=InstanceName(one.name),
            vip=str(one.vip or ""),
            held_max=one.held_max,
            lone_after=one.lone_after,
            answer_within=one.answer_within,
            protect_wait=one.protect_wait,
            rekey_after_promotion=one.rekey_after_promotion,
            rekey_rate=one.rekey_rate,
            per_client=one.client_metrics is not ClientMetrics.OFF,
            tolerate=frozenset(kind.value for kind in one.tolerate),
            cookie_key=cookie_keys(config, keys)[InstanceName(one.name)],
            fence=_fence_policy(config),
            fence_unknown_waits=config.fence is None or config.fence.unknown is UnknownMaster.WAIT,
        )
        for one in config.instance
    )
    return Node(
        NodeConfig(replication=replication, instances=settings),
        boot=BootId(os.urandom(BOOT_SIZE)),
        random=os.urandom,
        now=time.monotonic(),
        wall=time.time,
        history=history,
        memories=memories,
    )


def key_names(config: Config, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """As datagrams name them in clear."""
    tag = cluster_tag(config.cluster.name)
    return tuple(ClusterKey.create(key, tag).name for key in keys)


def _fence_policy(config: Config) -> FencePolicy:
    if config.fence is None:
        return FencePolicy.OFF
    return FencePolicy.REQUIRED if config.fence.required else FencePolicy.OPTIONAL


def cookie_keys(config: Config, keys: tuple[bytes, ...]) -> dict[InstanceName, bytes]:
    """What each OpenVPN answers a client's first packet with: of the key that seals."""
    return {
        InstanceName(one.name): derive_key(keys[0], f"ovpnha cookie 1 {one.name}")
        for one in config.instance
    }
