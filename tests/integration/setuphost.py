"""A host of its own for `ovpnha init`: interfaces, /etc, /run and /var/lib, and nobody else's.

One process in namespaces of its own; everything in them ends with it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from tests.lab.configurations.files import fill, give_files, write_files
from tests.lab.pki import Pki
from tests.lab.waiting import wait_until
from tests.unit.setup.test_configurations import DIRECTORY

USER = 594
SECONDS = 60.0
PREPARE = r"""
mount --make-rprivate /
cp -a /etc "$1/etc"
rm -rf "$1"/etc/{openvpn,ovpnha,keepalived,network/interfaces*,systemd/network,netplan}
sed -i /^ovpnha:/d "$1"/etc/{passwd,group}
echo "ovpnha:x:$2:$2::/run/ovpnha:/bin/false" >>"$1/etc/passwd"
echo "ovpnha:x:$2:" >>"$1/etc/group"
mkdir -p "$1"/etc/{openvpn/server,network,keepalived}
mount --bind "$1/etc" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir -m 0711 /run/openvpn-cluster
install -d -o "$2" -g "$2" /run/ovpnha
hostname "$3"
ip link set lo up
for name in eth0 eth1 bcn0; do
    ip link add "$name" type veth peer name "x$name"
    ip link set "$name" up
    ip link set "x$name" up
done
ip address add "192.0.2.$4/24" dev eth0
ip address add "198.51.100.$4/24" dev eth1
ip address add "192.168.77.$4/24" dev bcn0
touch /run/ready
exec sleep infinity
"""


SERVER = "/etc/openvpn/server"
# By the distribution's Python: the sidecar's user may not read whatever runs the tests.
ASK = """
import socket, sys
path, question, end = sys.argv[1:]
one = socket.socket(socket.AF_UNIX)
one.settimeout(20)
one.connect(path)
one.sendall(question.encode() + b"\\n")
text = b""
while end.encode() not in text:
    text += one.recv(4096) or sys.exit("it hung up")
print(text.decode())
"""


class SetupHost:
    """The host; ``number`` ends its addresses."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        directory.mkdir()
        self.directory = directory
        self._process = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"),
                *("--mount-proc", "bash", "-euc", PREPARE, "bash"),
                *(directory, str(USER), name, str(number)),
            ]
        )

    def __enter__(self) -> SetupHost:
        wait_until(lambda: self._pid() and self.path("/run/ready").exists(), "the host", SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def path(self, inner: str) -> Path:
        """A file of the host, from outside."""
        return Path(f"/proc/{self._pid()}/root{inner}")

    def run(self, *command: str | Path, user: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command there, to its end."""
        return subprocess.run(
            self._enter(*command, user=user),
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def check(self, *command: str | Path, user: int = 0) -> str:
        """The same; it must end well. Gives what it said."""
        done = self.run(*command, user=user)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a command there, which ends with the host at the latest."""
        with log.open("wb") as file:
            return subprocess.Popen(self._enter(*command), stdout=file, stderr=file)

    def _enter(self, *command: str | Path, user: int = 0) -> list[str | Path]:
        ids = [f"--setuid={user}", f"--setgid={user}"] if user else []
        target = f"--target={self._pid()}"
        return ["nsenter", target, "--net", "--mount", "--uts", "--pid", *ids, *command]

    def _pid(self) -> str:
        """The first process of the host, as its parent sees it."""
        parent = self._process.pid
        try:
            return Path(f"/proc/{parent}/task/{parent}/children").read_text().strip()
        except FileNotFoundError:
            return ""


def make_files(directory: Path, openvpn: Path) -> Path:
    """Every file that one of the configurations names."""
    authority = Pki(directory)
    authority.issue("server", server=True)
    write_files(authority, openvpn)
    return directory


def give_server(host: SetupHost, name: str, files: Path) -> str:
    """The server's configuration and its files."""
    directory = host.path(SERVER)
    give_files(files, directory)
    text = fill((DIRECTORY / f"{name}.conf").read_text(), files)
    (directory / f"{name}.conf").write_text(text)
    return text


def answers(host: SetupHost, name: str, question: str, end: str) -> str:
    """What the management socket says to the sidecar's user, as soon as it is there."""
    socket = f"/run/openvpn-cluster/{name}.sock"
    done = host.run("/usr/bin/python3", "-c", ASK, socket, question, end, user=USER)
    return done.stdout if done.returncode == 0 else ""
