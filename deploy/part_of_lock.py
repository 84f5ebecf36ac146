"""Print a part of requirements.lock, with its hashes.

usage: part_of_lock.py PYPROJECT LOCK [NAME...]

The lock says in comments for whose sake each package is there. These packages and what they need
in turn are printed; without a name those that a node needs: no tools for tests, no plotting.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def normalized(name: str) -> str:
    """A package's name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by_a_node(pyproject: Path) -> set[str]:
    """The names that ovpnha depends on when it runs."""
    project = tomllib.loads(pyproject.read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["uvloop"]
    return {normalized(re.split(r"[\[<>=!~ ;]", line)[0]) for line in lines}


def blocks(lock: str) -> dict[str, str]:
    """The lock's text of each package."""
    found = re.findall(r"^(?:\S.*\n)(?:[ ]+.*\n)*", lock, flags=re.MULTILINE)
    return {normalized(block.split("==")[0]): block for block in found if "==" in block}


def askers(block: str) -> set[str]:
    """For whose sake a package is in the lock."""
    return set(re.findall(r"#(?: via)? +(?!via$)(\S.*)$", block, flags=re.MULTILINE))


def main() -> None:
    """Print the blocks that stay."""
    pyproject, lock, *names = sys.argv[1:]
    packages = blocks(Path(lock).read_text())
    kept = set(names) or needed_by_a_node(Path(pyproject))
    if unknown := kept - packages.keys():
        sys.exit(f"part_of_lock: {lock} lacks {', '.join(sorted(unknown))}; run make lock")
    while more := {n for n in packages if askers(packages[n]) & kept} - kept:
        kept |= more
    print("".join(text for name, text in packages.items() if name in kept), end="")


if __name__ == "__main__":
    main()
