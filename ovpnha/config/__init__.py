"""The configuration of one node: ``load_config`` reads and checks it, ``Config`` is the result."""

from ovpnha.config.fields import (
    DEFAULT_PATH,
    IMPLIED_LINK,
    BcnConfig,
    BcnLink,
    BcnMode,
    ClusterConfig,
    Config,
    ControlConfig,
    Difference,
    HooksConfig,
    HttpConfig,
    InstanceConfig,
    LogConfig,
    LogFormat,
    LogLevel,
    split_listen,
)
from ovpnha.config.reading import load_config, parse_config

__all__ = [
    "DEFAULT_PATH",
    "IMPLIED_LINK",
    "BcnConfig",
    "BcnLink",
    "BcnMode",
    "ClusterConfig",
    "Config",
    "ControlConfig",
    "Difference",
    "HooksConfig",
    "HttpConfig",
    "InstanceConfig",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "load_config",
    "parse_config",
    "split_listen",
]
