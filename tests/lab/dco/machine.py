"""A client machine of the lab with a kernel of its own, under qemu's software emulation.

It lives in the ``client`` namespace, bridged to that host's cable, with that host's address. It has
three serial lines: OpenVPN's log, which is the log of the process; what it is told to do, and says
of that (``init.sh``); and all that its kernel says, in a file of its own, so that no line of one
stands in the midst of a line of the other.

A machine may end at any time, with its kernel: then every call raises ``MachineEnded``, whose text
is the end of what the kernel said, never the error of a socket.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.lab import plan
from tests.lab.dco.console import crash_line, emulator_line
from tests.lab.dco.image import Image, pack
from tests.lab.errors import LabError
from tests.lab.process import Process, last_lines
from tests.lab.waiting import POLL, try_connect, wait_patiently, wait_until

BOOT_SECONDS = 240.0
COMMAND_SECONDS = 60.0
HOST_NUMBER = 100
TAP, BRIDGE = "guest0", "guests"
IP = "/usr/bin/ip -color=never"
DONE = b"done "
SECOND = 1_000_000_000
CLOCK_TRIES, CLOCK_ERROR = 5, 30_000_000
"""How often its clock is set until it is right, and by how many nanoseconds it may be wrong."""

CONSOLE = "console=ttyS2 mitigations=off oops=panic panic=-1"
"""A kernel that is broken ends its machine, so that no client is taken for lost because of it."""

TAIL, WHOLE = 30, 100_000
"""Lines: of a kernel's last words that an error shows, a panic with its call trace; and of all."""


class MachineEnded(LabError):
    """The machine is gone. ``crash`` is how its kernel or the emulator broke; "" when neither."""

    def __init__(self, text: str, crash: str) -> None:
        super().__init__(text)
        self.crash = crash


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
        self.kernel_log = directory / "machine-kernel.log"
        self.behind = 0
        """Nanoseconds by which its clock is behind ours, at most."""

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._control.close()
        reason = self._reason(error)
        self.process.discard()
        if reason is not None:
            raise reason from error

    def _reason(self, error: BaseException | None) -> MachineEnded | None:
        """Why something was waited for in vain: the machine had ended, and nobody looked at it."""
        if not isinstance(error, LabError) or isinstance(error, MachineEnded):
            return None
        return self._ended() if self.process.started and not self.process.running else None

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
        self.expect_running()
        try:
            self._control.sendall(command.encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None
        said, status = self._wait_done(COMMAND_SECONDS)
        if status:
            raise LabError(f"the machine: {command}: status {status}: {said}")
        return said

    def expect_running(self) -> None:
        """Raise MachineEnded with the kernel's last words when it has ended."""
        if not self.process.running:
            raise self._ended()

    def _ended(self) -> MachineEnded:
        """The error for a machine whose process ends now, or has ended."""
        status = self.process.wait()
        kernel = last_lines(self.kernel_log, WHOLE)
        crash = crash_line(kernel) or emulator_line(status, self.process.tail(TAIL))
        return MachineEnded(f"the machine has ended with status {status}; {self._tails()}", crash)

    def _tails(self) -> str:
        """The last words of its kernel, and of what runs in it."""
        kernel = [line.rstrip() for line in last_lines(self.kernel_log, TAIL)]
        log = self.process.tail(TAIL // 3)
        return "\n".join(["the last its kernel says:", *kernel, "and its first serial line:", *log])

    def set_clock(self) -> None:
        """Give it this machine's time, since its log is compared with ours, and note its error.

        It takes the time when the command reaches it, some time before we hear of that. By so much
        it is behind at most, a fifth of a second on a busy host; if it is long, it is set again.
        """
        for _ in range(CLOCK_TRIES):
            second = time.time_ns() // SECOND + 1
            while time.time_ns() < second * SECOND:
                time.sleep(POLL / 5)
            self.run(f"date -s @{second}")
            self.behind = time.time_ns() - second * SECOND
            if self.behind < CLOCK_ERROR:
                return

    def _argv(self) -> list[str | Path]:
        home = self._directory
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-kernel", self._image.kernel, "-initrd", home / "machine.initrd"),
            *("-append", CONSOLE, "-serial", "stdio"),
            *("-serial", f"unix:{home / 'machine.sock'},server=on,wait=off"),
            *("-serial", f"file:{home / 'machine-kernel.log'}"),
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
        self.expect_running()
        return try_connect(self._control, self._directory / "machine.sock")

    def _wait_done(self, seconds: float) -> tuple[str, int]:
        """What came until the machine says that it has done something, and the status of that."""
        if not wait_patiently(self._is_done, seconds):
            text = f"the machine runs and has not answered within {seconds:g} s; {self._tails()}"
            raise LabError(text)
        before, _, after = self._heard.partition(DONE)
        status, _, self._heard = after.partition(b"\n")
        return before.decode(errors="replace").strip(), int(status)

    def _is_done(self) -> bool:
        self._listen()
        return b"\n" in self._heard.partition(DONE)[2]

    def _listen(self) -> None:
        try:
            heard = self._control.recv(1 << 16)
        except BlockingIOError:
            self.expect_running()
            return
        except ConnectionResetError:
            raise self._ended() from None
        if not heard:
            raise self._ended()
        self._heard += heard
