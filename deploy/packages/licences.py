#!/usr/bin/env python3
"""The licences of the packages of an environment, for the copyright file of ours.

usage: licences.py SITE

For each package what it says of itself, and the licence files that came with it, in full.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

NAMES = re.compile(r"(licen[cs]e|copying|authors|notice)[^/]*$", re.IGNORECASE)
NONE = "see its own pages; it came without a text"


def licence(package: Distribution) -> str:
    """In the package's own words: an expression, a classifier, or a short text."""
    metadata = package.metadata
    classifiers = metadata.get_all("Classifier", [])
    classified = [one.rpartition(" :: ")[2] for one in classifiers if "License ::" in one]
    text = metadata["License-Expression"] or "; ".join(classified) or metadata["License"]
    return text.splitlines()[0] if text else NONE


def texts(package: Distribution) -> Iterator[str]:
    """Its licence files."""
    for path in package.files or []:
        if NAMES.search(str(path)) and path.suffix != ".py":
            yield Path(str(package.locate_file(path))).read_text(errors="replace").strip()


def main() -> None:
    """Print them by name."""
    found = {one.metadata["Name"].lower(): one for one in distributions(path=[sys.argv[1]])}
    for name, package in sorted(found.items()):
        if name != "ovpnha":
            head = f"{package.metadata['Name']} {package.version}: {licence(package)}"
            print(f"\n{'-' * 80}\n{head}\n{'-' * 80}\n")
            print("\n\n".join(texts(package)))


if __name__ == "__main__":
    main()
