"""What a stock master accepts, a standby imports, and it is the same client that gets an address.

Every row has clients that claim each other's addresses or have what one seldom sees. The standby's
routing table must be the master's, whether it heard of the clients one by one or comes late and
gets all of them in any order; nothing is refused; and scripts are told what they were told at the
connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.rows import LOGIN, VERIFY, Row, write_files
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

STRICT = """\
#!/bin/sh
[ "$1" = delete ] || [ "$3" = one ] || [ "$3" = two ]
"""
CONNECT = """\
#!/bin/sh
[ "$common_name" = two ] || exit 0
printf 'ifconfig-push 10.8.0.2 255.255.252.0\\niroute 10.50.1.0 255.255.255.0\\n' >"$1"
"""
HERE = """\
#!/bin/sh
[ "$1" = delete ] || [ -e allowed ]
"""
GRADE_EMPTY = 30
STATUS = ("status status.log 1", "status-version 2")
REFUSING = ("script-security 2", "learn-address ../learn.sh")
NETWORKS = ("route 10.50.0.0 255.255.0.0", "client-config-dir ../ccd")


@dataclass(frozen=True)
class Claim:
    """Clients with these certificates connect one after the other to such a server."""

    row: Row
    clients: tuple[str, ...] = ("one", "two")
    options: dict[int, tuple[str, ...]] = field(default_factory=dict)  # of the client with a number


def ccd(**files: str) -> dict[str, str]:
    return {f"ccd/{name}": text for name, text in files.items()}


def claim(name: str, *server: str, files: dict[str, str], **more: object) -> Claim:
    return Claim(Row(name, server=server, files=files), **more)  # type: ignore[arg-type]


CLAIMS = (
    claim(
        "fixed-ipv4-and-pool-ipv6",
        *NETWORKS,
        files=ccd(one="ifconfig-push 10.8.1.77 255.255.252.0\n"),
        clients=("one", "two", "three"),
    ),
    claim(
        "fixed-address-inside-the-pool",
        *NETWORKS,
        files=ccd(two="ifconfig-push 10.8.0.2 255.255.252.0\n"),
    ),
    claim(
        "the-same-fixed-address",
        *NETWORKS,
        files=ccd(
            DEFAULT="ifconfig-push 10.8.1.77 255.255.252.0\n"
            "ifconfig-ipv6-push 2001:db8:8::77/64 2001:db8:8::1\n"
        ),
        clients=("one", "two", "three"),
    ),
    claim(
        "the-server's-own-address",
        *NETWORKS,
        files=ccd(one="ifconfig-push 10.8.0.1 255.255.252.0\n"),
    ),
    claim(
        "fixed-ipv6",
        *NETWORKS,
        files=ccd(one="ifconfig-ipv6-push 2001:db8:8::1000/64 2001:db8:8::1\n"),
        clients=("two", "one"),
    ),
    claim(
        "networks-that-overlap",
        *NETWORKS,
        "route-ipv6 2001:db8:50::/48",
        files=ccd(
            one="iroute 10.50.1.0 255.255.255.0\niroute 10.50.2.0 255.255.255.0\n"
            "iroute-ipv6 2001:db8:50:1::/64\n",
            two="iroute 10.50.1.0 255.255.255.0\niroute 10.50.0.0 255.255.0.0\n"
            "iroute-ipv6 2001:db8:50:1::/64\n",
        ),
    ),
    claim(
        "a-quota-of-routes",
        *NETWORKS,
        "max-routes-per-client 2",
        files=ccd(one="iroute 10.50.1.0 255.255.255.0\niroute 10.50.2.0 255.255.255.0\n"),
    ),
    claim(
        "duplicate-cn",
        *NETWORKS,
        "duplicate-cn",
        files=ccd(same="ifconfig-push 10.8.1.77 255.255.252.0\n"),
        clients=("same", "same", "same"),
    ),
    claim(
        "ciphers-of-its-own",
        *NETWORKS,
        "data-ciphers AES-256-GCM",
        files=ccd(one="data-ciphers AES-128-CBC\n"),
        options={0: ("data-ciphers AES-128-CBC",)},
    ),
    claim(
        "options-in-another-file",
        *NETWORKS,
        files=ccd(
            one="# common\nconfig ../ccd/common\n", common="iroute 10.50.3.0 255.255.255.0\n"
        ),
    ),
    claim(
        "client-connect",
        "script-security 2",
        "client-connect ../connect.sh",
        "route 10.50.0.0 255.255.0.0",
        files={"connect.sh": CONNECT},
    ),
    claim(
        "learn-address-that-checks",
        "script-security 2",
        "learn-address ../learn.sh",
        files={"learn.sh": STRICT},
    ),
    claim(
        "learn-address-that-refuses-one",
        "script-security 2",
        "learn-address ../learn.sh",
        files={"learn.sh": STRICT},
        clients=("one", "three"),
    ),
    claim(
        "username-as-common-name",
        *VERIFY,
        *NETWORKS,
        "username-as-common-name",
        "verify-client-cert none",
        files={
            **LOGIN,
            "other": "bob\nsecret\n",
            **ccd(alice="ifconfig-push 10.8.1.77 255.255.252.0\n"),
        },
        options={0: ("auth-user-pass login",), 1: ("auth-user-pass other",)},
    ),
)


def routes(node: Node) -> set[tuple[str, ...]]:
    """Who has which address, as a node's status file says: address, name, where it comes from."""
    lines = (node.directory / "status.log").read_text().splitlines()
    return {tuple(line.split(",")[1:4]) for line in lines if line.startswith("ROUTING_TABLE,")}


def connect(lab: Lab, case: Claim, more_names: Sequence[str] = ()) -> None:
    """Let the clients connect, one after the other; their certificates have these names too."""
    for number, name in enumerate(case.clients):
        pki = lab.pki.directory
        lab.pki.issue(name, server=False, more_names=more_names)
        certificate = (f"cert {pki}/{name}.crt", f"key {pki}/{name}.key")
        client = lab.launch_beside(f"client{number}", (*certificate, *case.options.get(number, ())))
        client.wait_connected()


def written(node: Node) -> int:
    """The second in which a node's status file was written."""
    lines = (node.directory / "status.log").read_text().splitlines()
    return next((int(line.split(",")[2]) for line in lines if line.startswith("TIME,")), 0)


def wait_same(lab: Lab, clients: int, what: str) -> set[tuple[str, ...]]:
    """Wait until the standby has every client and the master's routing table; returns that."""
    nodes = master, standby = lab.nodes["a"], lab.nodes["b"]
    wait_until(lambda: records(lab) == (clients, 0), f"every client is imported, {what}", PATIENCE)
    since = time.time()
    wait_until(lambda: min(map(written, nodes)) > since, "two status files", PATIENCE)

    def same() -> set[tuple[str, ...]]:
        """Both are written line by line: at this moment one may be half of what it was before."""
        found = routes(master)
        return found if found == routes(standby) else set()

    return wait_until(same, f"the same routes on both nodes, {what}", PATIENCE)


def records(lab: Lab) -> tuple[int, int]:
    """How many clients the standby holds, and how many it lacks."""
    figures = lab.nodes["b"].sidecar.instance()
    return (-1, -1) if figures is None else (figures["records"], figures["stale"])


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", CLAIMS, ids=[case.row.name for case in CLAIMS])
def test_the_standby_has_what_the_master_has(make_lab: MakeLab, case: Claim) -> None:
    lab = make_lab(vip_manager=None, server_options=(*STATUS, *case.row.server))
    write_files(case.row, lab)
    lab.start_cluster()
    lab.wait_in_sync("b")
    connect(lab, case)
    before = wait_same(lab, len(case.clients), "one by one")
    assert before
    standby = lab.nodes["b"]
    standby.openvpn.kill()
    standby.openvpn.start()
    assert wait_same(lab, len(case.clients), "all at once") == before
    lab.wait_in_sync("b")
    assert "import refused" not in standby.sidecar.process.log.read_text()
    lab.move_vips("b")
    lab.wait_master("b")
    wait_until(lambda: routes(standby) == before, "the new master's routes", PATIENCE)
    assert not any("SIGUSR1" in line.text for client in lab.clients for line in client.log())


def problems(lab: Lab, name: str) -> list[str]:
    """The problems that a node tells of."""
    figures = lab.nodes[name].sidecar.instance()
    return [] if figures is None else [one["text"] for one in figures["problems"]]


def let_it_refuse(lab: Lab) -> str:
    """The standby's script says no to what the master's allows; returns what a node then says.

    It ends when an administrator has seen to it.
    """
    write_files(Row("learn-address", files={"learn.sh": HERE}), lab)
    (lab.nodes["a"].directory / "allowed").touch()
    lab.start_cluster()
    lab.wait_in_sync("b")
    lab.start_client()
    standby = lab.nodes["b"]
    wait_until(lambda: standby.grade() == GRADE_EMPTY, "a grade that says it", PATIENCE)
    said = wait_until(lambda: told_by_all(lab), "a problem on both nodes", PATIENCE)
    assert all("--learn-address refuses the virtual address here" in problem for problem in said)
    (standby.directory / "allowed").touch()
    lab.wait_in_sync("b")
    wait_until(lambda: not told(lab), "no problems on both nodes", PATIENCE)
    return said[-1]


def told_by_all(lab: Lab) -> list[str]:
    """The same, when there is one problem on each node."""
    found = told(lab)
    return found if len(found) == len(lab.nodes) else []


def told(lab: Lab) -> list[str]:
    """What all nodes say is wrong."""
    return [problem for name in lab.nodes for problem in problems(lab, name)]


def test_a_standby_that_refuses_a_client_says_so_and_is_not_in_sync(make_lab: MakeLab) -> None:
    assert let_it_refuse(make_lab(vip_manager=None, server_options=REFUSING))
