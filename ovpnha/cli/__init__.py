"""The command ``ovpnha``."""

import gc


def main() -> None:
    """Entry point of the command; loads the rest only now, so that importing stays cheap.

    Loading makes no garbage worth a search; the daemon turns the collector on again.
    """
    gc.disable()
    from ovpnha.cli.app import app

    app(prog_name="ovpnha")
