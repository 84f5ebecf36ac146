"""The configuration of one node: ``load_config`` reads and checks it, ``Config`` is the result."""

from ovpnha.config.conntrackd import ConntrackdChannel, render_conntrackd
from ovpnha.config.fields import (
    DEFAULT_PATH,
    IMPLIED_LINK,
    BcnConfig,
    BcnLink,
    BcnMode,
    ClusterConfig,
    Config,
    ConntrackConfig,
    ConntrackMode,
    ControlConfig,
    FirewallConfig,
    HooksConfig,
    HttpConfig,
    InstanceSection,
    LogConfig,
    LogFormat,
    LogLevel,
    SnatConfig,
    Tolerated,
)
from ovpnha.config.reading import load_config, parse_config
from ovpnha.config.values import split_listen

__all__ = [
    "DEFAULT_PATH",
    "IMPLIED_LINK",
    "BcnConfig",
    "BcnLink",
    "BcnMode",
    "ClusterConfig",
    "Config",
    "ConntrackConfig",
    "ConntrackMode",
    "ConntrackdChannel",
    "ControlConfig",
    "FirewallConfig",
    "HooksConfig",
    "HttpConfig",
    "InstanceSection",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "SnatConfig",
    "Tolerated",
    "load_config",
    "parse_config",
    "render_conntrackd",
    "split_listen",
]
