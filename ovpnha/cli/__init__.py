"""The command ``ovpnha``."""

import gc
import os


def main() -> None:
    """Entry point of the command; loads the rest only now, so that importing stays cheap.

    Loading makes no garbage worth a search; the daemon turns the collector on again.
    """
    gc.disable()
    from ovpnha.cli.app import app
    from ovpnha.cli.pages import COMPLETE_VARIABLE, PROGRAM, take_completion

    if COMPLETE_VARIABLE in os.environ:
        take_completion()
    app(prog_name=PROGRAM)
