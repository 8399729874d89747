"""A cluster's nodes, and a question put to each of them with a time limit."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from dann_search.search.nodes import NODE_ID
from dann_search.search.ray_private import HEAD


@dataclass(frozen=True)
class Node:
    """A node that Ray says is alive."""

    id: str
    host: str
    is_head: bool
    gpus: float
    store_bytes: float

    @property
    def name(self) -> str:
        """As people are told; nodes of one host are told apart."""
        return f"{self.host}/{self.id[:6]}{' (head)' if self.is_head else ''}"


@dataclass(frozen=True)
class NoAnswer:
    """What came in an answer's place."""

    why: str


def living_nodes() -> list[Node]:
    """The head first, then by name."""
    nodes = [
        Node(
            id=one["NodeID"],
            host=one["NodeManagerHostname"],
            is_head=HEAD in one["Resources"],
            gpus=one["Resources"].get("GPU", 0.0),
            store_bytes=one["Resources"].get("object_store_memory", 0.0),
        )
        for one in ray.nodes()
        if one["Alive"]
    ]
    return sorted(nodes, key=lambda node: (not node.is_head, node.name))


def ask(
    nodes: list[Node],
    function: Callable[..., Any],
    arguments: Callable[[Node], tuple[Any, ...]] | tuple[Any, ...] = (),
    *,
    limit_s: float,
) -> dict[str, Any]:
    """Run a function on each node at once.

    Args:
        nodes: which.
        function: importable on the nodes.
        arguments: the same for all, or made for each.
        limit_s: how long to wait for the last of them.

    Returns:
        By node id its answer, or ``NoAnswer`` where there was none in time.
    """
    calls = {
        node.id: (node, arguments(node) if callable(arguments) else arguments) for node in nodes
    }
    return ask_each(calls, function, limit_s=limit_s)


def ask_each(
    calls: Mapping[Any, tuple[Node, tuple[Any, ...]]],
    function: Callable[..., Any],
    *,
    limit_s: float,
) -> dict[Any, Any]:
    """Make all calls at once, each in a process of its own, any number of them on a node.

    Args:
        calls: the node and the arguments of each, by what names the call.
        function: importable on the nodes.
        limit_s: how long to wait for the last of them.

    Returns:
        By the call's name its answer, or ``NoAnswer`` where there was none in time.
    """
    task = ray.remote(function)
    asked = {}
    for name, (node, values) in calls.items():
        pinned = task.options(num_cpus=0, max_retries=0, label_selector={NODE_ID: node.id})
        asked[name] = pinned.remote(*values)
    ready, late = ray.wait(list(asked.values()), num_returns=len(asked), timeout=limit_s)
    for reference in late:
        with contextlib.suppress(Exception):
            ray.cancel(reference, force=True)
    return {
        name: _answer(reference) if reference in ready else _silence(limit_s)
        for name, reference in asked.items()
    }


def answers(asked: Mapping[str, Any], nodes: list[Node]) -> Iterator[tuple[Node, Any]]:
    """Nodes and their answers, without those that gave none."""
    for node in nodes:
        if not isinstance(asked[node.id], NoAnswer):
            yield node, asked[node.id]


def _silence(limit_s: float) -> NoAnswer:
    return NoAnswer(f"did not answer within {limit_s:.0f} s")


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=10)
    # What a node raises arrives as an error of Ray's that names it in its last line.
    except Exception as exc:
        lines = [line for line in str(exc).strip().splitlines() if line.strip()]
        return NoAnswer(lines[-1].strip() if lines else type(exc).__name__)
