"""OpenVPN's list of its clients, for metrics: names, addresses, byte counts.

Decides nothing. Read here and not by a library, because the names in it are chosen by who made
the certificates, and a comma in one must not cost the figures of all (docs/adr/0009). Never raises
for one client's line: it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from ovpnha.model import ServerClient

ROW = "CLIENT_LIST"
COLUMNS = {
    "name": "Common Name",
    "address": "Real Address",
    "virtual": "Virtual Address",
    "received": "Bytes Received",
    "sent": "Bytes Sent",
    "since": "Connected Since (time_t)",
    "user": "Username",
    "virtual6": "Virtual IPv6 Address",
    "cid": "Client ID",
}


def read_clients_untrusted(lines: Sequence[str]) -> tuple[ServerClient, ...]:
    """The clients among these lines, columns found by the names of their header."""
    columns: list[int] | None = None
    clients: list[ServerClient] = []
    for line in lines:
        words = line.split("\t")
        if words[:2] == ["HEADER", ROW]:
            columns = _find_columns(words[1:])
        elif words[0] == ROW and columns is not None and len(words) > max(columns):
            client = _read_client([words[at] for at in columns])
            if client is not None:
                clients.append(client)
    return tuple(clients)


def _find_columns(header: Sequence[str]) -> list[int] | None:
    try:
        return [header.index(title) for title in COLUMNS.values()]
    except ValueError:
        return None


def _read_client(words: Sequence[str]) -> ServerClient | None:
    name, address, virtual, received, sent, since, user, virtual6, cid = map(_visible, words)
    if not all(count.isascii() and count.isdigit() for count in (received, sent, cid)):
        return None
    return ServerClient(
        name, user, address, virtual, since, int(received), int(sent), virtual6, int(cid)
    )


def _visible(text: str) -> str:
    """A terminal obeys nothing in it, and different texts stay different."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
