"""``python -m tests.proof``: search all states within the bounds, and show what each rule prevents.

    --bounds NAME   only these
    --defect NAME   only the search without this rule

``make proof`` runs everything, which takes about half an hour and some gigabytes of memory.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.proof.model import Model
from tests.proof.rules import RULES, Defect
from tests.proof.search import Result, search
from tests.proof.state import NODES

# Ids of each key; whether node 0's sidecar takes part.
BOUNDS = {
    "sidecar": Model(ids=(3,), sidecar=True),
    "keys": Model(ids=(2, 2), sidecar=False),
    "ids": Model(ids=(4,), sidecar=False),
    "two nodes": Model(ids=(5,), sidecar=False, nodes=2),
    "more ids": Model(ids=(5,), sidecar=False),
    "ids and sidecar": Model(ids=(4,), sidecar=True),
    "keys and sidecar": Model(ids=(2, 2), sidecar=True),
    "ids and keys": Model(ids=(3, 2), sidecar=False),
}
GATE = ("sidecar", "keys", "two nodes")  # what every test run searches
IDS = {Defect.R6: (2, 2), Defect.R7: (3,)}


def bounds_of(defect: Defect) -> Model:
    """Small bounds in which this defect shows."""
    nodes = 2 if defect is Defect.NO_MEMORY else NODES
    return Model(IDS.get(defect, (5,)), sidecar=defect is Defect.R7, defect=defect, nodes=nodes)


def main(arguments: list[str]) -> int:
    """Search; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof")
    parser.add_argument("--bounds", choices=BOUNDS)
    parser.add_argument("--defect", choices=[one.name for one in Defect])
    options = parser.parse_args(arguments)
    good = True
    for name, model in BOUNDS.items():
        if options.defect is None and options.bounds in (None, name):
            print(f"{name}: {model.ids} ids a key{', one sidecar' if model.sidecar else ''}")
            good &= _timed(model).complete
    for defect in Defect:
        wanted = options.bounds is None and options.defect in (None, defect.name)
        if wanted and defect is not Defect.NONE:
            print(f"without {_rule(defect)}: {defect.value}")
            good &= _timed(bounds_of(defect)).violation is not None
    return 0 if good else 1


def _rule(defect: Defect) -> str:
    return next((rule.name for rule in RULES if defect in rule.defects), "what keeps a holder safe")


def _timed(model: Model) -> Result:
    start = time.monotonic()
    result = search(model, progress=_progress if sys.stderr.isatty() else None)
    print(f"{result}\n  ({time.monotonic() - start:.1f} s)\n", flush=True)
    return result


def _progress(depth: int, states: int) -> None:
    print(f"\r  depth {depth}, {states} states", end="\r", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
