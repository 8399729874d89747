"""The nodes of the Ray cluster: what each has, and which are about to vanish."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import ray

NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node: what is selected by it runs there or nowhere."""

ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True)
class Node:
    """One node that is alive.

    Attributes:
        id: Ray's, in hexadecimal digits.
        host: its name in the network.
        cpus, gpus: logical ones, all of them.
        memory: bytes that workers may use.
        accelerators: kinds of its GPUs, as Ray calls them: ``A100``.
    """

    id: str
    host: str
    cpus: float
    gpus: float
    memory: float
    accelerators: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        """Host and first digits of the id, which tell nodes of one host apart."""
        return f"{self.host}/{self.id[:6]}"


def live_nodes() -> list[Node]:
    """Return every node that is alive, drained ones too."""
    return [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory=node["Resources"].get("memory", 0.0),
            accelerators=frozenset(
                name.removeprefix(ACCELERATOR)
                for name in node["Resources"]
                if name.startswith(ACCELERATOR)
            ),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def all_but(avoided: Iterable[str]) -> dict[str, str]:
    """Return a label selector that all nodes but those ``avoided`` fit."""
    ids = ", ".join(sorted(avoided))
    return {NODE_ID: f"!in({ids})"} if ids else {}


def own_node() -> str:
    """Return the id of the node that this process runs on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node
