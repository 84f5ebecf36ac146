"""``[[check]]``: every key of a check of the service, and what may stand together.

Decides what the configuration may say of a check. Targets are addresses, never names: a name that
nobody answers for would hang where nothing can end it.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from ovpnha.config.section import Section
from ovpnha.config.values import (
    AbsolutePath,
    Argument,
    Name,
    choice,
    split_listen,
)

CHECKS_MAX = 16
"""Checks of one node: each may be a process, and all of them are told of in the status."""
LATER_CODE = 75
"""Exit code of a command that does not know yet: EX_TEMPFAIL of sysexits.h."""


class CheckKind(StrEnum):
    """What a check does."""

    PROCESS = "process"
    COMMAND = "command"
    TCP = "tcp"
    PING = "ping"
    HTTP = "http"
    CLIENT = "client"


class CheckSection(Section):
    """A check of the service: what it finds, and what that costs."""

    name: Name = Field(
        description="Name of the check, unique on the node.", examples=["lan-gateway"]
    )
    instance: Name | None = Field(
        default=None,
        description="The instance that it counts for. Left out, it counts for all of this node.",
        examples=["udp"],
    )
    kind: Annotated[CheckKind, choice(CheckKind)] = Field(
        description="`process`: a process runs, by `target`. `command`: a program of yours ends "
        f"with 0; {LATER_CODE} means *not yet known, ask again* and leaves the verdict as it is. "
        "`tcp`: `target` takes connections. `ping`: `target` answers. `http`: `target` answers "
        "with a status from 200 to 399. `client`: a client of its own (`client_config`) connects "
        "by the VIP, and what `target` names answers through its tunnel.",
        examples=["ping"],
    )
    target: str | None = Field(
        default=None,
        description="`process`: the name of the program, or the path of a file with its process "
        "id. `tcp`: ADDRESS:PORT. `ping`: an address. `http`: a URL whose host is an address; of "
        "`https` no certificate is checked. `client`: the address in or behind the tunnel that "
        'must answer; left out, it is the server\'s own in the tunnel; `""`: none, the handshake '
        "is enough.",
        examples=["10.1.0.1"],
    )
    command: tuple[Argument, ...] = Field(
        default=(),
        strict=False,
        description="`command` only: program and arguments, without a shell. The environment has "
        "OVPNHA_NODE, OVPNHA_CHECK, OVPNHA_INSTANCE and OVPNHA_ROLE (both empty for a check of the "
        "whole node). The first line that it prints is shown.",
        examples=[["/usr/local/sbin/check-radius"]],
    )
    client_config: AbsolutePath | None = Field(
        default=None,
        description="`client` only: configuration of a stock OpenVPN client, whose `remote` is the "
        "VIP. It needs a certificate or user of its own.",
        examples=["/etc/ovpnha/check-client.conf"],
    )
    client_program: Argument = Field(
        default="openvpn",
        description="`client` only: the program.",
        examples=["openvpn"],
    )
    period: float = Field(
        default=10.0,
        ge=0.5,
        le=86400.0,
        allow_inf_nan=False,
        description="Seconds from the beginning of a run to the next. No check runs twice at once.",
        examples=[10.0],
    )
    timeout: float = Field(
        default=5.0,
        ge=0.1,
        le=600.0,
        allow_inf_nan=False,
        description="Seconds after which a run is ended, with all processes that it began, and "
        "counts as a failure.",
        examples=[5.0],
    )
    rise: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Good results in a row that end a failure.",
        examples=[2],
    )
    fall: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Bad results in a row that are a failure.",
        examples=[3],
    )
    critical: bool = Field(
        default=False,
        description="A failure lowers the grade: a standby that is in sync and whose critical "
        "checks do not fail is given the VIP. Without it a failure is shown and alarmed.",
        examples=[True],
    )
    sticky: bool = Field(
        default=False,
        description="A failure stays until `ovpnha reset`, whatever later results say, and over a "
        "restart of the sidecar.",
        examples=[True],
    )
    master_only: bool = Field(
        default=False,
        description="It runs only where the instance is master, and rests elsewhere with the "
        "verdict that it had. So does every check of the kind `client`.",
        examples=[True],
    )

    @property
    def rests(self) -> bool:
        """Whether it is for a master only."""
        return self.master_only or self.kind is CheckKind.CLIENT

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kind = self.kind
        if (kind is CheckKind.COMMAND) is not bool(self.command):
            needs = "needs command = […]" if not self.command else "takes no command; remove it"
            raise ValueError(f"kind {kind} {needs}")
        if (kind is CheckKind.CLIENT) is not (self.client_config is not None):
            needs = "takes no client_config; remove it" if self.client_config else "needs one"
            raise ValueError(
                f"kind {kind} {needs}"
                + ("" if self.client_config else ': client_config = "/etc/ovpnha/check.conf"')
            )
        if kind is CheckKind.COMMAND:
            if self.target is not None:
                raise ValueError("kind command takes no target; remove it")
        elif kind is not CheckKind.CLIENT and not self.target:
            raise ValueError(f"kind {kind} needs a target; add target = …")
        if self.target:
            _check_target(kind, self.target)
        return self


def _check_target(kind: CheckKind, target: str) -> None:
    if not target.isprintable():
        raise ValueError("target must not have control characters")
    if kind is CheckKind.TCP:
        split_listen(target)
    if kind in (CheckKind.PING, CheckKind.CLIENT):
        _check_address(target, only_4=kind is CheckKind.CLIENT)
    if kind is CheckKind.HTTP:
        split_url(target)
    if kind is CheckKind.PROCESS and len(target) > 15 and not target.startswith("/"):
        raise ValueError(
            "target: the kernel knows a program by the first 15 letters of its name; write those,"
            " or the path of a file with its process id"
        )


def _check_address(target: str, *, only_4: bool) -> None:
    try:
        address = ipaddress.ip_address(target)
    except ValueError:
        raise ValueError("target must be an address such as 10.8.0.1") from None
    if only_4 and address.version != 4:
        raise ValueError('target must be an IPv4 address, or "" for the handshake alone')


def split_url(url: str) -> SplitResult:
    """The parts of a URL; ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("target must begin with http:// or https://")
    try:
        ipaddress.ip_address(parts.hostname or "")
        _ = parts.port
    except ValueError:
        raise ValueError(
            "target must be a URL whose host is an address, such as http://127.0.0.1:8080/health"
        ) from None
    if parts.username is not None:
        raise ValueError("target must have no user in it; use kind command")
    return parts
