"""``[cluster]``: who this node is, and whether there are others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ovpnha.config.section import Section
from ovpnha.config.values import AbsolutePath, Name


class ClusterConfig(Section):
    """Who we are."""

    name: Name = Field(
        description="Name of the cluster. Datagrams of another cluster are refused. "
        "The same on all nodes. A server that is `alone` needs none.",
        examples=["office"],
    )
    alone: bool = Field(
        default=False,
        description="This server is the only one: there is no other node, no BCN, no VIP manager "
        "and no VIP, and its OpenVPN serves whenever it runs. Must never be set on one of several "
        "nodes: each would serve.",
        examples=[True],
    )
    node: Name = Field(
        description="Name of this node, unique in the cluster. Left out, it is the short host "
        "name, so that one file serves all nodes; `ovpnha run --node` overrides it.",
        examples=["vpn-a"],
    )
    key_file: AbsolutePath = Field(
        default=Path("/etc/ovpnha/cluster.key"),
        description="File with the cluster key, made by `ovpnha keygen`. Mode 0600, the same "
        "content on all nodes. Anybody who has it can pose as any node and read every client's "
        "keys. Where the server is `alone` the file may be missing.",
        examples=["/etc/ovpnha/cluster.key"],
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        """Who is alone is told apart from nobody: its cluster is called as it is."""
        if isinstance(given, dict) and given.get("alone") is True and "node" in given:
            return {"name": given["node"], **given}
        return given
