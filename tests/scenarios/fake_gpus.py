"""Worker groups on a Ray that believes in six GPUs: prints which device each worker takes.

A process of its own, because the Ray that the tests share has none. CUDA and NCCL have stand-ins
in the workers: the one notes what is called, the other is gloo.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import ray

from dann_search.search import worker_group
from dann_search.search.messages import ActorCalls
from dann_search.search.ray_session import ENVIRONMENT
from dann_search.search.resources import Plan
from dann_search.search.worker_config import GroupConfig, GroupSpec, WorkerConfig
from dann_search.search.worker_group import WorkerGroup

PLANS = {
    "two slots of two workers": Plan(2, 2, 1, 1.0),
    "three slots of half a GPU": Plan(3, 1, 1, 0.5),
}


@ray.remote(num_cpus=0)
class Notes:
    """In the dispatcher's place: what each worker did, by the name of its run."""

    def __init__(self) -> None:
        self.by_run: dict[str, list[dict[str, Any]]] = {}

    async def note(self, run: str, what: dict[str, Any]) -> None:
        self.by_run.setdefault(run, []).append(what)

    async def all(self) -> dict[str, list[dict[str, Any]]]:
        return self.by_run


def join_and_tell(loop_config: dict[str, GroupConfig]) -> None:
    """In the place of ``worker_loop``: join the slot as it does, then tell how."""
    import torch
    import torch.distributed as dist

    from dann_search.search.worker import _take_seat

    calls: list[str] = []
    new_group = dist.new_group

    def new_group_without_nccl(members: list[int], **options: Any) -> Any:
        calls.append(f"new {options['backend']} group")
        return new_group(members, **{**options, "backend": "gloo"})

    torch.cuda.set_device = lambda device: calls.append(f"set {device}")
    dist.new_group = new_group_without_nccl  # type: ignore[assignment]
    config = loop_config["group"]
    seat = _take_seat(config, node="")
    ones = seat.ranks.sum_(torch.ones(1))
    told = {
        "slot": seat.slot[1],
        "rank": seat.ranks.rank,
        "device": str(seat.device),
        "visible": os.environ["CUDA_VISIBLE_DEVICES"],
        "calls": calls,
        "sum": int(ones),
    }
    config.dispatcher.ask("note", config.run, told)


def run_once(group: WorkerGroup) -> None:
    """Without the thread that would begin a run anew."""
    group.run = group.name
    group._run()


def main(logs: Path) -> None:
    os.environ.update(ENVIRONMENT)
    ray.init(
        address="local",
        num_cpus=7,
        num_gpus=6,
        include_dashboard=False,
        object_store_memory=10**8,
    )
    notes = Notes.remote()  # type: ignore[attr-defined]
    spec = GroupSpec(ActorCalls(notes), cast(WorkerConfig, None), logs)
    setattr(worker_group, "worker_loop", join_and_tell)  # noqa: B010
    groups = [WorkerGroup(spec, plan, name=name, node=None) for name, plan in PLANS.items()]
    with ThreadPoolExecutor() as threads:  # at once: it is the start of processes that takes long
        list(threads.map(run_once, groups))
    print(json.dumps(ray.get(notes.all.remote())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
