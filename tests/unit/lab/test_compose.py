"""The container lab's files say what the containers need, and nothing that they lack."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.lab import plan
from tests.lab.compose.files import NODES, RULES, by_network, without_ipv6
from tests.lab.openvpn import IPV4, server_config
from tests.lab.rules import rule_set

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKER = ROOT / "deploy" / "docker"


def test_the_server_s_configuration_loses_only_ipv6() -> None:
    text = server_config(
        Path("pki"), keepalive="10 60", transport=IPV4, cluster=False, options=["cluster"]
    )
    gone = set(text.splitlines()) - set(without_ipv6(text).splitlines())
    assert len(gone) == 3
    assert all(re.match(r"server-ipv6|push \"route-ipv6|writepid", line) for line in gone)


def test_the_nodes_firewall_names_no_interface_of_the_engine() -> None:
    rules = rule_set(RULES, guarded=True)
    text = by_network(rules)
    assert set(re.findall(r'"(\w+)"', text)) == {"tun0"}
    assert f"ip daddr {plan.LAN.network} snat ip to {plan.LAN.vip}" in text
    assert len(text.splitlines()) == len(rules.splitlines()) - 2
    command = ["unshare", "--net", "nft", "--check", "--file", "-"]
    subprocess.run(command, input=text, check=True, text=True)


def test_the_containers_have_the_addresses_of_the_lab() -> None:
    for segment in plan.SEGMENTS:
        assert f"- subnet: {segment.network}\n" in COMPOSE
        for node in NODES:
            address = segment.address(plan.node_number(node))
            assert f"ipv4_address: {address}}}" in COMPOSE


def test_nothing_is_privileged_and_every_capability_has_its_reason() -> None:
    assert "privileged" not in COMPOSE
    lines = re.findall(r"^      - ([A-Z_]+ .*|[A-Z_]+)$|^    - ([A-Z_]+.*)$", COMPOSE, re.MULTILINE)
    wanted = [one or two for one, two in lines if "ALL" not in (one, two)]
    assert all(" # " in line or line == "SETGID" for line in wanted), wanted


def test_the_host_s_settings_reach_every_image_that_is_built() -> None:
    text = COMPOSE.partition("\nservices:\n")[2]
    built = re.compile(r"^  ([a-z-]+):\n(?:    #.*\n)*    (?:<<: \*|.*\n    build:)", re.M)
    services = built.findall(text)
    covered = re.findall(r"^  ([a-z-]+): [&*]host", (DOCKER / "host.yml").read_text(), re.M)
    assert set(services) == set(covered)


def test_a_node_s_image_has_what_ovpnha_needs_and_no_more() -> None:
    command = [sys.executable, "deploy/part_of_lock.py", "pyproject.toml"]
    done = subprocess.run(
        [*command, "requirements.lock"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    names = set(re.findall(r"^([\w.-]+)==", done.stdout, re.M))
    assert {"cryptography", "cffi", "pyroute2", "pydantic-core", "uvloop"} <= names
    assert not names & {"pytest", "matplotlib", "numpy", "mypy", "atheris", "hypothesis"}
    assert done.stdout.count("--hash=") > len(names)
