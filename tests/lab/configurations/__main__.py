"""``python -m tests.lab.configurations``: what each of ``tests/configurations`` does in a cluster.

    NAME …            only these; all by default
    --list            the names, and nothing else
    --openvpn FILE    the patched OpenVPN (build/openvpn/openvpn)
    --output DIR      where configurations.json goes (build/lab)

Each runs as ``ovpnha init`` leaves it, on two nodes under keepalived, with a stock client of the
shape that it needs; then the master's OpenVPN is killed. Exits with 1 when one of them is not as
``expected.toml`` has it, or when its client noticed the takeover.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ovpnha.errors import OvpnhaError
from tests.lab.configurations.rows import Row, broken_promise, table
from tests.lab.configurations.run import Result, try_shape
from tests.lab.configurations.shapes import Shape, load
from tests.lab.errors import LabError

_BEGUN = time.monotonic()


def say(text: str) -> None:
    """Progress, with the time that has passed."""
    passed = time.monotonic() - _BEGUN
    print(f"configurations: {passed:5.0f} s  {text}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests.lab.configurations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--openvpn", type=Path, default=Path("build/openvpn/openvpn"))
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    return parser.parse_args(arguments)


def choose(names: Sequence[str], shapes: dict[str, Shape]) -> list[Shape]:
    """Those of these names, or all; ValueError names the first that there is not."""
    for name in names:
        if name not in shapes:
            raise ValueError(f"{name}: there is no such configuration; there are: {[*shapes]}")
    return [shape for name, shape in shapes.items() if not names or name in names]


def run(chosen: Sequence[Shape], attempt: Callable[[Shape], Result], output: Path) -> int:
    """Try them one after the other; the result file has all that there is so far."""
    rows: list[Row] = []
    broken: list[str] = []
    output.mkdir(parents=True, exist_ok=True)
    for number, shape in enumerate(chosen, 1):
        result = attempt(shape)
        rows.append(result.row)
        text = json.dumps([row.as_json() for row in rows], indent=2)
        (output / "configurations.json").write_text(text + "\n")
        problem = broken_promise(shape, result.row)
        say(f"{number} of {len(chosen)}, {shape.name}: {problem or 'as expected'}")
        if problem:
            broken.append(f"{shape.name}: {problem}: {result.problem}")
    print(table(rows))
    for line in broken:
        print(f"configurations: promise not kept: {line}", file=sys.stderr)
    return 1 if broken else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    shapes = load()
    try:
        chosen = choose(options.names, shapes)
        if options.list:
            print("\n".join(shape.name for shape in chosen))
            return 0
        openvpn = options.openvpn.resolve()
        if not openvpn.exists():
            raise LabError(f"{openvpn}: is not there; run: make binary")
        return run(chosen, lambda shape: try_shape(shape, openvpn, say), options.output)
    except (OvpnhaError, ValueError) as error:
        print(f"configurations: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
