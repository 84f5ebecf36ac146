"""The kinds of values that a configuration has: what each may be, and what an error says of it.

Decides what a single value may say; what may stand together is decided by ``fields``. A value that
is accepted here can be printed: nothing in it moves a cursor.
"""

from __future__ import annotations

import ipaddress
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z"
ADDRESSES_MAX = 8
"""As many as OpenVPN takes of `cluster-address`."""
INTERFACE_LIMIT = 15
"""Bytes in the name of a network interface: the kernel's IFNAMSIZ without the zero at the end."""
PATH_LIMIT = 4095
SOCKET_PATH_LIMIT = 107
"""Bytes that a path may have, and that of a unix socket: the kernel's PATH_MAX and sun_path, each
without the zero at the end."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def split_listen(text: str) -> tuple[str, int]:
    """Split ``address:port`` or ``[address]:port``; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("must be ADDRESS:PORT, or [ADDRESS]:PORT for IPv6")
    return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)


def choice(kind: type[StrEnum]) -> BeforeValidator:
    """Let a text of the file become this enumeration, which strict models refuse by themselves."""

    def choose(value: object) -> object:
        if not isinstance(value, str) or value not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return BeforeValidator(choose)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("a path must be absolute (begin with /)")
    if not str(path).isprintable():
        raise ValueError("a path must not have control characters")
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise ValueError(f"a path has at most {PATH_LIMIT} bytes")
    normal = Path(os.path.normpath(path))
    if normal == Path("/"):
        raise ValueError("must be the path of a file")
    return normal


def fits_socket(path: Path) -> bool:
    """Whether a unix socket can have this path."""
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def _short(path: Path) -> Path:
    if not fits_socket(path):
        raise ValueError(f"the path of a unix socket has at most {SOCKET_PATH_LIMIT} bytes")
    return path


def _argument(text: str) -> str:
    if "\0" in text:
        raise ValueError("a program's argument has no zero characters")
    return text


def _listen(text: str) -> str:
    if text:
        split_listen(text)
    return text


def _address(value: object) -> IpAddress:
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return value
    try:
        return ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address, without a prefix length") from None


def _network(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "must be a network such as 10.8.0.0/24, without host bits, or an address"
        ) from None


def _host_address(address: IpAddress) -> IpAddress:
    """What a host can have and others can reach."""
    special = address.is_unspecified or address.is_multicast or address.is_loopback
    if special or address in THIS_NETWORK or address in RESERVED:
        raise ValueError("must be the address of a host, not any, multicast, loopback or broadcast")
    if address.version == 6 and address.is_link_local:
        raise ValueError("must not be a link-local IPv6 address: it means nothing without its link")
    return address


def _host_addresses(value: object) -> object:
    """One address need not stand in brackets."""
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found or len(found) > ADDRESSES_MAX:
        raise ValueError(f"must be an address, or a list of 1 to {ADDRESSES_MAX}")
    addresses = tuple(_host_address(_address(one)) for one in found)
    if len(set(addresses)) != len(addresses):
        raise ValueError("must name each address once")
    return addresses


THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
RESERVED = ipaddress.IPv4Network("240.0.0.0/4")


def _matches(pattern: str, meaning: str) -> AfterValidator:
    def match(text: str) -> str:
        if not re.match(pattern, text) or not text.isprintable():
            raise ValueError(f"must be {meaning}")
        return text

    return AfterValidator(match)


def _interface(text: str) -> str:
    """What the kernel takes, and every file and command that we put it into takes literally."""
    if not _is_taken_by_kernel(text) or not text.isprintable():
        raise ValueError(
            f'must be the name of a network interface: 1 to {INTERFACE_LIMIT} bytes, no space, "/"'
            ' or ":"'
        )
    if any(char in text for char in '"*\\') or text.endswith("+"):
        raise ValueError(
            "must be the name of one network interface: packet filters take * and + for any"
            ' others, and " and \\ have a meaning there'
        )
    return text


def _is_taken_by_kernel(text: str) -> bool:
    """As dev_valid_name() has it; to it 0xa0 is a space, which is half of a letter in UTF-8."""
    raw = text.encode()
    kept = not any(byte in b" \t\n\v\f\r\xa0/:" for byte in raw)
    return kept and 0 < len(raw) <= INTERFACE_LIMIT and text not in {".", ".."}


Name = Annotated[
    str, _matches(NAME_PATTERN, "1 to 32 letters, digits, dots, dashes or underscores")
]
Interface = Annotated[str, AfterValidator(_interface)]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]
SocketPath = Annotated[AbsolutePath, AfterValidator(_short)]
Argument = Annotated[str, AfterValidator(_argument)]
Address = Annotated[IpAddress, BeforeValidator(_address)]
Network = Annotated[IpNetwork, BeforeValidator(_network)]
HostAddress = Annotated[Address, AfterValidator(_host_address)]
HostAddresses = Annotated[tuple[IpAddress, ...], BeforeValidator(_host_addresses)]
Seconds = Annotated[float, Field(ge=0.0, le=86400.0, allow_inf_nan=False)]
Listen = Annotated[str, AfterValidator(_listen)]
