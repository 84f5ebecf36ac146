"""Everything secret and everything configured in the container lab, made new at each start.

usage: python -m tests.lab.compose.files DIRECTORY

One folder of DIRECTORY for each volume of docker-compose.yml, at the paths where the containers
mount them. Server, client and addresses are those of the namespace lab; keepalived's files are the
ones that users start from. Nothing made here may ever be committed.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from ovpnha.runtime.keyfile import create_key_file
from tests.lab import plan
from tests.lab.keepalived import ROUTER_ID, copy_files, write_node_conf
from tests.lab.openvpn import IPV4, client_config, server_config
from tests.lab.pki import Pki
from tests.lab.rules import LAN, Rules, rule_set
from tests.lab.sidecar import INSTANCE
from tests.lab.vip_manager import PRIORITY

KEEPALIVED = Path("/usr/local/share/ovpnha/keepalived")
# The user `ovpnha` of the node's image.
SIDECAR_ID = 594
KEEPALIVE = "10 60"
ADVERT_INTERVAL = 0.05
RULES = Rules.SNAT_STATEFUL
NODES = plan.node_names(3)
"""As many as docker-compose.yml has, with the one of the profile."""
MANAGEMENT = f"/run/openvpn-cluster/{INSTANCE}.sock"
SERVER_FILE = f"{INSTANCE}.conf"
GRADE_FILE = f"/run/ovpnha/{INSTANCE}.grade"

_SIDECAR = f"""\
[cluster]
name = "lab"
key_file = "/etc/ovpnha/cluster.key"

# The BCN link is where OpenVPN's cluster-broadcast-address is; the VIP is its `local`.
[[instance]]
name = "{INSTANCE}"
management = "{MANAGEMENT}"
track_file = "{GRADE_FILE}"

# For two nodes or three.
[conntrack]
manager = "conntrackd"
mode = "notrack"
flows = ["{plan.TUNNEL}"]
"""
# So that a node may load it again.
_ANEW = "table inet site\ndelete table inet site\n"


def main() -> None:
    """Fill the volumes, unless they are full: a node that starts again needs the keys it had."""
    root = Path(sys.argv[1])
    if (root / "server" / SERVER_FILE).exists():
        return
    pki = Pki(root / "pki")
    pki.issue("server", server=True)
    pki.issue("client", server=False)
    _write_client(root / "client", pki)
    _write_sidecar(root / "sidecar")
    for place, node in enumerate(NODES):
        _write_keepalived(root / f"keepalived-{node}", node, PRIORITY - place)
    _write_server(root / "server", pki)
    shutil.rmtree(pki.directory)


def _write_server(directory: Path, pki: Pki) -> None:
    options = [
        "cluster",
        f"cluster-broadcast-address {plan.BCN.network.broadcast_address}",
        "cluster-port 11940",
        f"management {MANAGEMENT} unix",
        "management-client-user ovpnha",
        "management-client-group ovpnha",
        "disable-dco",
    ]
    text = server_config(
        Path("pki"), keepalive=KEEPALIVE, transport=IPV4, cluster=False, options=options
    )
    _copy_keys(pki, directory / "pki", "server")
    (directory / SERVER_FILE).write_text(without_ipv6(text))


def _write_client(directory: Path, pki: Pki) -> None:
    text = client_config(Path("pki"), "client", IPV4, ["dev tun0"])
    (directory / "client.conf").write_text(text)
    _copy_keys(pki, directory / "pki", "client")


def _copy_keys(pki: Pki, directory: Path, name: str) -> None:
    directory.mkdir()
    for file in ("ca.crt", "tls-crypt.key", f"{name}.crt", f"{name}.key"):
        shutil.copy(pki.directory / file, directory / file)
        (directory / file).chmod(0o600)


def without_ipv6(config: str) -> str:
    """A configuration without what needs IPv6, which a container's network lacks by default."""
    unwanted = re.compile(r"writepid|server-ipv6|push .route-ipv6")
    lines = (line for line in config.splitlines() if not unwanted.match(line))
    return "\n".join([*lines, ""])


def _write_sidecar(directory: Path) -> None:
    key = directory / "cluster.key"
    create_key_file(key)
    shutil.chown(key, SIDECAR_ID, SIDECAR_ID)
    nodes = (
        f'\n[node.node-{node}.http]\nlisten = "{plan.LAN.address(plan.node_number(node))}:9594"\n'
        for node in NODES
    )
    (directory / "ovpnha.toml").write_text(_SIDECAR + "".join(nodes))
    (directory / "nftables.conf").write_text(_ANEW + by_network(rule_set(RULES, guarded=True)))


def by_network(rules: str) -> str:
    """A rule set that knows the LAN by its IPv4 network: an engine names interfaces as it likes."""
    text = "\n".join(line for line in rules.splitlines() if "ip6 " not in line)
    for way, end in (("iifname", "saddr"), ("oifname", "daddr")):
        text = text.replace(f'{way} "{LAN}"', f"ip {end} {plan.LAN.network}")
    return f"{text}\n"


def _write_keepalived(directory: Path, node: str, priority: int) -> None:
    copy_files(directory, KEEPALIVED)
    values = {
        "NODE": f"node-{node}",
        "PRIORITY": priority,
        "OUTSIDE_IF": plan.OUT.network,
        "OUTSIDE_VIP": f"{plan.OUT.vip}/{plan.OUT.network.prefixlen}",
        "OUTSIDE_VIP6": "",
        "INSIDE_IF": plan.LAN.network,
        "INSIDE_VIP": f"{plan.LAN.vip}/{plan.LAN.network.prefixlen}",
        "INSIDE_VIP6": "",
        "ROUTER_ID": ROUTER_ID,
        "ADVERT_INTERVAL": ADVERT_INTERVAL,
        "GRADE_FILE": GRADE_FILE,
        "CHECK_GRADE": f'"/etc/keepalived/check-grade {GRADE_FILE}"',
    }
    write_node_conf(directory, values)


if __name__ == "__main__":
    main()
