"""``[fence]``: a program of yours that cuts off a master that has fallen silent.

Decides what the configuration may say of it, and what the program is told. When it is run is
decided in ``ovpnha/node/cluster/fence.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ovpnha.config.hook import render_variables
from ovpnha.config.section import Section
from ovpnha.config.values import Argument, choice


class UnknownMaster(StrEnum):
    """What a node does that does not know who was master."""

    WAIT = "wait"
    PROMOTE = "promote"


FENCE_VARIABLES: Mapping[str, str] = {
    "OVPNHA_EVENT": "`fence`",
    "OVPNHA_NODE": "this node",
    "OVPNHA_OTHER_NODE": "the node to cut off",
    "OVPNHA_INSTANCE": "the instance that it was master of; one run counts for all",
    "OVPNHA_EPOCH": "the epoch in which it was master",
    "OVPNHA_REQUIRED": "`True` when a promotion waits for the program, else `False`",
    "OVPNHA_TEXT": "why, in a line for people",
}


class FenceSection(Section):
    """A program of yours that cuts off a master that has fallen silent. Left out, there is none."""

    command: tuple[Argument, ...] = Field(
        min_length=1,
        strict=False,
        description="Program and arguments, without a shell. Exit code 0 says that the node named "
        "in OVPNHA_OTHER_NODE is off or cut off from clients and LAN; anything else, that it is "
        "not. The first line that it prints is shown. Its environment is in the table below.",
        examples=[["/etc/ovpnha/hooks/fence-ipmi", "/etc/ovpnha/fence.nodes"]],
    )
    required: bool = Field(
        default=True,
        description="Nothing is promoted here before it has succeeded, when the last master is "
        "silent. With `false` it is run beside the promotion, which it never delays.",
        examples=[True],
    )
    timeout: float = Field(
        default=30.0,
        ge=0.1,
        le=600.0,
        allow_inf_nan=False,
        description="Seconds after which a run is killed, with all that it began, and has failed. "
        "What failed is run again after 5, 10, 20, 40 and then every 60 seconds.",
        examples=[30.0],
    )
    unknown: Annotated[UnknownMaster, choice(UnknownMaster)] = Field(
        default=UnknownMaster.WAIT,
        strict=False,
        description="What a node does with `required` that has heard of no other node since its "
        "sidecar started, and so does not know whom to fence: `wait` until one is heard or "
        "somebody says `ovpnha promote --unfenced`, or `promote`. The second lets a lone node "
        "serve after a start of its own, and two of them if they do not hear each other.",
        examples=["wait"],
    )


def render_fence() -> str:
    """The table of the environment, as Markdown."""
    return render_variables(FENCE_VARIABLES)
