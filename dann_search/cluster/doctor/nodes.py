"""Run a function on each node of a cluster, with a time limit."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from dann_search.search.nodes import NODE_ID
from dann_search.search.ray_private import HEAD


@dataclass(frozen=True)
class ProbedNode:
    """A node that is alive, by Ray's account."""

    id: str
    host: str
    is_head: bool
    gpus: float
    store_bytes: float

    @property
    def name(self) -> str:
        """Its name in messages, which tells nodes of one host apart."""
        return f"{self.host}/{self.id[:6]}{' (head)' if self.is_head else ''}"


@dataclass(frozen=True)
class Silence:
    """Stands for the answer of a node that gave none."""

    why: str


def living_nodes() -> list[ProbedNode]:
    """List the nodes, the head first, then by name."""
    nodes = [
        ProbedNode(
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
    nodes: list[ProbedNode],
    function: Callable[..., Any],
    arguments: Callable[[ProbedNode], tuple[Any, ...]] | tuple[Any, ...] = (),
    *,
    limit_s: float,
) -> dict[str, Any]:
    """Run a function on each node at once.

    Args:
        nodes: the nodes.
        function: importable on the nodes.
        arguments: the same for all, or made for each.
        limit_s: how long to wait for the slowest node.

    Returns:
        Each node's answer, or ``Silence`` if it gave none in time, by node id.
    """
    calls = {
        node.id: (node, arguments(node) if callable(arguments) else arguments) for node in nodes
    }
    return ask_each(calls, function, limit_s=limit_s)


def ask_each(
    calls: Mapping[Any, tuple[ProbedNode, tuple[Any, ...]]],
    function: Callable[..., Any],
    *,
    limit_s: float,
) -> dict[Any, Any]:
    """Make all calls at once, each in its own process, any number of them on a node.

    Args:
        calls: node and arguments of each call, by its name.
        function: importable on the nodes.
        limit_s: how long to wait for the slowest call.

    Returns:
        The answer to each call, or ``Silence`` if there was none in time, by the call's name.
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
    late_answer = Silence(f"did not answer within {limit_s:.0f} s")
    return {
        name: _answer(reference) if reference in ready else late_answer
        for name, reference in asked.items()
    }


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=10)
    # Ray wraps what a node raises in an error that names it in its last line.
    except Exception as exc:
        lines = [line for line in str(exc).strip().splitlines() if line.strip()]
        return Silence(lines[-1].strip() if lines else type(exc).__name__)
