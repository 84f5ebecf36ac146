"""The listening socket of the HTTP endpoint, apart from its server, which is large to load."""

from __future__ import annotations

import socket

from ovpnha.config import split_listen

BACKLOG = 16
"""Also how many connections are accepted in one turn of the event loop."""


def listen_on(text: str) -> socket.socket:
    """A listening socket for ``address:port``; OSError when there can be none."""
    host, port = split_listen(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
