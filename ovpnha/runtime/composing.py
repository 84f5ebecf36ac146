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
from ovpnha.config.bcn import MACHINE_LINK
from ovpnha.machines import Process, SparePolicy
from ovpnha.model import (
    BOOT_SIZE,
    BootId,
    ClientMetrics,
    FencePolicy,
    InstanceName,
    NodeName,
)
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory
from ovpnha.node.node import Node
from ovpnha.node.pair import Pair, spare_config
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.history import HistoryEntry
from ovpnha.replication.sealing import ClusterKey, cluster_tag
from ovpnha.runtime.keyfile import KEY_SIZE, derive_key, read_keys

Memories = Mapping[tuple[InstanceName, Process], Memory]


def compose_node(
    config: Config,
    keys: tuple[bytes, ...],
    history: Iterable[HistoryEntry] = (),
    memories: Memories = MappingProxyType({}),
    pools: Mapping[InstanceName, str] = MappingProxyType({}),
) -> Node | Pair:
    """The pure core of this node; of both, where there may be spare processes, wanted or not."""
    whole, now = _node_config(config, keys, pools), time.monotonic()
    main = _make(whole, now, history, _memories_of(Process.MAIN, memories))
    watched = [*filter(config.watches_spare, config.instance)]
    spared = {InstanceName(one.name): config.spare_of(one) for one in watched}
    if not spared:
        return main
    wanted = [name for name, policy in spared.items() if policy is not SparePolicy.NEVER]
    always = [name for name, policy in spared.items() if policy is SparePolicy.ALWAYS]
    theirs = _memories_of(Process.SPARE, memories)
    spare = _make(spare_config(whole, spared), now, (), theirs)
    return Pair(main, spare, now, whole.replication.links[0], wanted, always)


def _make(
    config: NodeConfig,
    now: float,
    history: Iterable[HistoryEntry],
    memories: Mapping[InstanceName, Memory],
) -> Node:
    return Node(
        config,
        boot=BootId(os.urandom(BOOT_SIZE)),
        random=os.urandom,
        now=now,
        wall=time.time,
        history=history,
        memories=memories,
    )


def _memories_of(process: Process, memories: Memories) -> dict[InstanceName, Memory]:
    return {name: one for (name, which), one in memories.items() if which is process}


def _node_config(
    config: Config, keys: tuple[bytes, ...], pools: Mapping[InstanceName, str]
) -> NodeConfig:
    replication = ReplicationConfig(
        cluster=config.cluster.name,
        node=NodeName(config.cluster.node),
        keys=keys,
        links=(MACHINE_LINK,) if config.cluster.alone else config.bcn.link_names(),
        release=__version__,
    )
    settings = tuple(
        InstanceConfig(
            name=InstanceName(one.name),
            vips=tuple(map(str, one.vip)),
            held_max=one.held_max,
            lone_after=one.lone_after,
            answer_within=one.answer_within,
            protect_wait=one.protect_wait,
            rekey_after_promotion=one.rekey_after_promotion,
            rekey_rate=one.rekey_rate,
            per_client=one.client_metrics is not ClientMetrics.OFF,
            tolerate=frozenset(kind.value for kind in one.tolerate),
            cookie_key=cookie_keys(config, keys)[InstanceName(one.name)],
            stock=not one.seamless,
            pool=pools.get(InstanceName(one.name)),
            tcp_port=one.tcp_port,
            fence=_fence_policy(config),
            fence_unknown_waits=config.fence is None or config.fence.unknown is UnknownMaster.WAIT,
        )
        for one in config.instance
    )
    return NodeConfig(replication=replication, instances=settings)


def find_keys(config: Config) -> tuple[bytes, ...]:
    """The cluster keys; one of this moment where nobody else needs to have it.

    Raises:
        ConfigError: The file cannot be used, or is missing where there are other nodes.
    """
    if config.cluster.alone and not config.cluster.key_file.exists():
        return (os.urandom(KEY_SIZE),)
    return read_keys(config.cluster.key_file)


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
