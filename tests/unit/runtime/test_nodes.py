"""All nodes as one of them sees them: what is told, and what is wrong with a cluster key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.model import InstanceName, NodeName
from ovpnha.node.statistics import HeardLink, HeardNode, NodeStatistics
from ovpnha.problems import ProblemKind
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.nodespage import NodesAnswer, describe_nodes, list_nodes
from ovpnha.runtime.problems import compare_keys, find_problems

B, C = NodeName("b"), NodeName("c")
HEARD = HeardNode(
    *(B, "00ff", True, 0.2, "1.2.3", ("0a0b0c0d",), 0.0004, -0.25),
    (HeardLink("bcn0", 0.2, 0.0), HeardLink("bcn1", 9.0, 0.5)),
)


@pytest.fixture
def seen(statistics: NodeStatistics) -> NodeStatistics:
    return replace(statistics, ovpnha="1.2.3", keys=("0a0b0c0d",), heard=(HEARD,))


def texts(answer: NodesAnswer) -> tuple[list[list[str]], list[list[str]]]:
    instances, heard, _ = describe_nodes(answer)
    first, second = (
        [[cell.text for cell in row] for row in one.rows] for one in (instances, heard)
    )
    return first, second


def test_each_node_has_a_row_for_its_instance_and_for_each_link(seen: NodeStatistics) -> None:
    instances, heard = texts(list_nodes(seen))
    assert instances == [
        ["a", "master", "here", "-", "120", "3", "7", "2.6.14"],
        ["b", "standby", "", "in sync", "90", "2", "7", ""],
    ]
    assert heard == [
        ["a", "this node", "1.2.3", "0a0b0c0d", "-", "-", "-", "-"],
        ["b", "0.2 s ago", "1.2.3", "0a0b0c0d", "bcn0", "0.40 ms", "0%", "-250 ms"],
        ["b", "", "", "", "bcn1", "0.40 ms", "50%", "-250 ms"],
    ]


def test_what_is_told_to_programs_comes_back(seen: NodeStatistics) -> None:
    answer = list_nodes(seen)
    assert from_plain(NodesAnswer, to_plain(answer)) == answer
    assert from_plain(NodeStatistics, to_plain(seen)) == seen


def test_a_node_that_is_not_known_well_has_a_row_too(seen: NodeStatistics) -> None:
    [instance] = seen.instances
    [view] = instance.nodes
    lost = replace(view, believed=False, lost=True)
    lacks = replace(view, name=C, has_instance=False)
    status = replace(seen, heard=(), instances=(replace(instance, nodes=(lost, lacks)),))
    instances, heard = texts(list_nodes(status))
    assert instances[1][:2] == ["b", "was standby"]
    assert instances[2] == ["c", *["-"] * 7]
    assert [row[2:4] for row in heard[1:]] == [["-", "-"], ["-", "-"]]
    _, _, problems = describe_nodes(list_nodes(status))
    assert any(line.startswith("udp, node b: not heard any more") for line in problems)


def test_several_instances_are_told_apart(seen: NodeStatistics) -> None:
    [instance] = seen.instances
    other = replace(instance, name=InstanceName("tcp"), nodes=())
    status = replace(seen, instances=(instance, other))
    instances, _, _ = describe_nodes(list_nodes(status))
    assert instances.columns[-1] == "instance"
    assert [row[-1].text for row in instances.rows] == ["udp", "tcp", "udp"]


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (("1",), ("1",), ""),
        (("1", "2"), ("1",), "it has not got the cluster key 2"),
        (("1",), ("1", "2"), "it has the cluster key 2, which this node has not"),
        (("1", "2"), ("2", "1"), "it seals with the cluster key 2, this node with 1"),
        (("1", "2", "3"), ("1", "3", "2"), ""),
        ((), ("1",), ""),
        (("1",), (), ""),
    ],
)
def test_cluster_keys_that_differ(
    ours: tuple[str, ...], theirs: tuple[str, ...], says: str
) -> None:
    found = compare_keys(ours, theirs)
    assert found.startswith(says)
    assert bool(found) is bool(says)


def test_they_are_a_problem_of_a_node_that_is_believed(seen: NodeStatistics) -> None:
    kinds = {one.kind for one in find_problems(seen)}
    assert ProblemKind.NODE_KEYS_DIFFER not in kinds
    differs = replace(HEARD, keys=("ffffffff", "0a0b0c0d"))
    found = find_problems(replace(seen, heard=(differs,)))
    [problem] = [one for one in found if one.kind is ProblemKind.NODE_KEYS_DIFFER]
    assert (problem.node, problem.text.split()[0]) == ("b", "it")
    doubted = replace(differs, believed=False)
    found = find_problems(replace(seen, heard=(doubted,)))
    assert ProblemKind.NODE_KEYS_DIFFER not in {one.kind for one in found}


def test_a_node_without_the_patch_is_told_as_such(seen: NodeStatistics) -> None:
    [instance] = seen.instances
    [view] = instance.nodes
    stock = replace(instance.discovery, seamless=False, stock=True)
    told = replace(instance, discovery=stock, nodes=(replace(view, seamless=False),))
    instances, _ = texts(list_nodes(replace(seen, instances=(told,))))
    assert [row[-1] for row in instances] == ["2.6.14, seamless: no", "seamless: no"]
    listed = list_nodes(replace(seen, instances=(told,)))
    assert [node.instances[0].seamless for node in listed.nodes] == [False, False]
