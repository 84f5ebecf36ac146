"""``python -m ovpnha`` is the command ``ovpnha``."""

from ovpnha.cli import main

if __name__ == "__main__":
    main()
