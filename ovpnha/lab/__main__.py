"""``python -m ovpnha.lab`` is ``ovpnha lab``."""

from ovpnha.lab.cli import app

if __name__ == "__main__":
    app(prog_name="ovpnha lab")
