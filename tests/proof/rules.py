"""The rules of docs/architecture.md, "Packet ids are owned", and the C code that keeps each.

A defect takes one rule away, as an honest mistake would: ``model.Model`` asks for it at the one
place where the rule is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Defect(Enum):
    """A rule, or half of it, that the model can be made to break."""

    NONE = "all rules kept"
    R1 = "a promoted node grants what lies above all it knows, not only what it owns"
    R2 = "a range leaves the owner when the holder has acknowledged it, not before it is told"
    R3 = "a range nobody has acknowledged is taken back when its owner moves on"
    R4 = "a process stores a grant that names another holder"
    R4_KEEPS_ID = "a process that was demoted keeps its holder id"
    R5 = "a process that was promoted stores a grant again"
    R6 = "a grant names its key by key id, which two keys can share"
    R7 = "a sidecar keeps the range that it has handed to a restarted OpenVPN"
    NO_CAP = "the sender works on past its segment's end, up to what nobody has stored"
    NO_MEMORY = "a standby that drops a key forgets which range of it was the highest"
    NO_STALE = "a sender that has jumped over a holder's range still calls it protected"


@dataclass(frozen=True)
class Rule:
    """One rule, its words, and the C functions that keep it: (file, function)."""

    name: str
    words: str
    kept_by: tuple[tuple[str, str], ...]
    defects: tuple[Defect, ...]


RULES = (
    Rule(
        "R1",
        "a process sends and grants only ids that it owns, rising; no standby grants",
        (
            ("cluster_range.c", "cut"),
            ("cluster_range.c", "enter"),
            ("cluster_range.c", "sending_owner"),
            ("cluster_manage_export.c", "cluster_command_export"),
        ),
        (Defect.R1,),
    ),
    Rule(
        "R2",
        "a range has left its owner when the record that tells of it is written",
        (("cluster_range.c", "cut_grants"), ("cluster_manage_export.c", "write_grants")),
        (Defect.R2,),
    ),
    Rule(
        "R3",
        "a range never comes back: moving on means jumping over it",
        (("cluster_range.c", "jump"), ("cluster_range.c", "cluster_range_overtake")),
        (Defect.R3,),
    ),
    Rule(
        "R4",
        "a grant names one holder id, drawn at start and at every demote",
        (
            ("cluster_manage_lines.c", "add_grant"),
            ("cluster.c", "draw_holder"),
            ("cluster.c", "cluster_demote"),
        ),
        (Defect.R4, Defect.R4_KEEPS_ID),
    ),
    Rule(
        "R5",
        "only a standby stores a grant; demote wipes all keys",
        (
            ("cluster_range.c", "cluster_range_import"),
            ("cluster_manage_lines.c", "lines_import"),
            ("cluster.c", "cluster_demote"),
        ),
        (Defect.R5,),
    ),
    Rule(
        "R6",
        "a key is named by its fingerprint",
        (
            ("cluster_key.c", "cluster_key_fingerprint"),
            ("cluster_import_check.c", "check_grants"),
            ("cluster_import_session.c", "import_grants"),
        ),
        (Defect.R6,),
    ),
    Rule(
        "R7",
        "what a sidecar holds for a restart it gives away once, and then has another id",
        # No code holds ranges over a restart today: a restarted OpenVPN has a new holder id and
        # owns nothing, which is the rule at its strictest.
        (("cluster.c", "cluster_init"),),
        (Defect.R7,),
    ),
)
