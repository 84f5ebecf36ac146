"""What the configuration may say of a hook."""

from __future__ import annotations

import re

import pytest

from ovpnha.cli.reference import render_reference
from ovpnha.config import parse_config
from ovpnha.config.hook import HookEvent
from ovpnha.errors import ConfigError
from tests.unit.config.test_check import HEAD

GOOD = HEAD + '[[hook]]\nevents = ["fault", "node_left"]\ncommand = ["/bin/true"]\n'


def test_a_hook_and_its_defaults() -> None:
    [hook] = parse_config(GOOD, "file", "a").hook
    assert hook.events == (HookEvent.FAULT, HookEvent.NODE_LEFT)
    assert (hook.after, hook.timeout, hook.instance) == (0.0, 10.0, None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"node_left"', '"dinner"', "must be one of role_changed, fault"),
        ('["fault", "node_left"]', "[]", "events: "),
        ('["/bin/true"]', "[]", "command: "),
        ('["/bin/true"]', '"/bin/true"', "command: "),
        ('["/bin/true"]', '["/bin/true"]\ninstance = "tcp"', "there is no instance tcp"),
        ('["/bin/true"]', '["/bin/true"]\nafter = -1.0', "after: "),
        ('["/bin/true"]', '["/bin/true"]\nevent = "fault"', 'did you mean "events"?'),
    ],
)
def test_what_is_wrong_is_said_in_a_line(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_config(GOOD.replace(old, new), "file", "a")


def test_there_are_not_too_many() -> None:
    text = GOOD + 32 * '[[hook]]\nevents = ["fault"]\ncommand = ["/bin/true"]\n'
    with pytest.raises(ConfigError, match="there are 33 hooks; no more than 32"):
        parse_config(text, "file", "a")


def test_the_page_has_every_event() -> None:
    page = render_reference()
    assert all(f"| `{event}` |" in page for event in HookEvent)
