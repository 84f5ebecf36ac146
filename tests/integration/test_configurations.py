"""Servers as people have them, as init leaves them: no client notices its master's death."""

from __future__ import annotations

import pytest

from tests.integration.conftest import OPENVPN
from tests.lab.configurations.rows import broken_promise
from tests.lab.configurations.run import try_shape
from tests.lab.configurations.shapes import load
from tests.lab.lab import quiet

pytestmark = pytest.mark.integration

SHAPES = load()
STARTING = [name for name, shape in SHAPES.items() if not shape.stops]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", STARTING)
def test_the_master_of_a_server_that_people_have_dies(name: str) -> None:
    result = try_shape(SHAPES[name], OPENVPN, quiet)
    assert broken_promise(SHAPES[name], result.row) == "", result.problem
