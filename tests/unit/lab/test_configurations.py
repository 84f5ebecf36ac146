"""`make configurations`: what is run of each, what its client says, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovpnha.setup.refusals import find_served, serves_any
from ovpnha.setup.server import parse_server
from tests.lab import plan
from tests.lab.configurations.__main__ import choose, main, run
from tests.lab.configurations.files import fill
from tests.lab.configurations.rows import Row, broken_promise
from tests.lab.configurations.run import Result
from tests.lab.configurations.shapes import (
    TAKEN_OUT,
    Shape,
    client_options,
    given_up,
    load,
    server_text,
    tunnels,
)

SHAPES = load()
GOOD = Row("nyr", "installer", True, (), True, 0, 71.4)


@pytest.mark.parametrize("name", SHAPES)
def test_what_the_nodes_run(name: str) -> None:
    shape = SHAPES[name]
    server = parse_server(Path("x"), server_text(shape))
    assert [str(one) for one in find_served(server)] == [plan.OUT.vip]
    assert server.has("local") is not serves_any(shape.server)
    assert server.options["management"] == [["openvpn.sock", "unix"]]
    assert not [option for option in TAKEN_OUT if server.has(option)]
    assert server.has("multihome") is shape.server.has("multihome")
    assert server.word("port") in {"1194", ""} or shape.stops
    assert tunnels(shape.server) or shape.name in {"tap", "zeroshell"}


@pytest.mark.parametrize("name", SHAPES)
def test_all_that_stops_is_given_up_in_a_line_each(name: str) -> None:
    shape = SHAPES[name]
    told = given_up(shape)
    assert not [one for one in told if "\n" in one or len(one) > 140]
    stops = told[: len(shape.stops)]
    assert [
        one for one, stop in zip(stops, shape.stops, strict=True) if not one.startswith(stop)
    ] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls-auth ta.key 0", ["tls-auth pki/ta.key 1"]),
        ("tls-auth ta.key\nkey-direction 0", ["tls-auth pki/ta.key 1"]),
        ("tls-auth ta.key", ["tls-auth pki/ta.key"]),
        ("tls-crypt tc.key\nauth SHA512", ["tls-crypt pki/tc.key", "auth SHA512"]),
        ("<tls-crypt-v2>\n@server-v2.key@\n</tls-crypt-v2>", ["tls-crypt-v2 pki/client-v2.key"]),
        ("comp-lzo", ["comp-lzo", "allow-compression asym"]),
        ("plugin x.so", ["auth-user-pass pki/login"]),
        ("auth-user-pass-verify /x via-env", ["auth-user-pass pki/login"]),
        ("server-ipv6 2001:db8::/64", ["route-ipv6 2001:db8:2::/64"]),
    ],
)
def test_what_the_client_says(text: str, said: list[str]) -> None:
    usual = set(client_options(parse_server(Path("x"), "")))
    options = client_options(parse_server(Path("x"), text))
    assert [one for one in options if one not in usual] == said


def test_a_file_within_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("a\nb\n")
    assert fill("<ca>\n@ca.crt@\n</ca>\n", tmp_path) == "<ca>\na\nb\n</ca>\n"


@pytest.mark.parametrize(
    ("stops", "starts", "takeover", "broken"),
    [
        ((), True, True, ""),
        (("proto",), False, None, ""),
        (("proto",), True, None, "the server starts, though init says that it cannot"),
        ((), False, None, "the server does not start, and init has nothing against it"),
        ((), True, False, "the client noticed the takeover (None restarts)"),
    ],
)
def test_what_a_row_must_keep(
    stops: tuple[str, ...], starts: bool, takeover: bool | None, broken: str
) -> None:
    row = Row("x", "role", starts, takeover=takeover)
    assert broken_promise(Shape("x", "role", "", stops), row) == broken


def test_progress_rows_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = choose(["helm", "nyr"], SHAPES)
    rows = {"nyr": GOOD, "helm": Row("helm", "image", True, ("proto: TCP",))}
    code = run(chosen, lambda shape: Result(rows[shape.name], "it runs"), tmp_path)
    found = json.loads((tmp_path / "configurations.json").read_text())
    assert [one["name"] for one in found] == ["nyr", "helm"]
    keys = {"name", "kind", "starts", "takeover", "client_restarts", "outage_ms", "given_up"}
    assert found[0].keys() == keys
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "      kind       starts  takeover  restarts  outage",
        "nyr   installer  yes     yes              0    71 ms",
        "helm  image      yes     -                -        -",
        "        proto: TCP",
    ]
    assert (code, "2 of 2, helm: the server starts" in err) == (1, True)
    assert err.endswith(
        "promise not kept: helm: the server starts, though init says that it cannot: it runs\n"
    )


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [*SHAPES]
    assert main(["nyr", "nobody"]) == 2
    assert "nobody: there is no such configuration" in capsys.readouterr().err
    assert main(["nyr", "--openvpn", "/nowhere"]) == 2
    assert "/nowhere: is not there; run: make binary" in capsys.readouterr().err
