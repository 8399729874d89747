"""Several workers train as one does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing.spawn import spawn

from dann_search.models.backbone import BATCH_NORM
from dann_search.models.build import build_network
from dann_search.training.checkpoint import LAST, load_checkpoint
from dann_search.training.ema import WeightAverage
from dann_search.training.ranks import ALONE, Ranks
from tests.training.recipes import metrics, recipe, run, tiny_data

WITHOUT_STATISTICS = {"batch_norm": "frozen", "bottleneck": 0}
TOLERANCE = 1e-4
"""Sums of float32 in another order, over a few dozen steps."""


@given(count=st.integers(0, 1000), size=st.integers(1, 16))
def test_shares_are_disjoint_complete_and_nearly_equal(count: int, size: int) -> None:
    shares = [Ranks(rank, size).share(count) for rank in range(size)]
    rows = [row for share in shares for row in range(count)[share]]
    assert rows == list(range(count))
    lengths = [share.stop - share.start for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_alone_there_is_nothing_to_exchange() -> None:
    tensor = torch.ones(3)
    assert ALONE.is_chief
    assert ALONE.sum_(tensor) is tensor
    assert ALONE.gather_rows(tensor, 3) is tensor


def worker(rank: int, size: int, folder: str, recipes: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting-point", rank=rank, world_size=size
    )
    ranks = Ranks(rank, size, dist.group.WORLD)
    # An odd number of validation images: shares differ.
    data = tiny_data(val=25)
    for number, changes in enumerate(recipes):
        history = run(recipe(**changes), data, Path(folder) / str(number), ranks=ranks)
        told = Path(folder) / f"{number}.{rank}.json"
        told.write_text(json.dumps(metrics(history)))
    told = Path(folder) / f"statistics.{rank}.json"
    told.write_text(json.dumps(averaged_statistics(ranks)))
    told = Path(folder) / f"average.{rank}.json"
    told.write_text(json.dumps(statistics_of_an_average(ranks)))
    dist.barrier()
    dist.destroy_process_group()
    # Torn down in the ordinary way, one process in eight is aborted by a thread of torch's own
    # after all its work is done (torch 2.13, seen under load). Ray ends its workers this way too.
    os._exit(0)


def averaged_statistics(ranks: Ranks) -> list[float]:
    """Running means after averaging: of a frozen stage, and of a trained one for each domain."""
    network = build_network(recipe(unfrozen_depth=1, batch_norm="domain"), 3).train()
    norms = [m for m in network.backbone.modules() if isinstance(m, BATCH_NORM)]
    means = [norms[0].get_buffer("running_mean"), norms[-1].get_buffer("running_mean")]
    means.append(norms[-1].get_buffer("source_running_mean"))
    for mean in means:
        mean.fill_(float(ranks.rank))
    ranks.average_statistics(network)
    return [float(mean[0]) for mean in means]


def statistics_of_an_average(ranks: Ranks) -> list[float]:
    """A running mean of the averaged weights, after one step; and of the weights themselves."""
    network = build_network(recipe(), 3).train()
    name = next(key for key in network.state_dict() if key.endswith("running_mean"))
    mean = network.state_dict()[name]
    mean.fill_(float(ranks.rank))
    average = WeightAverage(network, 0.9)
    average.update(1)
    average.average_statistics(ranks)
    return [float(average.average[name][0]), float(mean[0])]


def test_two_workers_train_as_one_does(tmp_path: Path) -> None:
    """Equal where no batch statistics are taken; with them each worker takes its own."""
    recipes: list[dict[str, Any]] = [
        WITHOUT_STATISTICS,
        {**WITHOUT_STATISTICS, "epochs": 2, "method": "source_only", "batch_size": 10},
        {"batch_norm": "separate", "epochs": 2, "unfrozen_depth": 2},
        {"batch_norm": "domain", "epochs": 2, "unfrozen_depth": 2},
        {**WITHOUT_STATISTICS, "epochs": 1, "method": "mdd", "extra": "afn", "extra_weight": 0.05},
        {**WITHOUT_STATISTICS, "epochs": 1, "method": "mcd", "ema_decay": 0.5},
        {**WITHOUT_STATISTICS, "epochs": 2, "pseudo_labels": 0.5, "pseudo_label_weight": 1.0},
        {**WITHOUT_STATISTICS, "epochs": 1, "discriminator_norm": "spectral",
         "discriminator_gradient_penalty": 2.0, "discriminator_lr_factor": 0.5},
        {"batch_norm": "separate", "epochs": 1, "method": "cdan_e", "extra": "jan",
         "discriminator_norm": "batch"},
    ]  # fmt: skip
    spawn(worker, (2, str(tmp_path), recipes), nprocs=2)  # type: ignore[no-untyped-call]
    for rank in (0, 1):
        statistics = json.loads((tmp_path / f"statistics.{rank}.json").read_text())
        # Moving statistics are averaged, frozen ones left as they are.
        assert statistics == [rank, 0.5, 0.5]
        # So are those of a moving average of the weights: both validate one network.
        assert json.loads((tmp_path / f"average.{rank}.json").read_text()) == [0.5, rank]
    for number, changes in enumerate(recipes):
        chief, other = (
            json.loads((tmp_path / f"{number}.{rank}.json").read_text()) for rank in (0, 1)
        )
        assert chief == other
        assert len(chief) == recipe(**changes).epochs
        if changes["batch_norm"] in ("separate", "domain"):
            continue
        alone = metrics(run(recipe(**changes), tiny_data(val=25), tmp_path / f"alone-{number}"))
        for mine, theirs in zip(chief, alone, strict=True):
            for name, value in theirs.items():
                # Importance weights are a ratio of small numbers: they magnify the difference.
                tolerance = 100 * TOLERANCE if name == "validators" else TOLERANCE
                close = value and pytest.approx(value, abs=tolerance, rel=tolerance)
                assert mine[name] == close, name
        together = load_checkpoint(tmp_path / str(number) / LAST).model
        for name, value in load_checkpoint(tmp_path / f"alone-{number}" / LAST).model.items():
            torch.testing.assert_close(together[name], value, atol=TOLERANCE, rtol=TOLERANCE)
