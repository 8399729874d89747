"""Check that workers can reach each other, with a sum over all nodes or GPUs."""

import contextlib
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from dann_search.cluster.doctor.nodes import ProbedNode, Silence, verdict
from dann_search.outputs.cluster import Check

LIMIT_S = 90
"""Every node imports torch first, which takes tens of seconds on a busy one."""


def check_all_reduce(
    nodes: list[ProbedNode],
    host: str,
    ask_each: Callable[..., dict[Any, Any]],
    gpus: Mapping[ProbedNode, int] | None = None,
) -> list[Check]:
    """Let every node, or every GPU of the nodes, take part in one collective.

    With the number of GPUs by node NCCL adds up over them, with one process a GPU as in training;
    else gloo adds up over the nodes, with one process a node. The processes meet at ``host``, this
    machine's address. ``ask_each`` is that of ``cluster.py``.
    """
    import torch.distributed as dist

    # The store lives until the processes are done.
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "0.0.0.0", 0, is_master=True, wait_for_workers=False
    )
    places = [(n, gpu) for n in nodes for gpu in ([None] if gpus is None else range(gpus[n]))]
    size = len(places)
    calls = {
        (node, gpu): (node, (rank, size, host, store.port, gpu, LIMIT_S))
        for rank, (node, gpu) in enumerate(places)
    }
    asked = ask_each(calls, add_up, limit_s=LIMIT_S + 30)
    del store
    backend, over = "gloo", f"over {size} nodes"
    if gpus is not None:
        where = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
        backend, over = "nccl", f"over {size} GPUs on {where}"
    return [
        _judge(node, [asked[key] for key in calls if key[0] == node], size, backend, over)
        for node in nodes
    ]


def add_up(rank: int, size: int, host: str, port: int, gpu: int | None, limit_s: int) -> float:
    """Add rank + 1 to the sum of all processes, and return the sum.

    ``gpu`` is the index of its GPU on this machine; without one it adds up on the CPU.
    """
    if gpu is not None:
        # Ray hides the GPUs from a task that reserves none.
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    import torch
    import torch.distributed as dist

    limit = timedelta(seconds=limit_s)
    store = dist.TCPStore(host, port, is_master=False, timeout=limit)  # type: ignore[attr-defined]
    device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
    if gpu is not None:
        torch.cuda.set_device(device)
    backend = "gloo" if gpu is None else "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    try:
        number = torch.tensor([rank + 1.0], device=device)
        dist.all_reduce(number)
        return float(number.item())
    finally:
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def _judge(node: ProbedNode, answers: list[Any], size: int, backend: str, over: str) -> Check:
    remedy = (
        "let the nodes reach each other on all ports (the security group's own rule), and set "
        f"{backend.upper()}_SOCKET_IFNAME to the interface between them"
    )
    expected, wrong = size * (size + 1) / 2, ""
    for answer in answers:
        if isinstance(answer, Silence):
            wrong = answer.why
            break
        if answer != expected:
            wrong = f"the sum is {answer:g}, expected {expected:g}"
    return verdict(f"{backend} all-reduce", node.name, over, wrong, remedy)
