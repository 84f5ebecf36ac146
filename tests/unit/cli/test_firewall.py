"""``ovpnha firewall --remove`` where the configuration has gone before: after ``uninit``."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.firewall.findings import LIBERAL
from ovpnha.runtime import firewall
from tests.unit.cli.answers import run

NO_TABLE = "#!/bin/sh\necho 'Error: No such file or directory' >&2; exit 1\n"


def test_what_is_left_is_removed_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(firewall, "SYSCTLS", tmp_path)
    monkeypatch.setattr(firewall, "DEFAULT_DIRECTORY", tmp_path)
    missing = tmp_path / "none.toml"
    (tmp_path / "nft").write_text(NO_TABLE)
    (tmp_path / "nft").chmod(0o755)
    tunable = tmp_path / LIBERAL.replace(".", "/")
    tunable.parent.mkdir(parents=True)
    tunable.write_text("0")
    firewall.set_liberal(tmp_path)
    assert tunable.read_text() == "1"
    monkeypatch.setattr("ovpnha.cli.app.DEFAULT_PATH", missing)
    code, out, _ = run("firewall", "--remove", "--config", missing)
    assert (code, out) == (0, f"table inet ovpnha: is not there; {LIBERAL} = 0\n")
    assert tunable.read_text() == "0"
    code, _, err = run("firewall", "--show", "--config", missing)
    assert code == 2
    assert "none.toml" in err
