"""deploy/uplinks: which tunnels carry a site, and what is refused of a file."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import load_config
from tests.unit.cli.test_deploy import DEPLOY, complaints

UPLINKS = DEPLOY / "uplinks"


def load() -> Any:
    loader = SourceFileLoader("watch_tunnels", str(UPLINKS / "watch-tunnels"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


program = load()


class Rounds:
    """A site with two tunnels, and rounds in which some of them are answered."""

    def __init__(self, *devices: str) -> None:
        tunnels = [program.Tunnel(one, f"10.8.{at}.1", at) for at, one in enumerate(devices, 1)]
        self.site = program.Site("office", ["10.20.0.0/24"], tunnels)
        self.number = 0

    def go(self, count: int, *answered: str) -> set[str]:
        """So many rounds with these answers; the tunnels that the route goes over then."""
        for _ in range(count):
            self.number += 1
            for tunnel in self.site.tunnels:
                if tunnel.device in answered:
                    self.site.answered(tunnel, self.number)
        return self.ways()

    def ways(self) -> set[str]:
        return {one.device for one in self.site.ways}


@pytest.fixture
def rounds() -> Rounds:
    made = Rounds("tun1", "tun2")
    made.go(30, "tun1", "tun2")
    return made


BOTH = {"tun1", "tun2"}


def test_as_long_as_nothing_is_known_the_route_has_all() -> None:
    assert Rounds("tun1", "tun2").ways() == BOTH


@pytest.mark.parametrize(("dead", "other"), [("tun1", "tun2"), ("tun2", "tun1")])
def test_a_tunnel_is_silent_after_six_rounds_of_another(
    rounds: Rounds, dead: str, other: str
) -> None:
    assert rounds.go(5, other) == BOTH
    assert rounds.go(1, other) == {other}
    assert dead not in rounds.ways()


def test_it_is_fine_again_after_twenty_answers(rounds: Rounds) -> None:
    rounds.go(10, "tun2")
    assert rounds.go(19, "tun1", "tun2") == {"tun2"}
    assert rounds.go(1, "tun1", "tun2") == BOTH


def test_a_gap_begins_the_count_anew_and_one_loss_does_not(rounds: Rounds) -> None:
    rounds.go(10, "tun2")
    rounds.go(10, "tun1", "tun2")
    rounds.go(1, "tun2")
    assert rounds.go(10, "tun1", "tun2") == BOTH
    rounds.go(10, "tun2")
    rounds.go(19, "tun1", "tun2")
    rounds.go(6, "tun2")
    assert rounds.go(19, "tun1", "tun2") == {"tun2"}


def test_losses_now_and_then_are_nothing(rounds: Rounds) -> None:
    for _ in range(20):
        rounds.go(5, "tun2")
        assert rounds.go(1, "tun1", "tun2") == BOTH


@pytest.mark.parametrize("length", [1, 10, 20, 100])
def test_rounds_without_any_answer_change_nothing(rounds: Rounds, length: int) -> None:
    assert rounds.go(length) == BOTH
    assert rounds.go(1, "tun1", "tun2") == BOTH


def test_a_server_and_a_line_at_once(rounds: Rounds) -> None:
    assert rounds.go(4) == BOTH
    assert rounds.go(5, "tun2") == BOTH
    assert rounds.go(1, "tun2") == {"tun2"}


def test_after_a_second_of_silence_the_first_answer_counts(rounds: Rounds) -> None:
    rounds.go(21)
    assert rounds.go(1, "tun2") == {"tun2"}
    assert rounds.go(1, "tun1", "tun2") == BOTH


def test_before_a_second_of_silence_a_tunnel_that_was_silent_stays_so(rounds: Rounds) -> None:
    rounds.go(10, "tun2")
    rounds.go(15)
    assert rounds.go(1, "tun1", "tun2") == {"tun2"}


def test_a_standby_knows_the_living_one_at_once() -> None:
    rounds = Rounds("tun1", "tun2")
    assert rounds.go(1000) == BOTH
    assert rounds.go(1, "tun2") == {"tun2"}


def test_the_only_tunnel_stays(rounds: Rounds) -> None:
    rounds.go(10, "tun2")
    assert rounds.go(100) == {"tun2"}


def test_answers_that_come_late_or_twice_are_no_harm(rounds: Rounds) -> None:
    one, two = rounds.site.tunnels
    for number in range(rounds.number + 1, rounds.number + 40):
        rounds.site.answered(two, number)
        rounds.site.answered(one, number - 4)
        rounds.site.answered(one, number - 4)
        assert rounds.ways() == BOTH


def test_three_tunnels_of_which_two_die() -> None:
    rounds = Rounds("tun1", "tun2", "tun3")
    rounds.go(10, "tun1", "tun2", "tun3")
    assert rounds.go(10, "tun2") == {"tun2"}


def test_the_route_goes_over_the_devices_that_are_here(rounds: Rounds) -> None:
    rounds.site.source = "10.0.0.1"
    last, way = rounds.site.routes({"tun1", "tun2", "eth0"})
    assert last[2:4] == ["unreachable", "10.20.0.0/24"]
    hops = "nexthop via 10.8.1.1 dev tun1 weight 1 nexthop via 10.8.2.1 dev tun2 weight 2"
    assert " ".join(way) == f"route replace 10.20.0.0/24 proto 61 src 10.0.0.1 {hops}"
    assert program.by([last, way]) == "by tun1, tun2"
    assert "tun1" not in rounds.site.routes({"tun2"})[-1]


def test_without_a_device_nothing_leaves_outside_of_a_tunnel(rounds: Rounds) -> None:
    (last,) = rounds.site.routes({"eth0"})
    assert "unreachable" in last
    assert program.by([last]) == "no device is here"


@pytest.mark.parametrize("where", ["site", "centre"])
def test_the_examples_are_read(where: str) -> None:
    (site,) = program.read(UPLINKS / where / "tunnels.toml")
    assert [one.device for one in site.tunnels] == ["tun1", "tun2"]


GOOD = """\
[[site]]
name = "office"
networks = ["10.20.0.0/24"]
tunnels = [{ device = "tun1", far = "10.8.1.1", weight = 5 }]
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (GOOD, "", "there must be [[site]], and nothing else beside it"),
        (GOOD, "x", "Expected '=' after a key"),
        ("[[site]]", "[[site]]\nweight = 1", "site 1: there is no weight, but name, networks"),
        ('name = "office"', "", "site 1: name is missing"),
        ('"office"', "1", "site 1: name must be a text"),
        ("10.20.0.0", "10.20.0.1", "site 1: network '10.20.0.1/24' is no IPv4 network (its"),
        ('["10.20.0.0/24"]', "[]", "site 1: it needs a network and a tunnel"),
        ('"10.20.0.0/24"', "7", "site 1: network 7 is no IPv4 network"),
        ("10.8.1.1", "tun1", "site 1, tunnel 1: far 'tun1' is no IPv4 address"),
        ("5 }", "257 }", "site 1, tunnel 1: weight 257 is not 1 to 256"),
        ("5 }", "true }", "site 1, tunnel 1: weight must be a whole number"),
        ("5 }", '5 }, { device = "tun1", far = "10.8.1.2" }', "device of site 1: tun1 is there"),
        ("{ device", "7, { device", "site 1, tunnel 1: it must be a table"),
        ("tunnels =", 'source = "x"\ntunnels =', "site 1: source 'x' is no IPv4 address"),
        (GOOD, GOOD + GOOD, "name of a site: office is there twice"),
        (GOOD, GOOD + GOOD.replace("office", "x"), "network: 10.20.0.0/24 is there twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, reason: str
) -> None:
    file = tmp_path / "tunnels.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    assert program.main([str(file)]) == 2
    assert f"watch-tunnels: {file}: {reason}" in capsys.readouterr().err


def test_no_file_and_no_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert program.main([]) == 2
    assert "usage: watch-tunnels FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("100 eth0\n", "100 is no mark, 1 to 99 are"),
        ("01 eth0\n", "01 is no mark"),
        ("1; eth0\n", "1; is no mark"),
        ("7\n", "mark 7 has no interface"),
        ("7", "mark 7 has no interface"),  # the end of a file without an end of the line
    ],
)
def test_lines_refuses_what_is_no_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "lines.conf"
    file.write_text(f"# a comment\n\n{text}")
    done = subprocess.run([UPLINKS / "lines", file], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert reason in done.stderr


def test_lines_says_that_there_is_no_file(tmp_path: Path) -> None:
    argv = [UPLINKS / "lines", tmp_path / "none"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/none: cannot be read" in done.stderr


@pytest.mark.parametrize("unit", ["ovpnha-lines.service", "ovpnha-tunnels.service"])
def test_the_units_are_such_that_systemd_takes(unit: str) -> None:
    found = complaints(UPLINKS / unit)
    assert not [line for line in found if "is not executable" not in line]


def test_the_sidecars_configuration_is_one() -> None:
    config = load_config(UPLINKS / "centre" / "ovpnha.toml", node="node-a")
    assert [one.name for one in config.instance] == ["one", "two"]


def test_every_value_of_keepalived_is_in_node_conf() -> None:
    text = (UPLINKS / "centre" / "keepalived.conf").read_text()
    lines = (UPLINKS / "centre" / "node.conf").read_text().splitlines()
    given = {line.partition("=")[0] for line in lines}
    words = {word.strip('"') for word in text.split() if word.startswith("$") and "=" not in word}
    assert words
    assert words <= given
