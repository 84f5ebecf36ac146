"""OpenVPN servers and clients of the lab: their configurations and processes.

The server's configuration is one file, the same on both nodes; paths that belong to one node are
relative to that node's directory. Clients run the distribution's binary, whatever the servers run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import plan
from tests.lab.clientlog import LogLine, parse_line
from tests.lab.process import Process
from tests.lab.waiting import Tail, wait_until

STOCK = Path("/usr/sbin/openvpn")
READY = "Initialization Sequence Completed"
CLIENT_READY_SECONDS = 30.0


ROUTED = (
    "topology subnet",
    f"server {plan.TUNNEL.network_address} {plan.TUNNEL.netmask}",
    f"server-ipv6 {plan.TUNNEL6}",
    f'push "route {plan.LAN.network.network_address} {plan.LAN.network.netmask}"',
    f'push "route-ipv6 {plan.LAN.network6}"',
)
"""The clients have a network of their own, from which the nodes route into the LAN."""


@dataclass(frozen=True)
class Transport:
    """What clients connect to: OpenVPN's ``proto`` and the virtual address.

    ``remotes``, for stock OpenVPN: the servers' own addresses, where clients have a line for each.
    ``shared``, for servers without ``local``: all virtual addresses.
    """

    server_proto: str = "udp4"
    client_proto: str = "udp4"
    address: str = plan.OUT.vip
    remotes: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @property
    def vips(self) -> tuple[str, ...]:
        """The addresses that move."""
        return self.shared or (self.address,)


IPV4 = Transport()
IPV6 = Transport("udp6", "udp6", plan.OUT.vip6)
ANY = Transport(shared=(plan.OUT.vip,))
BOTH = Transport("udp6", shared=(plan.OUT.vip, plan.OUT.vip6))
"""No ``local``: IPv4, and one socket for both families, here with a client that has IPv4."""


def server_config(
    pki: Path,
    *,
    keepalive: str,
    transport: Transport,
    cluster: bool,
    tls_crypt: bool = True,
    network: Sequence[str] = ROUTED,
    options: Sequence[str] = (),
) -> str:
    """The text of the servers' configuration; ``cluster`` adds what the patched OpenVPN needs.

    ``network`` says what the clients are connected to.
    """
    lines = [
        *([] if transport.remotes or transport.shared else [f"local {transport.address}"]),
        *(f"cluster-address {address}" for address in transport.shared),
        f"port {plan.PORT}",
        f"proto {transport.server_proto}",
        "dev tun0",
        *network,
        *(f"{name} {pki / file}" for name, file in _pki_files("server", tls_crypt=tls_crypt)),
        "dh none",
        f"keepalive {keepalive}",
        "persist-key",
        "persist-tun",
        "verb 4",
        "machine-readable-output",
        "writepid openvpn.pid",
        *(["cluster", "management openvpn.sock unix"] if cluster else []),
        *options,
    ]
    return "\n".join([*lines, ""])


def client_config(
    pki: Path,
    name: str,
    transport: Transport,
    options: Sequence[str],
    *,
    tls_crypt: bool = True,
) -> str:
    """The text of an ordinary client's configuration; ``lport`` gives it a port that stays."""
    remotes = transport.remotes or (transport.address,)
    lines = [
        "client",
        *([] if any(option.startswith("lport") for option in options) else ["nobind"]),
        *(f"remote {address} {plan.PORT} {transport.client_proto}" for address in remotes),
        *(f"{option} {pki / file}" for option, file in _pki_files(name, tls_crypt=tls_crypt)),
        "remote-cert-tls server",
        "persist-key",
        "persist-tun",
        "verb 4",
        "machine-readable-output",
        *options,
    ]
    return "\n".join([*lines, ""])


def _pki_files(name: str, *, tls_crypt: bool) -> list[tuple[str, str]]:
    files = [("ca", "ca.crt"), ("cert", f"{name}.crt"), ("key", f"{name}.key")]
    return [*files, ("tls-crypt", "tls-crypt.key")] if tls_crypt else files


class Client:
    """One stock client and what its log has said so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._tail = Tail(process.log)
        self._lines: list[LogLine] = []

    def log(self) -> list[LogLine]:
        """Every line so far."""
        parsed = (parse_line(line) for line in self._tail.lines())
        self._lines += [line for line in parsed if line is not None]
        return self._lines

    def connected(self) -> bool:
        """It has reached the end of its initialization."""
        self.process.expect_running()
        return any(READY in line.text for line in self.log())

    def wait_connected(self, seconds: float = CLIENT_READY_SECONDS) -> None:
        """Wait until it is connected."""
        wait_until(self.connected, f"{self.process.name} connects", seconds)
