"""The example of docs/lab.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"

pytestmark = pytest.mark.integration


def test_the_page_s_scenario_runs() -> None:
    (code,) = re.findall(r'^```python\n(""".*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, PAGE, "exec"), names)  # noqa: S102 - our own page
    scenario = names["scenario"]
    assert callable(scenario)
    assert 0 < scenario(OPENVPN) < 30_000
