"""The nodes of the Ray cluster: what each has, and which are about to vanish."""

import math
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import ray

NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node: what is selected by it runs there or nowhere."""

ACCELERATOR = "accelerator_type:"
ASK_S = 30.0
"""Seconds that a node has for an answer."""


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


def ask_node(node: str, question: Callable[[], float], unknown: float) -> float:
    """Run a function on a node and return its answer; ``unknown`` where there is none."""
    if node not in {one.id for one in live_nodes()}:
        return unknown
    task = ray.remote(num_cpus=0)(question).options(label_selector={NODE_ID: node}).remote()
    try:
        answer: float = ray.get(task, timeout=ASK_S)
    except ray.exceptions.RayError:  # it is busy, or gone by now
        ray.cancel(task)
        return unknown
    return answer


def smallest_gpu() -> float:
    """Return the bytes of this machine's smallest GPU; infinite where no driver says."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=ASK_S)
        return min((float(line) * 2**20 for line in said.stdout.split()), default=math.inf)
    except (OSError, ValueError, subprocess.SubprocessError):
        return math.inf
