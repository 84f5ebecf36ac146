"""openvpn-api's parser, fed by us, raises our one exception only."""

from __future__ import annotations

import pytest

from ovpnha.errors import ManagementError
from ovpnha.management.figures import read_server_stats_untrusted


def test_an_answer_is_read() -> None:
    stats = read_server_stats_untrusted("SUCCESS: nclients=0,bytesin=7,bytesout=8")
    assert (stats.client_count, stats.bytes_in, stats.bytes_out) == (0, 7, 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ERROR: no",
        "SUCCESS: nclients=x",
        f"SUCCESS: nclients={'9' * 5000},bytesin=1,bytesout=1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ManagementError, match="load-stats cannot be read"):
        read_server_stats_untrusted(text)
