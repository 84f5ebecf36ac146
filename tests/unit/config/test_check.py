"""What the configuration may say of a check."""

from __future__ import annotations

import re

import pytest

from ovpnha.config import CheckKind, Config, parse_config
from ovpnha.errors import ConfigError

HEAD = """
[cluster]
name = "office"
node = "a"
[[instance]]
name = "udp"
management = "/run/openvpn/udp.sock"
"""


def parse(text: str) -> Config:
    return parse_config(HEAD + text, "file", "a")


def check(*lines: str, name: str = "lan") -> str:
    return "\n".join(["[[check]]", f'name = "{name}"', *lines, ""])


@pytest.mark.parametrize(
    ("lines", "rests"),
    [
        (['kind = "process"', 'target = "slapd"'], False),
        (['kind = "process"', 'target = "/run/slapd/slapd-with-a-long-name.pid"'], False),
        (['kind = "command"', 'command = ["/bin/true", ""]'], False),
        (['kind = "tcp"', 'target = "[2001:db8::1]:389"', "master_only = true"], True),
        (['kind = "ping"', 'target = "2001:db8::1"'], False),
        (['kind = "http"', 'target = "http://10.0.0.1:8080/a?b"', 'instance = "udp"'], False),
        (['kind = "http"', 'target = "https://[2001:db8::1]/"'], False),
        (['kind = "client"', 'client_config = "/etc/c.conf"'], True),
        (['kind = "client"', 'client_config = "/etc/c.conf"', 'target = ""'], True),
        (['kind = "client"', 'client_config = "/etc/c.conf"', 'target = "10.8.0.1"'], True),
    ],
)
def test_each_kind_and_what_it_needs(lines: list[str], *, rests: bool) -> None:
    [found] = parse(check(*lines)).check
    assert found.kind is CheckKind(lines[0].split('"')[1])
    assert (found.rests, found.critical, found.rise, found.fall) == (rests, False, 2, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (check('kind = "ping"'), "check[lan]: kind ping needs a target; add target = …"),
        (check('kind = "http"', 'target = ""'), "kind http needs a target"),
        (check('kind = "pong"'), "check[lan].kind: must be one of process, command"),
        (check('kind = "command"'), "kind command needs command = […]"),
        (check('kind = "tcp"', 'command = ["x"]'), "kind tcp takes no command; remove it"),
        (
            check('kind = "command"', 'command = ["x"]', 'target = "y"'),
            "kind command takes no target",
        ),
        (check('kind = "client"'), "kind client needs one: client_config = "),
        (
            check('kind = "ping"', 'target = "10.0.0.1"', 'client_config = "/etc/c.conf"'),
            "kind ping takes no client_config",
        ),
        (check('kind = "ping"', 'target = "gateway"'), "target must be an address"),
        (
            check('kind = "client"', 'client_config = "/etc/c.conf"', 'target = "2001:db8::1"'),
            "target must be an IPv4 address",
        ),
        (check('kind = "tcp"', 'target = "10.0.0.1"'), "must be ADDRESS:PORT"),
        (check('kind = "tcp"', 'target = "host:389"'), "host"),
        (check('kind = "http"', 'target = "ftp://10.0.0.1/"'), "must begin with http://"),
        (check('kind = "http"', 'target = "http://host/"'), "whose host is an address"),
        (check('kind = "http"', 'target = "http://10.0.0.1:x/"'), "whose host is an address"),
        (check('kind = "http"', 'target = "http://u:p@10.0.0.1/"'), "no user in it"),
        (check('kind = "process"', 'target = "a-name-of-16-chr"'), "first 15 letters"),
        (check('kind = "process"', 'target = "a\\u0007"'), "must not have control characters"),
        (check('kind = "ping"', 'target = "10.0.0.1"', "period = 0.1"), "check[lan].period: "),
        (check('kind = "ping"', 'target = "10.0.0.1"', "fall = 0"), "check[lan].fall: "),
        (check('kind = "ping"', 'target = "10.0.0.1"', 'colour = "x"'), "unknown key"),
        (
            check('kind = "ping"', 'target = "10.0.0.1"', 'instance = "tcp"'),
            "check[lan].instance: there is no instance tcp",
        ),
        (check('kind = "ping"', 'target = "10.0.0.1"') * 2, "two checks have the same name"),
        (
            "".join(
                check('kind = "ping"', 'target = "10.0.0.1"', name=f"c{number}")
                for number in range(17)
            ),
            "there are 17 checks; no more than 16",
        ),
        (
            check('kind = "ping"', 'target = "10.0.0.1"') + '[node.a.check.wan]\ntarget = "x"\n',
            "node.a.check.wan: there is no [[check]] of this name",
        ),
        (
            check('kind = "ping"', 'target = "10.0.0.1"') + '[node.a.check.lan]\nname = "x"\n',
            "node.a.check.lan.name: cannot differ between nodes",
        ),
        (
            check('kind = "ping"', 'target = "10.0.0.1"') + "[node.a.check.lan]\nrise = 0\n",
            "node.a.check[lan].rise: ",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse(text)


def test_a_node_may_look_at_something_else() -> None:
    both = check('kind = "ping"', 'target = "10.0.0.1"') + check(
        'kind = "ping"', 'target = "10.0.0.9"', name="wan"
    )
    config = parse(f'{both}[node.a.check.lan]\ntarget = "10.0.0.2"\n')
    assert [one.target for one in config.check] == ["10.0.0.2", "10.0.0.9"]
