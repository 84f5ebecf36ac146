"""The client in the machine: OpenVPN of the newer suite, its data channel in the machine's kernel.

Its log is the machine's console. What is judged is a probe stream from the LAN host to its tunnel
address: the machine's kernel answers, so no slow emulated program stands in the figures.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.clientlog import LogLine
from tests.lab.dco.image import Image
from tests.lab.dco.machine import Machine
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.openvpn import READY, Client, client_config
from tests.lab.session import Watch
from tests.lab.traffic import ProbeStream
from tests.lab.waiting import wait_until

NAME = "client"
HOME = Path("/lab")
IN_KERNEL = "ovpn"
CONNECT_SECONDS = 120.0
FILES = ("ca.crt", f"{NAME}.crt", f"{NAME}.key", "tls-crypt.key")


class GuestClient(Client):
    """What a client in a machine says, by our clock: never before it was said, and little after.

    What happens at once after a moment of ours must not be taken for something before it.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.process)
        self._machine = machine

    def log(self) -> list[LogLine]:
        """Every line so far."""
        behind = self._machine.behind
        return [LogLine(line.time + behind, line.text) for line in super().log()]


class Guest:
    """The client of a lab whose setup has these client options."""

    def __init__(self, lab: Lab, image: Image) -> None:
        self._lab = lab
        self._client_home = lab.directory / "guest"
        self._write_files()
        self.machine = Machine(
            image, lab.topology.namespace("client"), lab.directory, self._client_home
        )
        self.client = GuestClient(self.machine)
        self._streams = 0

    def connect(self, options: Sequence[str] = ()) -> Watch:
        """Start its OpenVPN, once more if it runs, and watch it."""
        self.machine.run("killall -9 openvpn 2>/dev/null; while pidof openvpn; do sleep 0.1; done")
        self.machine.run("ip link delete tun0 2>/dev/null || true")
        since = time.time_ns()
        self.machine.run(self._command(options))
        wait_until(
            lambda: self._connected(since), "the client in the machine connects", CONNECT_SECONDS
        )
        return Watch(self._lab, self.client, self._probe())

    def _connected(self, since: int) -> bool:
        self.machine.expect_running()
        return any(READY in line.text and line.time > since for line in self.client.log())

    def in_kernel(self) -> bool:
        """Whether its tunnel is a device of the kernel's own driver."""
        return IN_KERNEL in self.machine.run("ip -details link show tun0")

    def _probe(self) -> ProbeStream:
        self._streams += 1
        said = self.machine.run("ip -4 -oneline addr show tun0")
        found = re.search(r"inet ([\d.]+)", said)
        if found is None:
            raise LabError(f"the machine's tun0 has no address: {said}")
        namespace = self._lab.topology.namespace("lan")
        return ProbeStream(
            f"probe-guest-{self._streams}", namespace, found[1], self._lab.directory
        ).start()

    def _command(self, options: Sequence[str]) -> str:
        words = " ".join(f"--{option}" for option in options)
        return f"openvpn --config {HOME}/{NAME}.conf {words} </dev/null >/dev/ttyS0 2>&1 &"

    def _write_files(self) -> None:
        self._client_home.mkdir()
        pki = self._lab.pki
        pki.issue(NAME, server=False)
        for name in FILES:
            shutil.copy(pki.directory / name, self._client_home)
        options = ["dev tun0", *self._lab.setup.client_options]
        text = client_config(HOME, NAME, self._lab.setup.transport, options)
        (self._client_home / f"{NAME}.conf").write_text(text)
