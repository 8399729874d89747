"""The best model as two files that need neither the experiment nor Ray."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.leaderboard import finished
from dann_search.results.reader import (
    TrialRow,
    open_experiment,
    read_experiment,
    read_record,
    read_trials,
)

FORMAT = 1
WEIGHTS, RECORD = "model.safetensors", "model.json"
VERSIONS = ("dann-search", "torch", "torchvision", "scikit-learn", "numpy")


@dataclass(frozen=True)
class BestModel:
    """A model written to ``folder``, and what its model.json says."""

    folder: Path
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As ``best --json`` prints it."""
        return {
            "model": str(self.folder / WEIGHTS),
            "record": str(self.folder / RECORD),
            "trial": self.record["trial"],
            "epoch": self.record["epoch"],
            "validation": self.record["validation"],
            "config": self.record["config"],
        }

    def render(self) -> Table:
        """The table people read."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_row("model", str(self.folder / WEIGHTS))
        table.add_row("trial, epoch", f"{self.record['trial']}, {self.record['epoch']}")
        for name, value in self.record["validation"].items():
            table.add_row(f"{name} (target val)", f"{value:.3f}")
        for name, value in self.record["searched"].items():
            table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
        return table


def choose(
    rows: list[TrialRow], folder: ExperimentFolder, rank: int, trial: int | None
) -> TrialRow:
    """The trial of a rank, or of a number.

    Raises:
        InputError: there is no such trial with a model.
    """
    candidates = finished(rows)
    if trial is not None:
        found = [row for row in rows if row.number == trial]
        if not found:
            raise InputError(f"{folder.root}: no trial {trial}; there are 0 to {len(rows) - 1}")
        if found[0].f1_macro_val is None:
            raise InputError(f"{folder.root}: trial {trial} is {found[0].state} and has no model")
        return found[0]
    if not candidates:
        raise InputError(
            f"{folder.root}: no trial has finished yet; see dann-search status {folder.root}"
        )
    if rank > len(candidates):
        raise InputError(f"{folder.root}: rank {rank} of {len(candidates)} finished trials")
    return candidates[rank - 1]


def write_best(
    experiment: ExperimentFolder | str | Path,
    *,
    rank: int = 1,
    trial: int | None = None,
    out: Path | None = None,
) -> BestModel:
    """Write a trial's best epoch as model.safetensors and model.json.

    Args:
        experiment: the experiment.
        rank: 1 for the best trial.
        trial: a trial's number, instead of a rank.
        out: where to write; ``best`` in the experiment's folder by default.

    Raises:
        InputError: no such trial, or it has no model.
        RunError: its checkpoint is damaged or its frozen weights are no longer the same.
    """
    from safetensors.torch import save

    from dann_search.training.checkpoint import BEST, write_atomically

    folder = experiment if isinstance(experiment, ExperimentFolder) else open_experiment(experiment)
    row = choose(read_trials(folder), folder, rank, trial)
    network, record = _rebuild(folder, row, folder.trial(row.number) / BEST)
    target = (out or folder.best).expanduser().resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.contiguous()
            for name, value in network.state_dict().items()
            if not name.startswith(("discriminator.", "multilinear_map."))
        }
        # The weights first: a record never describes a file that is not there yet.
        write_atomically(target / WEIGHTS, save(state))
        write_atomically(target / RECORD, json.dumps(record, indent=1).encode())
    except OSError as exc:
        raise InputError(f"{target}: cannot be written: {exc.strerror}") from None
    return BestModel(target, record)


def _rebuild(folder: ExperimentFolder, row: TrialRow, path: Path) -> tuple[Any, dict[str, Any]]:
    """The trial's network at its best epoch, and its record."""
    from dann_search.data.store import StoreInfo
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import load_checkpoint, restore_network

    experiment, content = read_experiment(folder), read_record(folder)
    info = StoreInfo(**content["data"])
    config = TrialConfig(**row.config)
    network = build_network(config, len(info.class_names), experiment.weights)
    checkpoint = load_checkpoint(path)
    restore_network(network, checkpoint, path)
    best = asdict(checkpoint.history[-1])
    return network, {
        "format": FORMAT,
        "experiment": experiment.name,
        "trial": row.number,
        "epoch": best["epoch"],
        "class_names": info.class_names,
        "preprocessing": _preprocessing(config, info, experiment.weights),
        "backbone": config.backbone,
        "config": config.model_dump(mode="json"),
        "searched": row.params,
        "validation": {name: best[name] for name in best if name.endswith("_val")},
        "validators": best["validators"],
        "objective": experiment.search.objective,
        "seeds": {"training": config.seed, "splits": experiment.data.splits.seed},
        "domains": info.domains,
        "data": {"sizes": info.sizes, "hashes": info.hashes},
        "versions": {
            **{name: importlib.metadata.version(name) for name in VERSIONS},
            "python": platform.python_version(),
        },
    }


def _preprocessing(
    config: TrialConfig, info: Any, weights: Mapping[str, WeightsFile]
) -> dict[str, Any]:
    from dann_search.models.registry import spec_of

    spec = spec_of(config.backbone, weights)
    return {
        "image_size": info.image_size if info.fixed_size else spec.image_size,
        "resize": "RGB; short side scaled to image_size, bilinear; centre crop",
        "scale": "1/255",
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
