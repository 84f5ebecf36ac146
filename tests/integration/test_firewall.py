"""Real packet filters: what is wrong with them is found, and each fix does away with its finding.

Then the table of our own: it is set, kept and removed, and with it alone a TCP session that is
translated lives on with another node.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli.firewall import run_firewall
from ovpnha.config import load_config
from ovpnha.firewall.rules import Action, Packet
from ovpnha.runtime.firewall import read_rules
from tests.integration.pace import PATIENCE
from tests.lab import plan, topology
from tests.lab.cleanup import Claim
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.nat.flows import Flows
from tests.lab.rules import Rules
from tests.lab.session import Session, Watch
from tests.lab.topology import Topology
from tests.lab.traffic import ProbeStream
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"
STATEFUL = """
table inet own {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "bcn0" accept
        meta l4proto vrrp accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "tun0" accept
    }
}
"""
CLOSED = """
table inet own {
    chain input {
        type filter hook input priority filter; policy drop;
        tcp dport 22 accept
    }
}
"""
BOTH = """
table inet own {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.8.0.0/16 masquerade
        meta nfproto ipv6 oifname "lan0" masquerade
    }
}
"""
SNAT = f"""
table ip nat {{
    chain input {{
        type filter hook input priority filter; policy accept;
    }}
    chain post {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "lan0" snat to {plan.LAN.vip}
    }}
}}
"""
WRONG = f"""
table ip nat {{
    chain post {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "lan0" snat to {plan.LAN.address(11)}
    }}
}}
"""
IPTABLES = f"""
iptables -t nat -A POSTROUTING -s {plan.TUNNEL} -o lan0 -j MASQUERADE
ip6tables -t nat -A POSTROUTING -s {plan.TUNNEL6} -o lan0 -j MASQUERADE
iptables -P INPUT DROP
iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i tun+ -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
"""

WIDE = """
table inet own {
    set names { type ifname; elements = { "lan0", "out0", "bcn0" }; }
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 1m; }
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname . ip saddr { "lan0" . 10.8.0.0/16 } masquerade
        oifname @names meta mark 7 masquerade
        oifname { "lan0", "out*", "bcn0" } ip saddr 10.0.0.0/8 tcp dport != 1 counter masquerade
        oifname "*0" masquerade random comment "it's -j MASQUERADE"
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        update @seen { ip saddr limit rate over 400/second } drop
        add @seen { ip saddr } ct state new drop
        meter few { ip daddr limit rate over 400/second } drop
        limit rate over 400/second ct state new drop
        ct count over 400 drop
    }
}
"""
COMMENTS = r"""
iptables -t nat -A POSTROUTING -m comment --comment "it's -j MASQUERADE" ! -o tun0 -j MASQUERADE
iptables -t nat -A POSTROUTING -m comment --comment 'a "b" \ $(c) `d` *' -o lan+ -j MASQUERADE
iptables -t nat -A POSTROUTING ! -s 10.8.0.3/32 -m mark --mark 7 -o ou+ -j MASQUERADE
"""
DOCKER = """
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
iptables -P FORWARD DROP
iptables -N DOCKER
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
iptables -A DOCKER-USER -j RETURN
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
"""


@dataclass(frozen=True)
class Host:
    """A namespace with a node's interfaces, and the configuration for ``ovpnha`` in it."""

    namespace: str
    config: Path

    def run(self, *command: str, given: str | None = None, fails: bool = False) -> str:
        argv = ["ip", "netns", "exec", self.namespace, *command]
        done = subprocess.run(argv, input=given, check=False, capture_output=True, text=True)
        assert (done.returncode != 0) is fails, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def ovpnha(self, *arguments: str) -> str:
        command = (sys.executable, "-m", "ovpnha", arguments[0], "--config", str(self.config))
        return self.run(*command, "--node", "a", *arguments[1:])

    def findings(self) -> list[dict[str, str]]:
        """As `ovpnha firewall --json` tells them, without its start."""
        with topology.inside(self.namespace):
            told = json.loads(run_firewall(load_config(self.config, "a"), "show", as_json=True))
        assert told["unread"] == []
        found: list[dict[str, str]] = told["findings"]
        return found

    def kinds(self) -> set[str]:
        return {one["kind"] for one in self.findings()}

    def liberal(self) -> str:
        return self.run("cat", f"/proc/sys/{LIBERAL}").strip()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    run_id = plan.new_run_id()
    with Claim(run_id), Topology(run_id, plan.node_names(2)) as made:
        yield Host(made.namespace("a"), tmp_path / "ovpnha.toml")


def configure(host: Host, firewall: str = "") -> None:
    host.config.write_text(
        f"""
[cluster]
name = "lab"
[bcn]
links = [{{ interface = "bcn0" }}]
[control]
socket = "{host.config.parent}/control.sock"
[conntrack]
socket = "{host.config.parent}/conntrackd.ctl"
[[instance]]
name = "udp"
management = "/run/ovpnha-test/udp.sock"
vip = "{plan.OUT.vip}"
vip_interface = "out0"
server_config = "{host.config.parent}/udp.conf"
[firewall]
{firewall or SNAT_TO_VIPS}
"""
    )
    (host.config.parent / "udp.conf").write_text(
        f"dev tun0\nserver {plan.TUNNEL.network_address} {plan.TUNNEL.netmask}\n"
        f"server-ipv6 {plan.TUNNEL6}\n"
    )


SNAT_TO_VIPS = (
    f'snat = [{{ interface = "lan0", vip = "{plan.LAN.vip}" }},'
    f' {{ interface = "lan0", vip = "{plan.LAN.vip6}" }}]\n'
)


def give_rules(host: Host, rules: str) -> None:
    if rules.lstrip().startswith("table"):
        host.run("nft", "-f", "-", given=rules)
    else:
        host.run("sh", "-e", given=rules)


def commands(fix: str) -> str:
    """The part of a fix that a shell takes."""
    text = fix.rpartition("the best that can be had: ")[2].removeprefix("instead: ")
    return re.sub(r", and the same line in a file.*", "", text)


SNAT_MISTAKES = {"no_conntrackd", "invalid", "resets"}


@pytest.mark.parametrize(
    ("rules", "kinds"),
    [
        (STATEFUL, {"stateful", "invalid"}),
        (CLOSED, {"bcn", "vrrp"}),
        (BOTH, {"masquerade", "no_conntrackd", "invalid"}),
        (SNAT, SNAT_MISTAKES),
        (WRONG, {"foreign_snat", "no_conntrackd", "invalid"}),
        (IPTABLES, {"masquerade", "stateful", "invalid", "bcn", "vrrp"}),
        (WIDE, {"masquerade", "no_conntrackd", "invalid"}),
        (COMMENTS, {"masquerade", "no_conntrackd", "invalid"}),
        (DOCKER, set()),
    ],
    ids=[
        *("stateful", "closed", "masquerade", "snat", "wrong-snat", "iptables"),
        *("wide", "comments", "docker"),
    ],
)
def test_every_mistake_is_found_and_every_fix_works(
    host: Host, rules: str, kinds: set[str]
) -> None:
    configure(host)
    assert host.kinds() == set()
    give_rules(host, rules)
    assert host.kinds() == kinds
    last = ""
    while found := [one for one in host.findings() if one["kind"] != "no_conntrackd"]:
        assert found[0]["what"] != last, found[0]
        last = found[0]["what"]
        host.run("sh", "-e", given=commands(found[0]["fix"]))
    (host.config.parent / "conntrackd.ctl").touch()
    assert host.kinds() == set()


@pytest.mark.parametrize("rules", [WIDE, COMMENTS], ids=["wide", "comments"])
def test_a_fix_touches_no_other_interface_and_nothing_of_this_host(host: Host, rules: str) -> None:
    configure(host)
    give_rules(host, rules)
    packets = [
        Packet(4, oif=oif, saddr=ip_network(saddr), proto="tcp", dport=443, state="new")
        for oif, saddr in (("bcn0", "10.8.0.9"), ("lan0", "10.7.0.9"), ("out0", "10.99.1.11"))
    ]

    def translations() -> list[Action | None]:
        with topology.inside(host.namespace):
            read = read_rules().rules
        found = [read.translation(packet) for packet in packets]
        return [one.action if one is not None else None for one in found]

    before = translations()
    assert Action.MASQUERADE in before
    while found := [one for one in host.findings() if one["kind"] == "masquerade"]:
        host.run("sh", "-e", given=commands(found[0]["fix"]))
        assert translations() == before


PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
PAGE_VIPS = """
networks = ["10.8.0.0/24", "2001:db8:8::/64"]
snat = [
    { interface = "eth1", vip = "198.51.100.10" }, { interface = "eth1", vip = "2001:db8:2::10" },
]
"""


@pytest.mark.parametrize(("tool", "loads"), [("nft", "nft -f -"), ("iptables", "iptables-restore")])
def test_the_rules_of_the_page_have_no_mistake(host: Host, tool: str, loads: str) -> None:
    configure(host, PAGE_VIPS)
    (host.config.parent / "conntrackd.ctl").touch()
    topology.set_sysctls(host.namespace, {LIBERAL: "1"})
    blocks = re.findall(rf"```{tool}\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        host.run(*loads.split(), given=block)
    assert host.findings() == []


def test_what_may_not_be_read_is_said(host: Host) -> None:
    configure(host)
    give_rules(host, CLOSED)
    script = (
        "import sys\nfrom ovpnha.runtime.firewall import read_rules\n"
        "reading = read_rules()\nassert not reading.rules.chains\nprint(*reading.unread, sep='\\n')"
    )
    lines = host.run(
        *("setpriv", "--bounding-set", "-net_admin", sys.executable, "-c", script)
    ).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["nftables", "iptables", "ip6tables"]
    assert all("ermi" in line for line in lines)  # Operation not permitted, Permission denied


def test_the_table_of_our_own(host: Host) -> None:
    configure(host, f"manage = true\n{SNAT_TO_VIPS}")
    give_rules(host, BOTH)
    assert host.liberal() == "0"
    shown = host.ovpnha("firewall")
    host.run("nft", "--check", "--file", "-", given=shown)
    assert json.loads(host.ovpnha("firewall", "--json"))["table"] == shown
    for _ in range(2):
        assert host.ovpnha("firewall", "--apply").startswith("table inet ovpnha: set")
        assert host.liberal() == "1"
    (host.config.parent / "conntrackd.ctl").touch()
    assert host.kinds() == {"masquerade"}  # towards the clients' side, which is not managed
    assert "table inet ovpnha: removed" in host.ovpnha("firewall", "--remove")
    assert host.liberal() == "0"
    assert "is not there" in host.ovpnha("firewall", "--remove")
    assert "masquerade" in host.run("nft", "list", "table", "inet", "own")


def test_the_tunable_is_as_before_after_a_flush(host: Host) -> None:
    """Also when the table came back from a file, which notes nothing, and twice."""
    configure(host, f"manage = true\n{SNAT_TO_VIPS}")
    for _ in range(2):
        host.ovpnha("firewall", "--apply")
        host.run("nft", "-f", "-", given=f"flush ruleset\n{host.ovpnha('firewall')}")
    host.run("nft", "flush", "ruleset")
    assert host.liberal() == "1"
    assert "is not there" in host.ovpnha("firewall", "--remove")
    assert host.liberal() == "0"


PURGE = """
for dir in /run /var/lib /etc; do mount -t tmpfs none $dir; done
mkdir /run/ovpnha
[ ! -e "$2" ] || cp "$2" /run/ovpnha
sed "/#DEBHELPER#/d" "$1" | sh -s purge
"""
POSTRM = Path(__file__).parents[2] / "deploy/packages/debian/ovpnha.postrm"


@pytest.mark.parametrize("flushed", [False, True])
def test_purge_takes_table_and_tunable_back(host: Host, flushed: bool) -> None:
    configure(host, f"manage = true\n{SNAT_TO_VIPS}")
    host.ovpnha("firewall", "--apply")
    note = host.config.parent / "tcp_be_liberal"
    if flushed:
        host.run("nft", "flush", "ruleset")
    else:
        note.unlink()
    host.run("sh", "-ec", PURGE, "sh", str(POSTRM), str(note))
    assert host.run("nft", "list", "ruleset") == ""
    assert host.liberal() == "0"


def test_nothing_is_set_unless_it_is_asked_for(host: Host) -> None:
    configure(host)
    command = (sys.executable, "-m", "ovpnha", "firewall", "--config", str(host.config))
    said = host.run(*command, "--node", "a", "--apply", fails=True)
    assert said.startswith("ovpnha: firewall.manage: is false, so that nothing is set")
    assert host.run("nft", "list", "ruleset") == ""
    configure(host, f"manage = true\n{SNAT_TO_VIPS}")
    host.ovpnha("firewall", "--apply")
    configure(host)
    assert host.kinds() == {"leftover", "no_conntrackd"}


MANAGED = f"""
[firewall]
manage = true
networks = ["{plan.TUNNEL}"]
snat = [{{ interface = "{plan.LAN.interface}", vip = "{plan.LAN.vip}" }}]
"""
MakeLab = Callable[..., Lab]


def manage(lab: Lab) -> None:
    file = lab.directory / "ovpnha.toml"
    file.write_text(file.read_text() + MANAGED)


def nft(lab: Lab, name: str, *arguments: str) -> str:
    argv = ["ip", "netns", "exec", lab.nodes[name].namespace, "nft", *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout


def has_table(lab: Lab, name: str) -> bool:
    return "snat ip to" in nft(lab, name, "list", "table", "inet", "ovpnha")


def test_a_translated_session_lives_on_with_another_node(lab: Lab) -> None:
    """There and back, by the table of our own alone: the client sends, so that it is known.

    The administrator's own masquerade comes after it, and finds nothing left to translate.
    """
    manage(lab)
    for name in lab.nodes:
        nft(lab, name, BOTH)
    lab.start_cluster()
    session = Session(lab)
    for target, name in (("b", "a"), ("a", "b")):
        killed = session.strike(kill_openvpn)
        assert session.recovers(killed, PATIENCE)
        lab.wait_master(target)
        before = session.tcp.received()
        wait_until(lambda: session.tcp.received() > before, "bytes of the session", PATIENCE)  # noqa: B023
        lab.nodes[name].openvpn.start()
        lab.wait_in_sync(name)
    translated: dict[str, Any] = json.loads(
        nft(lab, "b", "-j", "list", "chain", "inet", "ovpnha", "postrouting")
    )
    counters = re.findall(r'"packets": (\d+)', json.dumps(translated))
    assert int(counters[0]) > 0
    assert session.finish() == ""


def test_with_conntrackd_every_kind_of_connection_lives_though_the_rules_masquerade(
    make_lab: MakeLab,
) -> None:
    """There and back: the table of our own translates what the rules would have masqueraded."""
    lab = make_lab(rules=Rules.MASQUERADE, conntrack=True)
    manage(lab)
    lab.start_cluster()
    for name in lab.nodes:
        wait_until(lambda: has_table(lab, name), "the table", PATIENCE)  # noqa: B023
    client = lab.start_client()
    lab.wait_in_sync("b")
    flows = Flows(lab, ("ipv4",), 40)
    flows.start()
    watch = Watch(lab, client, idle_probes(lab))
    for target, name in (("b", "a"), ("a", "b")):
        watch.linger(2.0)
        killed = watch.strike(kill_openvpn)
        lab.wait_master(target)
        watch.linger(3.0)
        fates = flows.judge(killed.monotonic, PATIENCE)
        assert {kind for (kind, _), fate in fates.items() if not fate.alive} == set()
        lab.nodes[name].openvpn.start()
        lab.wait_in_sync(name)


def idle_probes(lab: Lab) -> ProbeStream:
    """``Watch`` wants some; what is watched here are the flows."""
    return ProbeStream("unused", lab.topology.namespace("client"), "127.0.0.1", lab.directory)


def test_a_table_that_was_flushed_comes_back_and_stays(manual_lab: Lab) -> None:
    manage(manual_lab)
    manual_lab.start_cluster()
    wait_until(lambda: has_table(manual_lab, "a"), "the table", PATIENCE)
    nft(manual_lab, "a", "flush", "ruleset")
    wait_until(lambda: has_table(manual_lab, "a"), "the table again", PATIENCE)
    namespace = manual_lab.nodes["a"].namespace
    with topology.inside(namespace):
        liberal = Path("/proc/sys", LIBERAL).read_text()
    assert liberal.strip() == "1"
    manual_lab.nodes["a"].sidecar.process.stop()
    assert has_table(manual_lab, "a")
