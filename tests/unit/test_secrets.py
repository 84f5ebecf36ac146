"""What holds a client's keys, or the cluster's, is not shown by whatever prints the object."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import ovpnha

SECRET = frozenset(["body", "ciphers", "data", "hot", "inline", "key", "payload", "secret"])
"""Names of fields that hold, or can hold, key material wherever they occur."""
HARMLESS = frozenset({"Counters", "CountersReceived", "HistoryEntry", "Slot"})
"""Their payload counts packets, and their key is a name: they hold no key material."""
PARTS = ("model", "management", "replication", "node", "setup")


def dataclasses_of_ours() -> Iterator[type]:
    for found in pkgutil.walk_packages(ovpnha.__path__, "ovpnha."):
        if found.name.split(".")[1] in PARTS:
            for _, one in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
                if dataclasses.is_dataclass(one) and one.__module__ == found.name:
                    yield one


def test_no_secret_is_shown() -> None:
    shown = {
        f"{one.__module__}.{one.__qualname__}.{field.name}"
        for one in dataclasses_of_ours()
        for field in dataclasses.fields(one)
        if field.name in SECRET and field.repr and field.type != "bool"
        if one.__name__ not in HARMLESS
    }
    assert not shown
