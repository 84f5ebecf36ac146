"""What an administrator does with a cluster that packages have made, by docs/operations.md: deeds.

Upgrades, another certificate, another cluster key; beside them what happens by itself: a crash,
reboots, and the loss of all power at once.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.hosts import page
from tests.hosts.host import HOME, Host
from tests.hosts.rows import SECONDS, Deed, findings
from tests.hosts.site import UNIT, Site
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

NEWER = f"{HOME}/newer"
KEY = "/etc/ovpnha/cluster.key"
CONFIG = "/etc/ovpnha/ovpnha.toml"
CERTIFICATES = "/etc/openvpn/server"
# Nobody says goodbye: the client waits for the server's ping-restart, 120 s, and tries again then.
POWER_SECONDS = 300.0
POWER_CUT = "power cut of both at once"


def find_packages(directory: Path) -> list[Path]:
    """One of each; LabError when they are not there."""
    found = [sorted(directory.glob(f"{name}_*.deb")) for name in ("openvpn-cluster", "ovpnha")]
    if any(len(one) != 1 for one in found):
        raise LabError(f"{directory}: lacks one of both packages; make packages RELEASE=...")
    return [one for (one,) in found]


def give_packages(host: Host, packages: list[Path]) -> None:
    """As they were copied there; and of each another one, with a higher version."""
    for package in packages:
        shutil.copy(package, host.file(HOME) / package.name)
        with tempfile.TemporaryDirectory() as work:
            newer = _repack(package, Path(work))
            host.file(NEWER).mkdir(exist_ok=True)
            shutil.copy(newer, host.file(NEWER) / newer.name)


def _repack(package: Path, work: Path) -> Path:
    tree, newer = work / "tree", work / package.name
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    lines = [f"{one}.1" if one.startswith("Version:") else one for one in lines]
    control.write_text("\n".join([*lines, ""]))
    build = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b"]
    subprocess.run([*build, tree, newer], check=True, stdout=subprocess.DEVNULL)
    return newer


def unattended(line: str) -> str:
    """A command of the page for apt, as a program says it."""
    return line.replace("apt ", "apt-get -q -y ", 1)


# The deeds.


def consult_doctor(site: Site) -> str:
    """Step 10 of the page: nothing is wrong."""
    for name, host in site.hosts.items():
        wrong = [one for one in findings(host) if one["severity"] == "problem"]
        if wrong:
            raise LabError(f"{name}: {wrong}")
    return "no problems on either"


def kill_openvpn(site: Site) -> str:
    """The master's OpenVPN is gone at once."""
    name = site.wait_settled()
    site.hosts[name].signal(UNIT, signal.SIGKILL)
    return f"of {name}"


def reboot(site: Site, name: str) -> str:
    """One host, whatever it is at this moment."""
    role = "master" if site.wait_settled() == name else "standby"
    host = site.hosts[name]
    host.ask("systemctl --no-block reboot")
    host.wait_off()
    host.start()
    host.wait_up()
    return f"the {role}"


def cut_both(site: Site) -> str:
    """No node has the clients any more: they reconnect, when they notice."""
    site.wait_settled()
    for host in site.hosts.values():
        host.cut_power()
    begin, now = time.monotonic(), time.monotonic_ns()
    for host in site.hosts.values():
        host.start()
    for host in site.hosts.values():
        host.wait_up()
    wait_until(lambda: site.probes.answered_since(now), "the client is back", POWER_SECONDS)
    back = time.monotonic() - begin
    return f"no keys are kept, so the client reconnects: it was back {back:.0f} s after that"


def upgrade(site: Site, name: str) -> str:
    """Both packages; the sidecar is another one then, and OpenVPN the same."""
    site.wait_settled()
    host = site.hosts[name]
    sidecar, openvpn = _pid(host, "ovpnha"), _pid(host, UNIT)
    for row in ("upgrade ovpnha", "upgrade OpenVPN"):
        host.run(unattended(page.quoted_in_row(row)[0]), NEWER)
    for package in ("ovpnha", "openvpn-cluster"):
        if not host.run(f"dpkg-query -W -f '${{Version}}' {package}").endswith(".1"):
            raise LabError(f"{package} was not brought up to date")
    if _pid(host, "ovpnha") in {sidecar, "0"}:
        raise LabError("the sidecar was not restarted")
    if _pid(host, UNIT) != openvpn:
        raise LabError("OpenVPN did not run on")
    return "the sidecar was restarted, OpenVPN ran on"


def _pid(host: Host, unit: str) -> str:
    return host.run(f"systemctl show -P MainPID {unit}")


def restart_openvpn(site: Site) -> str:
    """After an upgrade: the standby first, the master when that one is in sync again."""
    restart = page.quoted_in_row("upgrade OpenVPN")[1]
    master = site.wait_settled()
    for name in sorted(site.hosts, key=lambda one: one == master):
        site.hosts[name].run(restart)
        site.wait_settled()
    return f"{restart}, the standby first"


def replace_certificate(site: Site) -> str:
    """Node by node, while both certificates are tolerated."""
    tolerate, demote = _certificate_words()
    _each_sidecar(site, f"sed -i '/^\\[\\[instance\\]\\]/a {tolerate}' {CONFIG}")
    site.pki.issue("server", server=True)
    for _ in site.hosts:
        master = site.wait_settled()
        (standby,) = (host for name, host in site.hosts.items() if name != master)
        for file in ("server.crt", "server.key"):
            standby.write(f"{CERTIFICATES}/{file}", (site.pki.directory / file).read_text(), 0o600)
        standby.run(f"systemctl restart {UNIT}")
        site.wait_settled()
        site.hosts[master].run(demote)
        wait_until(partial(_another_master, site, master), "the standby is master", SECONDS)
    _each_sidecar(site, f"sed -i '/^tolerate/d' {CONFIG}")
    return "node by node"


def _certificate_words() -> tuple[str, str]:
    words = page.quoted_under("A new server certificate, node by node")
    (tolerate,) = (one for one in words if one.startswith("tolerate ="))
    (demote,) = (one for one in words if one == "ovpnha demote")
    return tolerate, demote


def _another_master(site: Site, last: str) -> bool:
    return site.master() not in {"", last}


def _each_sidecar(site: Site, edit: str) -> None:
    """Restarted one after the other, with another configuration."""
    for host in site.hosts.values():
        host.run(f"{edit} && systemctl restart ovpnha")
        site.wait_settled()


def rotate_key(site: Site) -> str:
    """Three steps: the new key is known, seals, and is the only one."""
    words = page.quoted_in_row("rotate the cluster key")
    add, use, drop, reload = words[:4]
    (said,) = (one for one in words if one == "cluster keys read again")
    first = site.hosts["a"]
    first.run(add.replace("FILE", KEY))
    site.hosts["b"].write(KEY, first.read(KEY), 0o600)
    _reload_each(site, reload, said)
    for step in (use, drop):
        for host in site.hosts.values():
            _make_step(host, step.replace("FILE", KEY))
        _reload_each(site, reload, said)
    return f"{add}; {use}; {drop}; {reload}"


def _make_step(host: Host, command: str) -> None:
    """It is refused until this node has heard what the others have."""
    done = f"{command} && echo done"
    wait_until(lambda: host.ask(done).endswith("done"), f"{host.name}: {command}", SECONDS)


def _reload_each(site: Site, command: str, said: str) -> None:
    for host in site.hosts.values():
        _reload(host, command, said)
    site.wait_settled()


def _reload(host: Host, command: str, said: str) -> None:
    count = f"journalctl --no-pager -o cat -u ovpnha | grep -c '{said}'"
    before = host.ask(count)
    host.run(command)
    wait_until(lambda: host.ask(count) != before, f"{host.name} says {said}", SECONDS)


BEFORE_THE_CUT = (
    Deed("doctor on both hosts", consult_doctor),
    Deed("SIGKILL of the master's OpenVPN", kill_openvpn),
    Deed("reboot of a", partial(reboot, name="a")),
    Deed("reboot of b", partial(reboot, name="b")),
)
THE_CUT = Deed(POWER_CUT, cut_both, limit=POWER_SECONDS * 1000, restarts=5)
AFTER_THE_CUT = (
    Deed("upgrade of both packages on a", partial(upgrade, name="a")),
    Deed("upgrade of both packages on b", partial(upgrade, name="b")),
    Deed("restart of OpenVPN after the upgrade", restart_openvpn),
    Deed("another server certificate", replace_certificate),
    Deed("another cluster key", rotate_key),
)
