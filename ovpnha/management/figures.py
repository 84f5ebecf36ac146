"""OpenVPN's own figures, read by openvpn-api's parsers from what our channel received.

Decides nothing. openvpn-api must never own the socket: it blocks, and knows no notifications; so it
is given the text of an answer where it would ask (docs/adr/0009). Loaded at the first use, because
a sidecar that starts has clients to look after first.
"""

from __future__ import annotations

from openvpn_api.models.stats import ServerStats
from openvpn_api.util.errors import VPNError
from openvpn_api.vpn import VPN

from ovpnha.errors import ManagementError


class _Answer(VPN):  # type: ignore[misc]  # the library has no types
    """One answer, for whichever question."""

    def __init__(self, text: str) -> None:
        self._text = text  # and no socket: the base class would want one

    def send_command(self, _cmd: str) -> str:
        return self._text


def read_server_stats_untrusted(text: str) -> ServerStats:
    """Clients, and bytes in and out, of the answer to ``load-stats``.

    Raises:
        ManagementError: It is no such answer.
    """
    try:
        return _Answer(text).get_stats()
    except (VPNError, ValueError):
        raise ManagementError("OpenVPN's answer to load-stats cannot be read") from None
