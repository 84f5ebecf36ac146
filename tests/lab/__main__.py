"""``python -m tests.lab`` is what ``make lab`` runs."""

from tests.lab.cli import app

if __name__ == "__main__":
    app(prog_name="python -m tests.lab")
