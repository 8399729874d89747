"""A machine that is checked, its answer to a question or its silence, and the line of a check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dann_search.outputs.cluster import Check


@dataclass(frozen=True)
class ProbedNode:
    """This machine, or a node of a cluster that is alive.

    ``name`` is for messages, ``gpus`` those that Ray offers (None without Ray), ``store_bytes`` the
    size of Ray's object store.
    """

    id: str
    name: str
    gpus: float | None
    store_bytes: float


@dataclass(frozen=True)
class Silence:
    """Stands for the answer of a node that gave none."""

    why: str


Ask = Callable[..., dict[ProbedNode, Any]]
"""Called as ``ask(nodes, function, *arguments, limit_s=…)``, it calls the function on each node at
once, and returns each node's answer, or ``Silence`` if it gave none within that time."""


def verdict(name: str, node: str, found: str, wrong: str = "", remedy: str = "") -> Check:
    """Return a green check with what was found, or a red one with what is wrong and the remedy."""
    return Check(
        name=name, node=node, ok=not wrong, found=wrong or found, remedy=remedy if wrong else None
    )


def silent(name: str, node: ProbedNode, silence: Silence) -> Check:
    """Return the red check of a node that did not answer."""
    remedy = "look at its logs (/tmp/ray/session_latest/logs), or take it out: ray drain-node"
    return verdict(name, node.name, "", silence.why, remedy)
