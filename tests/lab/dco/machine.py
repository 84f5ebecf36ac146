"""A client machine of the lab with a kernel of its own, under qemu's software emulation.

It lives in the ``client`` namespace, bridged to that host's cable, with that host's address. What
its console says, OpenVPN's lines among it, is the log of the process; it is told what to do over a
second serial line (``init.sh``).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.lab import plan
from tests.lab.dco.image import Image, pack
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.waiting import POLL, try_connect, wait_until

BOOT_SECONDS = 240.0
COMMAND_SECONDS = 60.0
HOST_NUMBER = 100
TAP, BRIDGE = "guest0", "guests"
IP = "/usr/bin/ip -color=never"
DONE = b"done "
CONSOLE = "console=ttyS0 quiet mitigations=off panic=-1"


class Machine:
    """One virtual machine. ``files`` is a directory that it has as ``/lab``."""

    def __init__(self, image: Image, namespace: str, directory: Path, files: Path) -> None:
        self._image = image
        self._namespace = namespace
        self._directory = directory
        self._files = files
        self._control = socket.socket(socket.AF_UNIX)
        self._heard = b""
        self.process = Process(
            self._argv(), namespace=namespace, directory=directory, log=directory / "machine.log"
        )

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_error: object) -> None:
        self._control.close()
        self.process.discard()

    def start(self) -> None:
        """Boot, and wait until it takes commands with the host's clock and address."""
        self._pack()
        self._plug_in()
        self.process.start()
        self._connect()
        self._wait_done(BOOT_SECONDS)
        self.set_clock()
        address = f"{plan.OUT.address(HOST_NUMBER)}/{plan.OUT.network.prefixlen}"
        self.run("ip link set lo up")
        self.run(f"ip addr add {address} dev eth0")
        self.run("ip link set eth0 up")

    def run(self, command: str) -> str:
        """What a command line says there; ``ip`` is the real one, not busybox's."""
        command = command.replace("ip ", f"{IP} ", 1) if command.startswith("ip ") else command
        self._control.sendall(command.encode() + b"\n")
        said, status = self._wait_done(COMMAND_SECONDS)
        if status:
            raise LabError(f"the machine: {command}: status {status}: {said}")
        return said

    def set_clock(self) -> None:
        """Give it this machine's time, since its log is compared with ours."""
        second = time.time_ns() // 1_000_000_000 + 1
        while time.time_ns() < second * 1_000_000_000:
            time.sleep(POLL / 5)
        self.run(f"date -s @{second}")

    def _argv(self) -> list[str | Path]:
        home = self._directory
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-kernel", self._image.kernel, "-initrd", home / "machine.initrd"),
            *("-append", CONSOLE, "-serial", "stdio"),
            *("-serial", f"unix:{home / 'machine.sock'},server=on,wait=off"),
            *("-netdev", f"tap,id=out,ifname={TAP},script=no,downscript=no"),
            *("-device", "virtio-net-pci,netdev=out,romfile="),
        ]

    def _pack(self) -> None:
        """The image, and after it a second archive with the files of this run."""
        stage, added = self._directory / "machine.stage", self._directory / "machine.cpio"
        shutil.copytree(self._files, stage / "lab")
        pack(stage, added, self._image.busybox)
        whole = self._image.initrd.read_bytes() + added.read_bytes()
        (self._directory / "machine.initrd").write_bytes(whole)
        shutil.rmtree(stage)

    def _plug_in(self) -> None:
        """Put the machine on the cable of the host in whose namespace it lives."""
        commands = (
            f"tuntap add dev {TAP} mode tap",
            f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0",
            f"addr flush dev {plan.OUT.interface}",
            f"link set {plan.OUT.interface} master {BRIDGE}",
            f"link set {TAP} master {BRIDGE} up",
            f"link set {BRIDGE} up",
        )
        for command in commands:
            subprocess.run(["ip", "-netns", self._namespace, *command.split()], check=True)

    def _connect(self) -> None:
        wait_until(self._is_connected, "the machine's second serial line", COMMAND_SECONDS)
        self._control.setblocking(False)

    def _is_connected(self) -> bool:
        self.process.expect_running()
        return try_connect(self._control, self._directory / "machine.sock")

    def _wait_done(self, seconds: float) -> tuple[str, int]:
        """What came until the machine says that it has done something, and the status of that."""
        wait_until(self._is_done, "the machine has done something", seconds)
        before, _, after = self._heard.partition(DONE)
        status, _, self._heard = after.partition(b"\n")
        return before.decode(errors="replace").strip(), int(status)

    def _is_done(self) -> bool:
        self.process.expect_running()
        self._listen()
        return b"\n" in self._heard.partition(DONE)[2]

    def _listen(self) -> None:
        try:
            self._heard += self._control.recv(1 << 16)
        except BlockingIOError:
            return
