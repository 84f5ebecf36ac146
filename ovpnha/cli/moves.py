"""The commands for planned moves of the role, and for keeping it where it is."""

from __future__ import annotations

import typer

from ovpnha.cli.pause import pause, resume, resync
from ovpnha.cli.restart import restart_openvpn
from ovpnha.cli.switchover import switchover


def add_moves(app: typer.Typer) -> None:
    """Make them commands of this program."""
    app.command("pause", short_help="Watch and replicate, but do not act.")(pause)
    app.command("resume", short_help="Act again after a pause.")(resume)
    app.command("resync", short_help="Fetch the copy of a standby anew.")(resync)
    app.command("restart-openvpn", short_help="Start OpenVPN anew, unnoticed.")(restart_openvpn)
    app.command("switchover", short_help="Move the role to another node, unnoticed.")(switchover)
