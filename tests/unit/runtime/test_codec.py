"""What the daemon says is read as what it was, by this version and by its neighbours."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from ovpnha.model import Epoch, NodeName, Role, ServerClient, Uid
from ovpnha.node.master.protection import ProtectTimes
from ovpnha.node.openvpn.traffic import ServerStatistics
from ovpnha.node.role.promotion import PhaseTimes
from ovpnha.node.statistics import NodeStatistics, TrackingFigures
from ovpnha.problems import Problem, ProblemKind
from ovpnha.runtime import answers
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.commands import Answer
from ovpnha.runtime.control import Request
from ovpnha.runtime.status import StatusAnswer
from tests.unit.runtime.change import change

CLIENT = answers.ListedClient(
    Uid(bytes.fromhex("00112233445566ff")),
    *("alice", "al", "192.0.2.1:5000", ("10.8.0.2",), 1790000000, 1500, 20, 2.5, True),
    NodeName("b"),
)
UDP = json.loads('{"instance": "udp", "role": "master"}')


def over_the_socket(record: object) -> Any:
    return json.loads(json.dumps(to_plain(record)))


def test_a_status_is_read_as_it_was(statistics: NodeStatistics) -> None:
    assert from_plain(NodeStatistics, over_the_socket(statistics)) == statistics
    (one,) = statistics.instances
    times = {"promoted": PhaseTimes({0.1: 1, 0.25: 2}, 0.3)}
    one = change(
        one,
        promotion_times=times,
        protect_times=ProtectTimes({0.02: 4}, 0.01, (0.0025,)),
        server=ServerStatistics(3, 10, 20, 5.5),
        room=7,
        following=NodeName("b"),
        problems=(Problem(ProblemKind.NO_VIP_MANAGER, "no VIP manager", "start one", "udp"),),
    )
    full = replace(
        statistics,
        instances=(one,),
        tracking=TrackingFigures("late", seconds={"dump": 0.5}),
        firewall="",
        lacking={"tcp": (NodeName("b"), NodeName("c"))},
    )
    assert from_plain(StatusAnswer, over_the_socket(StatusAnswer(full))).status == full


@pytest.mark.parametrize(
    "answer",
    [
        answers.ClientsAnswer(UDP["instance"], Role.STANDBY, (CLIENT, replace(CLIENT, uid=None))),
        answers.PromoteAnswer(UDP["instance"], Role.MASTER, Epoch(8, NodeName("a"))),
        answers.DemoteAnswer(UDP["instance"], Role.STANDBY, Epoch(0, NodeName("")), "b is master"),
        answers.RenegotiateAnswer(UDP["instance"], 3),
        answers.HandOverAnswer(
            (answers.LeftInstance(UDP["instance"], Role.HELD, good=True, note=""),)
        ),
    ],
)
def test_an_answer_is_read_as_it_was(answer: Answer) -> None:
    assert from_plain(type(answer), over_the_socket(answer)) == answer


def test_every_command_has_an_answer_of_its_own() -> None:
    asked = {one.__name__.removesuffix("Request") for one in get_args(get_args(Request)[0])}
    assert {one.__name__.removesuffix("Answer") for one in get_args(Answer)} == asked


def test_a_neighbour_of_another_version_is_understood(statistics: NodeStatistics) -> None:
    plain = over_the_socket(statistics)
    plain["news"] = plain["instances"][0]["news"] = {"of": "a later version"}
    assert from_plain(NodeStatistics, plain) == statistics
    del plain["version"], plain["lacking"], plain["instances"][0]["lacking"]
    assert from_plain(NodeStatistics, plain) == statistics


def test_figures_that_mean_something_else_are_not_shown(statistics: NodeStatistics) -> None:
    plain = over_the_socket(StatusAnswer(statistics))
    plain["status"]["version"] = 1
    with pytest.raises(ValueError, match="status: version 1 instead of 2"):
        from_plain(StatusAnswer, plain)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"role": "boss"}, "instances: 0: role: 'boss' is not a valid Role"),
        ({"role": []}, r"instances: 0: role: \[\] is not a valid Role"),
        ({"epoch": "7"}, "instances: 0: epoch: '7' is no epoch"),
        ({"epoch": "x/a"}, "instances: 0: epoch: 'x/a' is no epoch"),
        ({"clients": True}, "instances: 0: clients: True is no int"),
        ({"clients": 1.5}, "instances: 0: clients: 1.5 is no int"),
        ({"name": None}, "instances: 0: name: None is no str"),
        ({"counters": []}, r"instances: 0: counters: \[\] is no object"),
        ({"counters": {"exports": "x"}}, "instances: 0: counters: exports: 'x' is no int"),
        ({"oldest_unprotected": "x"}, "instances: 0: oldest_unprotected: 'x' is no number"),
        ({"oldest_unprotected": True}, "instances: 0: oldest_unprotected: True is no number"),
        ({"protect_times": {"buckets": {"soon": 1}}}, "protect_times: buckets: could not convert"),
        ({"nodes": {}}, r"instances: 0: nodes: \{\} is no list"),
        ({"nodes": [3]}, "instances: 0: nodes: 0: 3 is no object"),
        ({"nodes": [{"name": "b"}]}, "instances: 0: nodes: 0: believed is missing"),
    ],
)
def test_what_is_wrong_is_named(
    statistics: NodeStatistics, change: dict[str, Any], text: str
) -> None:
    plain = over_the_socket(statistics)
    plain["instances"][0] |= change
    with pytest.raises(ValueError, match=text):
        from_plain(NodeStatistics, plain)


def test_a_record_that_json_cannot_say_is_a_mistake_of_ours() -> None:
    for hint in (object, set[str], int | str):
        kind: Any = dataclass(type("Odd", (), {"__annotations__": {"of": hint}}))
        assert get_type_hints(kind)
        with pytest.raises(TypeError, match="no record may have"):
            from_plain(kind, {"of": 1})


def test_names_may_hold_anything() -> None:
    client = ServerClient('a"\n', "é", "192.0.2.1:5000", "10.8.0.2", "1", 0, 0)
    assert from_plain(ServerClient, over_the_socket(client)) == client
