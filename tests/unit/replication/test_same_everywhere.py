"""What every node must make of the same bytes, whatever its release; and which fields may lack."""

from __future__ import annotations

import pytest

from ovpnha.model import Uid
from ovpnha.replication.hello import STATE, HelloState
from ovpnha.replication.layout import Layout
from ovpnha.replication.records import bucket_of, digest_of


@pytest.mark.parametrize(
    ("uid", "bucket", "digest"),
    [
        (bytes(8), 87, 0x6BAE426822DF52CA),
        (bytes(range(8)), 69, 0x563C0E8A71FE6100),
        (b"\xff" * 8, 9, 0x48707E32672B4BFC),
    ],
)
def test_a_client_is_in_one_bucket_and_adds_one_digest(
    uid: bytes, bucket: int, digest: int
) -> None:
    assert bucket_of(Uid(uid)) == bucket
    assert digest_of(Uid(uid), 7) == digest


def lacking(layout: Layout[HelloState]) -> list[str]:
    return [name for name, field in layout.fields.items() if field.appended]


def test_what_an_older_node_does_not_say_of_an_instance_may_lack() -> None:
    assert lacking(STATE) == ["switchover", "paused", "checks", "stock"]
    assert [*STATE.fields][-4:] == lacking(STATE)
