"""What nobody has said of a thing: a field that is left out claims nothing.

A record of an older version, a fact that was not looked for, a status that has not come: whoever
reads them must not find a count, a moment or a yes that nobody gave. So a number that is left out
is 0, bytes are none, a flag is false. What follows here is what means something else, and why.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator

import ovpnha
from ovpnha.doctor import examine
from ovpnha.management import commands
from ovpnha.node import statistics
from ovpnha.setup import manifest

PURE = frozenset(
    [
        *("model", "problems", "checks", "management", "replication", "firewall"),
        *("node", "setup", "doctor"),
    ]
)
NEVER, ALWAYS = -math.inf, math.inf
SETTINGS = frozenset({"Timings", "ReplicationConfig", "InstanceConfig"})
"""Their defaults are figures of pages."""

# An older node, program or file cannot say it, and it was so then; or all is well if nobody looked.
WELL = [
    *("InstanceState.managed", "AnnouncerStatistics.managed", "NodeView.managed"),
    *("NodeView.has_instance", "Other.believed", "Other.met", "GradeInput.acts"),
    *("GradeInput.proved", "SwitchFacts.ahead", "Host.has_user", "UnitFacts.present"),
    *("SocketFacts.reachable", "ServerFacts.guarded", "NodeFacts.heard"),
    *("InstanceFacts.keepalived", "ConfigurationFacts.present", "KeyFacts.for_sidecar"),
    *("ConntrackdFacts.as_wanted", "HostFacts.user", "HostFacts.clock_kept"),
    "NodeView.seamless",
]
OTHER: dict[str, object] = {
    **dict.fromkeys(WELL, True),
    **dict.fromkeys(["HeardBoot.echoed", "HeardBoot.fresh", "HeardBoot.alarmed"], NEVER),
    **dict.fromkeys(["_Receiver.began", "_Receiver.passed", "SwitchFacts.changed_at"], NEVER),
    **dict.fromkeys(["Other.problem_until", "Run.ready_at"], ALWAYS),
    **dict.fromkeys(["ServerClient.cid", "HeardBoot.round", "_Client.exported"], -1),
    **dict.fromkeys(["Site.bcn_version", "DefaultRoute.version"], 4),
    "ConfigurationFacts.bcn_version": 4,
    "Slot.sent": -1.0e9,  # before the start of any host
    "Renegotiate.rate": 50,  # OpenVPN's own, where it is not told
    "NodeStatistics.version": statistics.STATUS_VERSION,
    "DoctorAnswer.version": examine.REPORT_VERSION,
}


def ours() -> Iterator[type]:
    for found in pkgutil.walk_packages(ovpnha.__path__, "ovpnha."):
        if found.name.split(".")[1] in PURE:
            for _, one in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
                if dataclasses.is_dataclass(one) and one.__module__ == found.name:
                    yield one


def test_a_number_or_a_flag_that_is_left_out_claims_nothing() -> None:
    found = {
        f"{one.__name__}.{field.name}": field.default
        for one in ours()
        for field in dataclasses.fields(one)
        if one.__name__ not in SETTINGS
        if isinstance(field.default, int | float) and not isinstance(field.default, enum.Enum)
    }
    assert OTHER.keys() <= found.keys()
    assert {name: told for name, told in found.items() if told or name in OTHER} == OTHER


def test_bytes_that_are_left_out_are_none() -> None:
    found = {
        f"{one.__name__}.{field.name}"
        for one in ours()
        for field in dataclasses.fields(one)
        if isinstance(field.default, bytes) and field.default
    }
    assert not found


def test_what_a_program_reads_has_the_version_that_it_knows() -> None:
    """They rise when a figure goes or comes to mean something else, and pages say so."""
    versions = (statistics.STATUS_VERSION, examine.REPORT_VERSION, manifest.VERSION)
    assert versions == (2, 1, 1)


def test_only_an_answer_that_has_clients_names_may_have_a_line_that_looks_like_the_end() -> None:
    free = [one.__name__ for one in ours() if getattr(one, "free_text", False)]
    assert free == ["ClientStatus"]
    assert commands.Command.block_limit == 0
