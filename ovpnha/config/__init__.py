"""The configuration of one node: ``load_config`` reads and checks it, ``Config`` is the result."""

from ovpnha.config.bcn import IMPLIED_LINK, BcnConfig, BcnLink, BcnMode
from ovpnha.config.check import LATER_CODE, CheckKind, CheckSection, split_url
from ovpnha.config.cluster import ClusterConfig
from ovpnha.config.conntrackd import ConntrackdChannel, render_conntrackd
from ovpnha.config.fence import FenceSection, UnknownMaster
from ovpnha.config.fields import (
    DEFAULT_PATH,
    Config,
    ControlConfig,
    HooksConfig,
    HttpConfig,
    InstanceSection,
    Tolerated,
)
from ovpnha.config.filtering import ConntrackConfig, ConntrackMode, FirewallConfig, SnatConfig
from ovpnha.config.logs import LogConfig, LogFormat, LogLevel
from ovpnha.config.reading import load_config, parse_config
from ovpnha.config.values import split_listen

__all__ = [
    "DEFAULT_PATH",
    "IMPLIED_LINK",
    "LATER_CODE",
    "BcnConfig",
    "BcnLink",
    "BcnMode",
    "CheckKind",
    "CheckSection",
    "ClusterConfig",
    "Config",
    "ConntrackConfig",
    "ConntrackMode",
    "ConntrackdChannel",
    "ControlConfig",
    "FenceSection",
    "FirewallConfig",
    "HooksConfig",
    "HttpConfig",
    "InstanceSection",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "SnatConfig",
    "Tolerated",
    "UnknownMaster",
    "load_config",
    "parse_config",
    "render_conntrackd",
    "split_listen",
    "split_url",
]
