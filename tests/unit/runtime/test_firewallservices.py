"""Who loads rules on this host is asked of systemd, and what is loaded read with its includes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.firewall.services import FirewallServices
from ovpnha.runtime import firewallservices, hostunits
from ovpnha.runtime.firewallservices import read_services, read_with_includes

UNIT = "Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\n"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hostunits, "RUNNING", tmp_path)
    monkeypatch.setattr(firewallservices, "PLACE", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def units(etc: Path, *told: str) -> None:
    program = etc / "systemctl"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(told) + "\nEND\n")
    program.chmod(0o755)


def nftables(state: str = "loaded", active: str = "active", enabled: str = "enabled") -> str:
    return UNIT % ("nftables.service", state, active, enabled)


def test_what_the_unit_loads(etc: Path) -> None:
    file = etc / "nftables.conf"
    units(etc, nftables(), UNIT % ("ufw.service", "loaded", "active", "enabled"))
    assert read_services(file) == FirewallServices(starts=True, sparing=("ufw",))
    file.write_text("flush ruleset\n")
    assert read_services(file) == FirewallServices("flush ruleset\n", starts=True, sparing=("ufw",))
    units(etc, nftables("masked", "inactive", "masked"))
    assert read_services(file) == FirewallServices("flush ruleset\n", masked=True)
    units(etc, nftables(active="inactive", enabled="disabled"))
    assert read_services(file) == FirewallServices("flush ruleset\n")
    units(etc, nftables("not-found", "inactive", ""))
    assert read_services(file) == FirewallServices()


def test_without_systemd_nobody_is_known(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostunits, "RUNNING", etc / "none")
    assert read_services(etc / "nftables.conf") == FirewallServices()


def test_what_cannot_be_read_is_said(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewallservices, "SIZE_LIMIT", 10)
    file = etc / "nftables.conf"
    file.write_text("x" * 11)
    units(etc, nftables())
    lack = f"nftables.service was not looked at: {file}: File too large; run as root"
    assert read_services(file) == FirewallServices(unread=(lack,))
    (etc / "systemctl").write_text("#!/bin/sh\necho 'no bus' >&2; exit 1\n")
    lack = "nftables.service was not looked at: systemctl: no bus"
    assert read_services(file) == FirewallServices(unread=(lack,))


def test_includes_are_filled_in(etc: Path) -> None:
    (etc / "ours").mkdir()
    (etc / "ours/b.nft").write_text("second\n")
    (etc / "ours/a.nft").write_text('first\n  include "nftables.conf"\n')
    file = etc / "nftables.conf"
    file.write_text(
        f'flush ruleset\ninclude "{etc}/ours/*.nft"\ninclude "none/*"\n# include "ours/b.nft"\n'
        'include "ours/b.nft"; last\n'
    )
    words = read_with_includes(file).replace(";", " ;").split()
    assert words[:4] == ["flush", "ruleset", "first", "second"]
    assert words[4:] == ["#", "include", '"ours/b.nft"', "second", ";", "last"]
    (etc / "ours/b.nft").unlink()
    with pytest.raises(FileNotFoundError):
        read_with_includes(file)
