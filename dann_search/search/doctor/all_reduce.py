"""A sum over all nodes: whether trials of several workers can speak across the network."""

import contextlib
import os
from datetime import timedelta
from typing import Any

from dann_search.search.doctor.nodes import NoAnswer, Node, ask
from dann_search.search.doctor.report import Check, verdict

LIMIT_S = 90
"""Torch is imported on every node first: tens of seconds on a busy one."""


def check_all_reduce(nodes: list[Node], host: str, backend: str) -> list[Check]:
    """Let every node take part in one collective.

    Args:
        nodes: all that answer.
        host: this machine's address, where the nodes find each other.
        backend: gloo between all nodes, nccl between those with GPUs.
    """
    import torch.distributed as dist

    # The meeting point, for as long as this takes.
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "0.0.0.0", 0, is_master=True, wait_for_workers=False
    )
    port = store.port
    ranks = {node.id: rank for rank, node in enumerate(nodes)}

    def arguments(node: Node) -> tuple[Any, ...]:
        return ranks[node.id], len(nodes), host, port, backend, LIMIT_S

    asked = ask(nodes, add_up, arguments, limit_s=LIMIT_S + 30)
    del store
    expected = sum(rank + 1 for rank in ranks.values())
    return [_judge(node, asked[node.id], expected, len(nodes), backend) for node in nodes]


def add_up(rank: int, size: int, host: str, port: int, backend: str, limit_s: int) -> float:
    """One node's part: the sum of all ranks, each plus one."""
    if backend == "nccl":
        os.environ.pop(
            "CUDA_VISIBLE_DEVICES", None
        )  # Ray hides GPUs from a task that asks for none
    import torch
    import torch.distributed as dist

    limit = timedelta(seconds=limit_s)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=False, timeout=limit
    )
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    try:
        number = torch.tensor([rank + 1.0], device="cuda:0" if backend == "nccl" else "cpu")
        dist.all_reduce(number)
        return float(number.item())
    finally:
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def _judge(node: Node, answer: Any, expected: float, size: int, backend: str) -> Check:
    name = f"{backend} all-reduce"
    remedy = (
        "let the nodes reach each other on all ports (the security group's own rule), and set "
        f"{'NCCL' if backend == 'nccl' else 'GLOO'}_SOCKET_IFNAME to the interface between them"
    )
    if isinstance(answer, NoAnswer):
        return verdict(name, node.name, "", answer.why, remedy)
    wrong = f"the sum is {answer:g}, expected {expected:g}" if answer != expected else ""
    return verdict(name, node.name, f"over {size} nodes", wrong, remedy)
