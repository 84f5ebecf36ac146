"""One whole host: Debian with systemd as its first process, in systemd-nspawn.

Its tree is an overlay over the one that ``tree.sh`` makes, so it keeps what it writes over a reboot
and over a power cut. The machine below need not be booted by systemd: the host has a branch of the
control groups of its own, mounted for it alone.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import network
from tests.hosts.network import Network
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.processes import find_children, name_of
from tests.lab.waiting import wait_until

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "hosts"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SITE = "/opt/ovpnha/lib/python3.11/site-packages/ovpnha"
HOME = "/root"
BOOT_SECONDS = 180.0
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,CAP_SYS_NICE,CAP_SYS_RESOURCE"
UP = frozenset({"running", "degraded"})

_BOOT = """\
set -e
tree=$1 home=$2 name=$3
shift 3
mount --make-rprivate /
mount -t overlay -o "lowerdir=$tree,upperdir=$home/upper,workdir=$home/work" overlay "$home/root"
# Read-only: else nspawn waits for a udev to have seen the interfaces.
umount --recursive /sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$name"
echo 0 >"/sys/fs/cgroup/$name/cgroup.freeze" # else it stays as a power cut has left it
echo $$ >"/sys/fs/cgroup/$name/cgroup.procs"
exec systemd-nspawn --directory="$home/root" --machine="$name" "$@"
"""
# Waits for the end of the lab, however it comes. A killed nspawn leaves what ran in it.
_GUARD = """\
trap '' INT TERM HUP
cat >/dev/null
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
for name; do
    for ((tries = 50; tries; tries--)); do
        [[ -e /mnt/$name ]] || break
        echo 1 >"/mnt/$name/cgroup.kill"
        find "/mnt/$name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
done
"""


@dataclass(frozen=True)
class Base:
    """What a host starts from: a tree of ``tree.sh``, and what is laid over it."""

    tree: Path
    binds: tuple[str, ...] = ()


SOURCES = Base(
    BUILD / "tree",
    (
        f"--bind-ro={ROOT / 'ovpnha'}:{SITE}",
        *(f"--bind-ro={ROOT / part}:/src/{part}" for part in ("deploy", "docs")),
    ),
)


def bare(release: str) -> Base:
    """A Debian with nothing of ours."""
    return Base(BUILD / f"tree-{release}")


class Guard:
    """Ends all that runs in these hosts and removes their control groups when the lab is gone."""

    def __init__(self, machines: Iterable[str]) -> None:
        self._process = subprocess.Popen(
            ["unshare", "-m", "bash", "-c", _GUARD, "guard", *machines],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self) -> None:
        """Let it do its work now."""
        self._process.communicate()


class Host:
    """A server, ``name`` in the lab and ``vpn-NAME`` to itself."""

    def __init__(
        self, name: str, lab_network: Network, directory: Path, base: Base = SOURCES
    ) -> None:
        self.name = name
        self.base = base
        self._network = lab_network
        self._home = directory / name
        self._machine = lab_network.namespace(name)
        for part in ("upper", "work", "root"):
            (self._home / part).mkdir(parents=True)
        self._furnish()
        self.process = Process(
            ["unshare", "-m", "bash", "-c", _BOOT, "boot", *self._boot_arguments()],
            namespace=self._machine,
            directory=directory,
            log=directory / f"{name}.log",
        )

    def _boot_arguments(self) -> list[str]:
        return [
            *(str(self.base.tree), str(self._home), self._machine),
            *("--boot", "--register=no", "--keep-unit", "--resolv-conf=off", "--quiet"),
            *(f"--network-interface={name}" for name in network.INTERFACES.values()),
            *(f"--capability={CAPABILITIES}", "--bind=/dev/net/tun"),
            "--property=DeviceAllow=/dev/net/tun rw",
            *self.base.binds,
        ]

    @property
    def upper(self) -> Path:
        """What it has written to its disk, as an overlay has it."""
        return self._home / "upper"

    def _furnish(self) -> None:
        """What a new machine is given: a name, its addresses, forwarding."""
        number = network.SERVERS[self.name]
        hostname = f"vpn-{self.name}"
        self._write("etc/hostname", f"{hostname}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")
        self._write("etc/sysctl.d/50-forward.conf", "net.ipv4.ip_forward = 1\n")
        for segment, interface in network.INTERFACES.items():
            address = f"{network.NETWORKS[segment]}.{number}/24"
            self.configure_network(interface, [address])

    def configure_network(self, interface: str, addresses: list[str]) -> None:
        """What the interface has from the next boot on."""
        lines = [f"[Match]\nName={interface}\n\n[Network]\nLinkLocalAddressing=no"]
        text = "\n".join([*lines, *(f"Address={one}" for one in addresses), ""])
        self._write(f"etc/systemd/network/10-{interface}.network", text)

    def _write(self, path: str, text: str) -> None:
        """For a host that is off; a running one is written to by ``write``."""
        target = self.upper / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def start(self) -> None:
        """Switch it on, and do not wait."""
        self._network.plug(self.name)
        self.process.start()

    def wait_up(self) -> None:
        """Wait until it has booted."""
        wait_until(self._is_up, f"{self.name} has booted", BOOT_SECONDS)

    def _is_up(self) -> bool:
        self.process.expect_running()
        return self.first is not None and self.ask("systemctl is-system-running") in UP

    def wait_off(self) -> None:
        """Wait until it has shut down, no matter who asked it to."""
        self.process.wait(BOOT_SECONDS)

    def cut_power(self) -> None:
        """It says nothing more, to nobody; then everything of it ends.

        Its programs stand still while the cables are pulled, so that none tells of that. Only then
        may they end: the kernel takes what is left of a host apart piece by piece, and without its
        connections and rules, but with its addresses, would answer the LAN with resets.
        """
        home = Path("/proc", str(self.process.pid), "root/sys/fs/cgroup", self._machine)
        (home / "cgroup.freeze").write_text("1")
        self._network.unplug(self.name)
        self.discard()

    def discard(self) -> None:
        """End everything of it; its control groups are the guard's business."""
        first = self.first
        if first is not None:
            subprocess.run(["kill", "-KILL", str(first)], check=False)
        self.process.kill()

    def run(self, command: str, directory: str = HOME) -> str:
        """Carry a command out as its administrator would; LabError when it fails."""
        done = self._inside(f"cd {directory} && {command}")
        if done.returncode:
            raise LabError(f"{self.name}: {command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def ask(self, command: str) -> str:
        """What a command says, however it ends."""
        return self._inside(command).stdout.strip()

    def file(self, path: str) -> Path:
        """Where a file of a running host can be reached from outside."""
        return Path("/proc", str(self.first), "root", path.lstrip("/"))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of a running host."""
        target = self.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        """Read a file of a running host."""
        return self.file(path).read_text()

    def signal(self, unit: str, number: signal.Signals) -> None:
        """Send a signal to the main process of a unit, past its service manager."""
        self.run(f"kill -{number.value} $(systemctl show -P MainPID {unit})")

    def _inside(self, command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self.first or 0), "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        shell = ["env", "-i", f"PATH={PATH}", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command]
        return subprocess.run(
            [*enter, *shell], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    @property
    def first(self) -> int | None:
        """The pid of its first process, the child of nspawn."""
        try:
            children = find_children(self.process.pid)
        except LabError:
            return None
        return next((pid for pid in children if name_of(pid) == "systemd"), None)
