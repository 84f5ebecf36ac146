from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ovpnha.runtime.socketinode import find_inode

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
KINDS = {"udp4": socket.SOCK_DGRAM, "tcp4-server": socket.SOCK_STREAM}


@pytest.mark.parametrize("address", FAMILIES)
@pytest.mark.parametrize("proto", KINDS)
def test_the_socket_that_is_bound_there_is_found(address: str, proto: str) -> None:
    with socket.socket(FAMILIES[address], KINDS[proto]) as one:
        one.bind((address, 0))
        if proto.startswith("tcp"):
            one.listen()
        port = one.getsockname()[1]
        assert find_inode(address, port, proto) == os.fstat(one.fileno()).st_ino
    assert find_inode(address, port, proto) == 0


def test_a_connection_to_that_port_is_not_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
        with socket.create_connection((address, port)), server.accept()[0]:
            assert find_inode(address, port, "tcp4-server") == os.fstat(server.fileno()).st_ino


@pytest.mark.parametrize("address", ["", "-", "fe80::1%eth0"])
def test_what_cannot_be_looked_up_is_none(address: str) -> None:
    assert find_inode(address, 1194, "udp4") == 0


def test_without_tables_there_is_none(tmp_path: Path) -> None:
    assert find_inode("127.0.0.1", 1194, "udp4", tmp_path) == 0
