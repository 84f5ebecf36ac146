"""One configuration on two nodes under keepalived: a client connects, and the master dies."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab import plan
from tests.lab.configurations.files import fill, give_files, let_nobody_write, write_files
from tests.lab.configurations.rows import Row
from tests.lab.configurations.shapes import (
    PAM,
    Shape,
    client_options,
    gateway_of_bridge,
    given_up,
    server_text,
    tunnels,
)
from tests.lab.deaths import kill_openvpn
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.session import Moment, Session
from tests.lab.tap import bridge_nodes, run_ip
from tests.lab.topology import open_route
from tests.lab.waiting import wait_until

PATIENCE = 20.0
SETTLED_SECONDS = 2.0
"""How long the client is watched after the takeover."""
LETS_IN = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n"
WITH_LOGINS = """\
#!/bin/sh
# In the mounts of this process alone.
mount --bind {directory}/pam.d /etc/pam.d && exec {openvpn} "$@"
"""


class ConfiguredLab(Lab):
    """A lab whose servers have this configuration, and every file that it names."""

    def __init__(self, shape: Shape, openvpn: Path, say: Callable[[str], None]) -> None:
        options = client_options(shape.server)
        super().__init__(Setup(openvpn=openvpn, tls_crypt=False, client_options=options), say)
        self.shape = shape
        self._program = openvpn
        if PAM in shape.text:
            self.setup = replace(self.setup, openvpn=self.directory / "with-logins")

    def _prepare(self) -> None:
        super()._prepare()
        self.directory.chmod(0o711)  # servers that become nobody read their files again
        for node in self.nodes.values():
            give_files(self.pki.directory, node.directory)
            let_nobody_write(node.directory)
        self._let_in()
        if gateway := gateway_of_bridge(self.shape.server):
            bridge_nodes(self, self.shape.server.word("dev"))
            run_ip(self, "lan", f"addr add {gateway} dev {plan.LAN.interface}")
        with open_route(self.topology.namespace("lan")) as route:
            for network in tunnels(self.shape.server):
                gateway = plan.LAN.vip if network.version == 4 else plan.LAN.vip6
                route.route("add", dst=str(network), gateway=gateway)

    def _write_server_config(self) -> None:
        write_files(self.pki, self._program)
        for name, text in (self.shape.files or {}).items():
            (self.pki.directory / name).write_text(text)
        text = fill(server_text(self.shape), self.pki.directory)
        (self.directory / "server.conf").write_text(text)

    def _let_in(self) -> None:
        """For a server that asks PAM: a service that takes every password."""
        services = self.directory / "pam.d"
        services.mkdir()
        (services / "openvpn").write_text(LETS_IN)
        program = self.directory / "with-logins"
        program.write_text(WITH_LOGINS.format(directory=self.directory, openvpn=self._program))
        program.chmod(0o755)


@dataclass(frozen=True)
class Result:
    """A row, and what programs need not know: why it is not as it should be."""

    row: Row
    problem: str = ""


def try_shape(shape: Shape, openvpn: Path, say: Callable[[str], None]) -> Result:
    """What comes of one configuration."""
    row = Row(shape.name, shape.kind, starts=False, given_up=tuple(given_up(shape)))
    lab = ConfiguredLab(shape, openvpn, say)
    with lab:
        if shape.stops:
            return _try_start(lab, row)
        try:
            lab.start_cluster()
        except LabError as error:
            return Result(row, str(error))
        return _try_takeover(lab, replace(row, starts=True))


def _try_start(lab: Lab, row: Row) -> Result:
    """One server of which init says that it cannot be had; it ends by itself."""
    openvpn = lab.nodes["a"].openvpn
    openvpn.start()
    try:
        wait_until(lambda: not openvpn.running, "the server ends", PATIENCE)
    except LabError as error:
        return Result(replace(row, starts=True), str(error))
    return Result(row)


def _try_takeover(lab: ConfiguredLab, row: Row) -> Result:
    try:
        session = Session(lab)
        killed = session.strike(kill_openvpn)
        lab.wait_master(lab.other(killed.node))
        session.linger(SETTLED_SECONDS)
    except LabError as error:
        return Result(replace(row, takeover=False), str(error))
    return _judge(lab, session, killed, row)


def _judge(lab: ConfiguredLab, session: Session, killed: Moment, row: Row) -> Result:
    answered = session.recovers(killed, PATIENCE)
    outage = round(session.outage_ms(killed), 1)
    problem = "" if answered else "no probe was answered after the death of the master"
    problem = problem or _reach_ipv6(lab) or session.finish()
    seen = session.noticed(killed)
    restarts = max(seen.restarts, seen.inactive, seen.reconnects)
    kept = seen.nothing and not problem
    row = replace(row, takeover=kept, client_restarts=restarts, outage_ms=outage)
    return Result(row, problem or ("" if kept else str(seen)))


def _reach_ipv6(lab: ConfiguredLab) -> str:
    """What is wrong with IPv6 inside of the tunnel, where the server has it; else ""."""
    if not any(network.version == 6 for network in tunnels(lab.shape.server)):
        return ""
    ping = ("ping", "-6", "-c", "3", "-i", "0.2", "-W", "2", plan.LAN.address6(plan.OTHERS))
    where = ("ip", "netns", "exec", lab.topology.namespace("client"))
    done = subprocess.run([*where, *ping], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"IPv6 inside of the tunnel: {done.stdout}"
