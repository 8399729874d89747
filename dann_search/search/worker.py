"""What Ray Train runs in every worker of a group: take a seat in a slot, then train."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import ray

from dann_search.search.resources import oom_kills
from dann_search.search.slot_worker import SlotWorker
from dann_search.search.watchdog import Watchdog
from dann_search.search.worker_config import GroupConfig, Seat

if TYPE_CHECKING:
    import torch

FOREVER = timedelta(days=365)
"""Idle workers wait for their chief in a collective: no limit may end that. A dead peer does."""


def worker_loop(loop_config: dict[str, GroupConfig]) -> None:
    """Train in a worker of a run until the dispatcher has no more trials for it."""
    import torch

    config = loop_config["group"]
    node = ray.get_runtime_context().get_node_id()
    if not config.dispatcher.ask("enter", config.run, node, oom_kills()):
        return
    torch.set_num_threads(config.plan.cpus_per_worker)
    seat, dispatcher = _take_seat(config, node), config.dispatcher
    place = seat.slot, seat.ranks.rank
    dispatcher.ask("seated", *place, ray.get_runtime_context().current_actor)
    watchdog = Watchdog(
        config.worker.stall_timeout_s,
        alive=partial(dispatcher.tell, "alive", *place),
        stalled=partial(dispatcher.tell, "stalled", seat.slot),
    )
    SlotWorker(config.worker, seat, dispatcher, watchdog).run()
    dispatcher.ask("left", *place)


def _take_seat(config: GroupConfig, node: str) -> Seat:
    import torch.distributed as dist
    from ray import train

    from dann_search.training.ranks import Ranks

    plan, rank = config.plan, train.get_context().get_world_rank()
    size = plan.workers_per_trial
    slot, place = divmod(rank, size)
    device = _own_device()  # before NCCL, or anything else, opens a context on another GPU
    control = work = None
    if size > 1:
        # Every worker of the run must take part in making every group, its own or not.
        for number in range(plan.slots):
            members = list(range(number * size, (number + 1) * size))
            made = dist.new_group(members, timeout=FOREVER, backend="gloo")
            worked = dist.new_group(members, backend="nccl") if plan.gpus_per_worker else made
            if number == slot:
                control, work = made, worked
    return Seat(
        slot=(config.run, slot),
        ranks=Ranks(place, size, work),
        control=Ranks(place, size, control),
        device=device,
        node=node,
    )


def _own_device() -> "torch.device":
    """Return the device that Ray reserved for this worker, and make it the current one.

    Ray Train lists the GPUs of all its workers on a node in ``CUDA_VISIBLE_DEVICES``, so that NCCL
    can connect them: ``cuda`` alone would be the first of them for every worker. What names no
    device (random states, caches) uses the current one.
    """
    import torch
    from ray.train.torch import get_device

    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
