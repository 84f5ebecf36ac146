from __future__ import annotations

import asyncio
import contextlib
import http.server
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ovpnha.cli.app import app, parse_duration
from ovpnha.cli.odd import find_http_oddity, find_oddities
from ovpnha.cli.show import show_status
from ovpnha.config import Config, parse_config
from ovpnha.errors import ConfigError
from ovpnha.runtime.control import (
    ControlError,
    ControlServer,
    PromoteRequest,
    Request,
    is_alive,
)
from ovpnha.runtime.hostcheck import check_host
from ovpnha.runtime.network import IFF_LOWER_UP, IFF_UP, NetworkTable

CONFIG = """
[cluster]
name = "office"
node = "a"
key_file = "{directory}/cluster.key"

[bcn]
links = [{{ interface = "bcn0" }}]

[[instance]]
name = "udp"
management = "{directory}/udp.sock"
vip = "192.0.2.10"

[control]
socket = "{directory}/control.sock"
"""

NODE_VIEW = {
    "name": "b",
    "believed": True,
    "age": 0.2,
    "role": "standby",
    "epoch": "7/a",
    "vip": False,
    "sync": "in_sync",
    "grade": 90,
    "clients": 2,
    "problem": "",
    "round_trip": 0.00042,
    "clock_offset": None,
    "has_instance": True,
    "lost": False,
}
STATUS: dict[str, Any] = {
    "node": "a",
    "boot": "00ff",
    "uptime": 300.0,
    "links": {"bcn0": True},
    "received": {"hello": 3},
    "sent": {"hello": 4},
    "refused": {"seal": 5},
    "lacking": {},
    "instances": [
        {
            "name": "udp",
            "role": "master",
            "epoch": "7/a",
            "vip": True,
            "management_up": True,
            "openvpn": "2.6.14",
            "seamless": True,
            "clients": 3,
            "protected": 2,
            "oldest_unprotected": 4.0,
            "records": 0,
            "stale": 0,
            "following": None,
            "sync": "none",
            "grade": 120,
            "grade_reason": "master",
            "promotions": 1,
            "last_promotion_phases": {"promoted": 0.0042},
            "rekey": {"pending": 8, "done": 22, "left": 1},
            "problems": [],
            "nodes": [NODE_VIEW],
        }
    ],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ovpnha.toml"
    path.write_text(CONFIG.format(directory=tmp_path))
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], terminal_width=200)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("spelling", ["version", "--version"])
def test_version(spelling: str) -> None:
    code, out, _ = run(spelling)
    assert code == 0
    assert out.startswith("ovpnha 0.")


def test_the_list_of_commands_is_cut_nowhere() -> None:
    assert "..." not in run("--help")[1].partition("Commands:")[2]


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ovpnha", "version"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"ovpnha ")


def test_the_daemon_does_not_load_the_lab() -> None:
    script = "import sys, ovpnha.cli.app; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_keygen_and_check_config(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    assert run("keygen", key)[0] == 0
    code, out, err = run("check-config", "-c", config)
    assert code == 0
    assert out == f"{config}: good. Node a of cluster office, 1 key(s), instances: udp\n"
    assert "odd: bcn.links: interface bcn0 is missing on this host" in err
    assert run("keygen", "--add", key)[0] == 0
    assert "2 key(s)" in run("check-config", "-c", config)[1]


def test_keygen_does_not_overwrite(tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    run("keygen", key)
    before = key.read_bytes()
    code, _, err = run("keygen", key)
    assert code == 2
    assert err == f"ovpnha: {key}: exists and is not overwritten; " + (
        "add a key with --add, or remove it first\n"
    )
    assert key.read_bytes() == before


def test_a_wrong_key_file_is_one_line(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    run("keygen", key)
    key.chmod(0o644)
    for command in ("check-config", "run"):
        code, out, err = run(command, "-c", config)
        assert (code, out) == (2, "")
        assert err == f"ovpnha: {key}: others may open it (mode 0644); run: chmod 600 {key}\n"


def test_each_mistake_is_a_line(config: Path) -> None:
    config.write_text(config.read_text() + "[http]\nport = 3\n[log]\nlevel = 3\n")
    code, out, err = run("check-config", "-c", config)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert all(line.startswith(f"ovpnha: {config}: ") for line in err.splitlines())


@pytest.mark.parametrize("command", ["run", "check-config", "status", "promote", "demote"])
def test_a_missing_configuration_is_one_line(command: str, tmp_path: Path) -> None:
    code, out, err = run(command, "-c", tmp_path / "none.toml")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "cannot be read: No such file" in err


@pytest.mark.parametrize("command", ["status", "promote", "demote", "renegotiate"])
def test_a_daemon_that_does_not_run_is_a_failure(command: str, config: Path) -> None:
    code, out, err = run(command, "-c", config)
    assert (code, out) == (1, "")
    assert err.endswith("control.sock: ovpnha does not run here; start it first\n")


@pytest.mark.parametrize(
    "arguments", [["elect"], ["promote", "--expect-vip", "soon"], ["renegotiate", "--uid", "x"]]
)
def test_a_wrong_command_line(arguments: list[str], config: Path) -> None:
    code, _, err = run(*arguments, *(() if arguments == ["elect"] else ("-c", str(config))))
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err


def test_durations() -> None:
    assert [parse_duration(text) for text in ("2s", "500ms", "1.5", "0")] == [2.0, 0.5, 1.5, 0.0]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[list[Request]]:
    """A control socket whose daemon answers with ``STATUS`` or refuses."""
    asked: list[Request] = []

    async def answer(request: Request) -> dict[str, Any]:
        asked.append(request)
        if request.command == "status":
            return {"status": STATUS}
        if request.command == "demote":
            if request.instance == "udp6":
                return {"instance": "udp6", "role": "standby", "note": "b is master"}
            raise ControlError("udp: this node has the VIP; move it away first, then demote")
        if request.command == "renegotiate":
            return {"instance": "udp", "clients": 1 if request.uid else 3}
        if request.command == "clients":
            waits = {"00112233445566ff": None, "ff112233445566ff": 2.5}
            told = [{"uid": uid, "unprotected": wait} for uid, wait in waits.items()]
            return {"instance": "udp", "clients": told}
        return {"instance": "udp", "role": "master", "epoch": "8/a"}

    loop = asyncio.new_event_loop()
    task = loop.create_task(ControlServer(tmp_path / "control.sock", answer).run())

    def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=serve)
    thread.start()
    deadline = time.monotonic() + 10.0
    while not is_alive(tmp_path / "control.sock"):
        assert time.monotonic() < deadline
    yield asked
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()


def test_status_for_the_eye(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("status", "-c", config)
    assert code == 0
    for word in (
        "node a",
        "master",
        "VIP │ here",
        "3, only 2 protected (one has waited for 4.0 s)",
        "in sync",
        "7 (begun by a)",
        "bcn0",
        "seal 5",
        "4.2 ms",
        "22 of 30 clients that moved here, 1 keep theirs by policy",
        "Nothing to mend.",
    ):
        assert word in " ".join(out.split())


def row(title: str, **changes: Any) -> str:
    """What a row of the first table says of an instance, on 80 columns, its lines joined."""
    text = shown(STATUS["instances"][0] | {"nodes": []} | changes)
    lines = iter(text.splitlines())
    begin = next(line for line in lines if line.startswith(f"{title} "))
    more = itertools.takewhile(lambda line: line.startswith("  "), lines)
    return " ".join(line.partition("│")[2].strip() for line in (begin, *more))


STANDBY = {"role": "standby", "sync": "in_sync", "following": "b", "records": 7}


@pytest.mark.parametrize(
    ("title", "changes", "expected"),
    [
        ("role", {}, "master: serves the clients"),
        ("role", STANDBY, "standby: silent, ready to take over"),
        ("role", {"role": "init", "openvpn": ""}, "init: has not heard from OpenVPN yet"),
        ("role", {"role": "init"}, "init: OpenVPN without cluster serves by itself"),
        ("role", STANDBY | {"grade": -254}, "standby: silent, and must not take over"),
        ("VIP", {"vip": False}, "no node that is heard has it"),
        ("VIP", {"vip": False, "nodes": [NODE_VIEW | {"vip": True}]}, "not here, b has it"),
        ("OpenVPN", {}, "2.6.14, takeovers are seamless"),
        ("OpenVPN", {"seamless": False}, "2.6.14, clients reconnect at a takeover"),
        ("OpenVPN", {"openvpn": ""}, "connected, has not answered yet"),
        ("OpenVPN", {"management_up": False}, "not connected"),
        ("clients", {"protected": 3}, "3, all protected"),
        ("clients", {"protected": 0}, "3, none protected (one has waited for 4.0 s)"),
        ("clients", {"clients": 0, "protected": 0}, "none"),
        ("clients", STANDBY, "7 copied here"),
        ("clients", STANDBY | {"stale": 2}, "7 copied here, 2 missing or outdated"),
        ("clients", {"role": "init"}, "3"),
        ("copy", {}, "- (this node has the originals)"),
        ("copy", STANDBY, "in sync with b"),
        ("copy", STANDBY | {"following": None}, "was in sync; the master is not heard any more"),
        ("copy", STANDBY | {"sync": "none"}, "none: no master is heard"),
        ("copy", {"role": "fault", "sync": "none"}, "none"),
        ("copy", STANDBY | {"sync": "syncing"}, "being made of b"),
        (
            "copy",
            STANDBY | {"sync": "syncing", "following": None},
            "being made of a master that is not heard",
        ),
        ("grade", {}, "120, master"),
        ("grade", {"grade": -254, "problems": ["x"]}, "-254, refuses the VIP (see below)"),
        ("epoch", {"epoch": "0/"}, "none: no node has ever been promoted"),
        ("promotions", {"promotions": 0}, "none of this node"),
        ("promotions", {"last_promotion_phases": {}}, "1 of this node"),
        ("new keys", {"rekey": {"pending": 0, "done": 0, "left": 0}}, "-"),
    ],
)
def test_what_the_rows_say(title: str, changes: dict[str, Any], expected: str) -> None:
    assert row(title, **changes) == expected


def test_a_vip_that_nobody_has_and_a_node_that_refuses_it_are_told() -> None:
    nobody = STATUS["instances"][0] | STANDBY | {"vip": False}
    text = shown(nobody | {"nodes": [NODE_VIEW | {"vip": True, "believed": False}]})
    assert "- udp: no node that is heard has the VIP; does the VIP manager run?" in text
    text = shown(STATUS["instances"][0] | {"nodes": [NODE_VIEW | {"grade": -254}]})
    assert "- udp, node b: refuses the VIP (grade -254); ovpnha status there says why" in text


def test_what_is_to_be_mended_is_told_with_the_mend() -> None:
    path = "/run/openvpn-server/udp.sock"
    instance = STATUS["instances"][0] | {
        "problems": [f"OpenVPN is not reached: management socket {path}: No such file"],
        "nodes": [NODE_VIEW | {"has_instance": False, "vip": True}],
    }
    status = STATUS | {
        "instances": [instance],
        "links": {"bcn0": False},
        "lacking": {"tcp": ["b", "c"]},
    }
    console = Console(record=True, width=80, file=io.StringIO())
    show_status(status, console)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert " ".join(text.partition("To mend:")[2].split()) == (
        "- BCN link bcn0 is down: no carrier, switched off, or not there"
        " - b, c: has an instance tcp, which this node lacks; write the same [[instance]] on all"
        f" nodes - udp: OpenVPN is not reached: management socket {path}: No such file"
        " - udp, node b: has no instance udp; write the same [[instance]] on all nodes"
    )


@pytest.mark.parametrize(
    ("offset", "shown"),
    [(None, ""), (0.4, ""), (7.04, "clock is 7.0 s ahead"), (-2.0, "clock is 2.0 s behind")],
)
def test_a_clock_that_is_off_is_a_problem(offset: float | None, shown: str) -> None:
    one = STATUS["instances"][0] | {"nodes": [NODE_VIEW | {"clock_offset": offset}]}
    console = Console(record=True, width=200, file=io.StringIO())
    show_status(STATUS | {"instances": [one]}, console)
    text = console.export_text()
    assert shown in text
    assert bool(shown) is ("clock" in text)


def shown(*instances: dict[str, Any]) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    show_status(STATUS | {"instances": list(instances)}, console)
    return console.export_text()


def test_a_long_problem_is_whole_on_a_narrow_terminal() -> None:
    node = NODE_VIEW | {"problem": "certificate differs", "role": "master", "vip": True}
    one = STATUS["instances"][0] | {"nodes": [node]}
    assert "\n- udp, node b: certificate differs\n" in shown(one)
    doubted = one | {"name": "other", "nodes": [NODE_VIEW | {"believed": False}]}
    text = shown(one, doubted)
    assert "\n- other, node b: heard, but not believed yet; if that lasts," in text
    (line,) = [line for line in text.splitlines() if line.startswith("b ") and "has it" in line]
    assert line.replace("│", "").split() == [
        "b",
        "master",
        "has",
        "it",
        "-",
        "90",
        "2",
        "0.2",
        "s",
        "ago",
        "udp",
    ]


def test_a_node_that_left_is_not_one_to_be_believed_soon() -> None:
    gone = NODE_VIEW | {"believed": False, "lost": True, "age": 60.0, "vip": True}
    text = shown(STATUS["instances"][0] | {"nodes": [gone]})
    assert "- udp, node b: not heard any more; it is down" in text
    (line,) = [line for line in text.splitlines() if line.startswith("b ")]
    assert [cell.strip() for cell in line.split("│")][1:5] == ["was standby", "had it", "-", "-"]


def test_a_node_without_others_says_so() -> None:
    assert "Other nodes: none is heard" in shown(STATUS["instances"][0] | {"nodes": []})


def test_status_for_programs(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("status", "-c", config, "--json")
    assert code == 0
    assert json.loads(out) == STATUS


def test_promote(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("promote", "-c", config, "--expect-vip", "500ms")
    assert (code, out) == (0, "udp: master, epoch 8/a\n")
    assert daemon == [PromoteRequest(expect_vip=0.5)]


def test_demote_says_what_it_found(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("demote", "-c", config, "-i", "udp6")
    assert (code, out) == (0, "udp6: standby (b is master)\n")


def test_renegotiate_and_clients(config: Path, daemon: list[Request]) -> None:
    code, out, _ = run("renegotiate", "-c", config)
    assert (code, out) == (0, "udp: OpenVPN is asked to renegotiate 3 clients\n")
    _, out, _ = run("renegotiate", "-c", config, "--uid", "00112233445566ff")
    assert out == "udp: OpenVPN is asked to renegotiate 1 client\n"
    _, out, _ = run("clients", "-c", config)
    assert out == "00112233445566ff  protected\nff112233445566ff  unprotected, 2.5 s\n"


def test_a_refusal_is_one_line(config: Path, daemon: list[Request]) -> None:
    code, out, err = run("demote", "-c", config)
    assert (code, out) == (1, "")
    assert err == "ovpnha: udp: this node has the VIP; move it away first, then demote\n"


def table(*addresses: tuple[int, str, int]) -> NetworkTable:
    """eth0 is link 2, bcn0 is link 3."""
    found = NetworkTable()
    for index, name in ((2, "eth0"), (3, "bcn0")):
        attrs = [("IFLA_IFNAME", name)]
        message = {"event": "RTM_NEWLINK", "index": index, "flags": IFF_UP | IFF_LOWER_UP}
        found.apply({**message, "attrs": attrs})
    for index, text, prefix in addresses:
        attrs = [("IFA_LOCAL", text)]
        message = {"event": "RTM_NEWADDR", "index": index, "prefixlen": prefix, "flags": 0}
        found.apply({**message, "family": 2, "attrs": attrs})
    return found


def oddities(config: Path, network: NetworkTable, **changes: str) -> str:
    text = config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    return "\n".join(find_oddities(parsed(text), network))


def parsed(text: str) -> Config:
    return parse_config(text, "f")


def refusals(config: Path, network: NetworkTable, more: str = "", **changes: str) -> str:
    text = config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    try:
        check_host(parsed(text + more), network)
    except ConfigError as error:
        return str(error)
    return ""


GOOD = table((2, "192.0.2.1", 24), (3, "10.0.0.1", 24))


def test_nothing_is_odd_about_a_good_host(config: Path) -> None:
    (config.parent / "udp.sock").touch()
    assert not oddities(config, GOOD)
    assert not refusals(config, GOOD)


def test_the_bcn_on_the_client_facing_interface_is_refused(config: Path) -> None:
    network = table((3, "192.0.2.1", 24))
    assert "bcn0 is also the interface that clients of udp reach" in refusals(config, network)
    more = '[node.a.instance.udp]\nvip_interface = "bcn0"\n'
    assert "bcn0 is also the interface" in refusals(config, GOOD, more)
    allowed = "[node.a.bcn]\nshared_with_clients = true\n"
    assert not refusals(config, network, allowed)


def test_a_vip_that_is_the_node_s_own_address_is_refused(config: Path) -> None:
    network = table((2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    assert "192.0.2.10 is this node's own address" in refusals(config, network)
    beside = table((2, "192.0.2.1", 24), (2, "192.0.2.10", 24), (3, "10.0.0.1", 24))
    assert not refusals(config, beside)
    assert not refusals(config, network, "[node.a.instance.udp]\nvip_alone = true\n")


def test_a_vip_among_the_bcn_addresses_is_refused(config: Path) -> None:
    nodes = (
        'mode = "unicast"\nlinks = [{ interface = "bcn0", nodes = ["192.0.2.10", "10.0.0.2"] }]\n'
    )
    found = refusals(config, GOOD, f"[node.a.bcn]\n{nodes}")
    assert "instance[udp].vip: 192.0.2.10 is listed in bcn.links nodes" in found


def test_a_vip_interface_without_an_address_of_its_own_is_odd(config: Path) -> None:
    (config.parent / "udp.sock").touch()
    text = config.read_text() + '[node.a.instance.udp]\nvip_interface = "eth0"\n'
    network = table((3, "10.0.0.1", 24))
    assert "set vip_alone = true" in "\n".join(find_oddities(parsed(text), network))
    assert not list(find_oddities(parsed(text + "vip_alone = true\n"), network))


def test_missing_interfaces_are_odd_a_missing_directory_is_refused(config: Path) -> None:
    network = table((2, "192.0.2.1", 24))
    text = config.read_text() + '[node.a.instance.udp]\nvip_interface = "eth7"\n'
    text = text.replace('vip = "192', 'track_file = "/run/oha-none/udp.grade"\nvip = "192').replace(
        '"bcn0"', '"bcn7"'
    )
    found = "\n".join(find_oddities(parsed(text), network))
    assert "interface bcn7 is missing on this host" in found
    assert "instance[udp].vip_interface: interface eth7 is missing" in found
    with pytest.raises(ConfigError, match="there is no directory /run/oha-none; make it"):
        check_host(parsed(text), network)


def test_a_management_socket_that_is_not_there_is_odd(config: Path) -> None:
    path = config.parent / "udp.sock"
    assert f"OpenVPN does not run yet, or its configuration does not say: management {path}" in (
        oddities(config, GOOD)
    )
    nowhere = oddities(config, GOOD, **{f"{path}": "/run/oha-none/udp.sock"})
    assert "instance[udp].management: there is no directory /run/oha-none" in nowhere


def test_a_management_socket_out_of_reach_is_odd(config: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    text = config.read_text().replace(f"{config.parent}/control.sock", "/run/control.sock")
    checked = parsed(text)
    config.parent.chmod(0o700)
    os.seteuid(12345)
    try:
        found = list(find_oddities(checked, GOOD))
    finally:
        os.seteuid(0)
    assert any("this user may not look into" in one for one in found)


def test_a_bcn_interface_without_an_address_is_odd(config: Path) -> None:
    assert "has no IPv4 address to broadcast from" in oddities(config, table())


def http_oddity(config: Path, listen: str) -> str:
    more = f'[http]\nlisten = "{listen}"\n'
    return "\n".join(find_http_oddity(parsed(config.read_text() + more)))


def test_an_http_port_that_is_free_or_switched_off_is_not_odd(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        free = one.getsockname()[1]
    assert http_oddity(config, f"127.0.0.1:{free}") == http_oddity(config, "") == ""


def test_an_http_address_of_another_host_is_odd(config: Path) -> None:
    assert "192.0.2.77:9594: this host has no such address" in http_oddity(
        config, "192.0.2.77:9594"
    )


class Answering(http.server.BaseHTTPRequestHandler):
    """Somebody on the HTTP port: a daemon of this name and boot, or a program of another kind."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An HTTP server on a port of its own that always says this."""
    handler = type("Handler", (Answering,), {"body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "odd"),
    [
        (b'{"node": "a", "boot": "00ff"}', False),
        (b'{"node": "a", "boot": "0123"}', True),
        (b"<html>", True),
        (b"[1]", True),
    ],
)
def test_an_http_port_that_another_program_has_is_odd(
    config: Path, daemon: list[Request], body: bytes, odd: bool
) -> None:
    with answering(body) as listen:
        assert ("another program has this port" in http_oddity(config, listen)) is odd


def test_a_daemon_that_may_not_be_asked_is_known_by_its_node(config: Path) -> None:
    with answering(b'{"node": "a", "boot": "00ff"}') as listen:
        assert "another program" in http_oddity(config, listen)
        (config.parent / "control.sock").touch()  # somebody is there, and does not answer us
        assert not http_oddity(config, listen)
