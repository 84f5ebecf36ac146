from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.errors import ConfigError
from ovpnha.node.pair import Pair
from ovpnha.runtime.composing import compose_node, find_keys
from ovpnha.runtime.keyfile import create_key_file, read_keys


def make(path: Path, **cluster: Any) -> Config:
    return Config.model_validate(
        {
            "cluster": {"node": "a", "key_file": str(path), **cluster},
            "instance": [{"name": "udp", "management": "/run/udp.sock"}],
        }
    )


def test_a_server_that_is_alone_shares_its_key_with_nobody(tmp_path: Path) -> None:
    config = make(tmp_path / "cluster.key", alone=True)
    (first,), (second,) = find_keys(config), find_keys(config)
    assert len(first) == 32
    assert first != second
    assert compose_node(config, (first,)).statistics(0.0).links == {"this machine": True}


def test_a_key_that_is_there_is_used(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    create_key_file(path)
    assert find_keys(make(path, alone=True)) == read_keys(path)


def test_a_node_of_several_needs_the_key_of_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key file"):
        find_keys(make(tmp_path / "cluster.key", name="office"))


@pytest.mark.parametrize(
    ("instance", "pair", "told"),
    [
        ({"spare": "restart"}, True, True),
        ({"spare": "never"}, True, False),
        ({}, True, False),
        ({"seamless": False, "vip": "192.0.2.1"}, False, False),
    ],
)
def test_a_spare_is_reckoned_with_whether_it_is_wanted_or_not(
    tmp_path: Path, instance: dict[str, Any], pair: bool, told: bool
) -> None:
    path = tmp_path / "cluster.key"
    create_key_file(path)
    plain = {
        "cluster": {"name": "office", "node": "a", "key_file": str(path)},
        "bcn": {"links": [{"interface": "bcn0"}]},
        "instance": [{"name": "udp", "management": "/run/udp.sock", **instance}],
    }
    node = compose_node(Config.model_validate(plain), read_keys(path))
    assert isinstance(node, Pair) is pair
    assert (node.statistics(0.0).instances[0].spare is not None) is told
