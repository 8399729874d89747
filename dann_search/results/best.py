"""A trial's model in a folder of its own, which needs neither the experiment nor Ray."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.config.experiment import Experiment, WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError, nearest
from dann_search.layout import ExperimentFolder
from dann_search.results.leaderboard import finished
from dann_search.results.model_files import FORMAT, RECORD, WEIGHTS, write_model
from dann_search.results.reader import (
    TrialRow,
    open_experiment,
    read_experiment,
    read_record,
    read_trials,
)
from dann_search.training.result import F1_MACRO

VERSIONS = ("dann-search", "torch", "torchvision", "scikit-learn", "numpy")


@dataclass(frozen=True)
class BestModel:
    """A model written to ``folder``, and what its model.json says."""

    folder: Path
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As ``best --json`` prints it."""
        return {
            "folder": str(self.folder),
            "model": str(self.folder / WEIGHTS),
            "record": str(self.folder / RECORD),
            **{
                name: self.record[name]
                for name in ("trial", "epoch", "validation", "validation_ci95", "config")
            },
            "chosen_by": self.record["chosen_by"],
            "refit": self.record.get("refit"),
        }

    def render(self) -> Group:
        """The table people read."""
        model = Text(str(self.folder / WEIGHTS), no_wrap=True, overflow="ignore")
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_row("trial, epoch", f"{self.record['trial']}, {self.record['epoch']}")
        ends = self.record["validation_ci95"]
        for name, value in self.record["validation"].items():
            interval = ends.get(name.removesuffix("_val"))
            shown = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
            table.add_row(f"{name} (target val)", f"{value:.3f}{shown}")
        for name, value in self.record["searched"].items():
            table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
        return Group(model, table, *map(Text, self._notes()))

    def _notes(self) -> list[str]:
        notes, chosen = [], self.record["chosen_by"]
        if chosen["objective"] != self.record["objective"]:
            notes.append(
                f"chosen by {chosen['objective']} {chosen['value']:.4g}; its epoch is the one that "
                f"{self.record['objective']}, the search's objective, chose"
            )
        if refit := self.record.get("refit"):
            notes.append(
                f"trained again for {refit['epochs']} epochs on {', '.join(refit['trained_on'])}; "
                "the metrics are those of the search's model, it has seen the images they were "
                "measured on"
            )
        return notes


def choose(
    rows: list[TrialRow],
    folder: ExperimentFolder,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
) -> TrialRow:
    """The trial of a rank (the first by default), or of a number.

    Args:
        rows: every trial.
        folder: of the experiment, for messages.
        rank: 1 for the best.
        trial: a number instead.
        objective: ranks completed trials by the value that ``f1_macro`` or a validator has at
            their best epoch, instead of as the leaderboard does.

    Raises:
        InputError: there is no such trial with a model, or no such objective.
    """
    if trial is not None:
        if rank is not None or objective is not None:
            other = "--rank" if rank is not None else "--objective"
            raise InputError(f"--trial {trial} names the one trial: leave out {other}")
        return _numbered(rows, folder, trial)
    candidates = finished(rows)
    if not candidates:
        raise InputError(
            f"{folder.root}: no trial has finished yet; see dann-search status {folder.root}"
        )
    if objective is not None:
        candidates = _by_objective(candidates, folder, objective)
    rank = rank or 1
    if rank > len(candidates):
        raise InputError(f"{folder.root}: rank {rank} of {len(candidates)} finished trials")
    return candidates[rank - 1]


def _numbered(rows: list[TrialRow], folder: ExperimentFolder, trial: int) -> TrialRow:
    found = [row for row in rows if row.number == trial]
    if not found:
        raise InputError(f"{folder.root}: no trial {trial}; there are 0 to {len(rows) - 1}")
    if found[0].f1_macro_val is None:
        raise InputError(f"{folder.root}: trial {trial} is {found[0].state} and has no model")
    return found[0]


def _by_objective(
    candidates: Sequence[TrialRow], folder: ExperimentFolder, objective: str
) -> list[TrialRow]:
    known = {F1_MACRO, *(name for row in candidates for name in row.validators)}
    if objective not in known:
        raise InputError(f"--objective: unknown '{objective}'; {nearest(objective, known)}")
    if objective == read_experiment(folder).search.objective:
        return list(candidates)  # The leaderboard's order, which knows of confirmations too.
    valued = [(value_of(row, objective), row) for row in candidates if row.state == "completed"]
    having = [(value, row) for value, row in valued if value is not None]
    if not having:
        raise InputError(f"{folder.root}: no completed trial has a value of {objective}")
    return [row for _, row in sorted(having, key=lambda pair: (-pair[0], pair[1].number))]


def value_of(row: TrialRow, objective: str) -> float | None:
    """A trial's value of ``f1_macro`` or a validator at its best epoch."""
    return row.f1_macro_val if objective == F1_MACRO else row.validators.get(objective)


def write_best(
    experiment: ExperimentFolder | str | Path,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: Path | None = None,
) -> BestModel:
    """Write a trial's best epoch: model.safetensors, model.json and a card.

    Args:
        experiment: the experiment.
        rank: 1, by default, for the best trial.
        trial: a trial's number, instead of a rank.
        objective: ranks completed trials by another one than the search's; see ``choose``.
        out: where to write; ``best`` in the experiment's folder by default.

    Raises:
        InputError: no such trial, or it has no model.
        RunError: its checkpoint is damaged or its frozen weights are no longer the same.
    """
    folder = experiment if isinstance(experiment, ExperimentFolder) else open_experiment(experiment)
    row = choose(read_trials(folder), folder, rank, trial, objective)
    network, record = rebuild(folder, row, objective)
    target = folder.best if out is None else out.expanduser().resolve()
    if out is None:
        folder.fetch_below(target)
    write_model(target, weights_of(network), record)
    if out is None:
        folder.publish_below(target)
    return BestModel(target, record)


def weights_of(network: Any) -> dict[str, Any]:
    """The state of what classifies; the discriminator has done its work."""
    return {
        name: value.cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith(("discriminator.", "multilinear_map."))
    }


def rebuild(
    folder: ExperimentFolder, row: TrialRow, objective: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """The trial's network at its best epoch, and what its model.json is to say.

    Raises:
        RunError: as ``write_best``.
    """
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network

    experiment = read_experiment(folder)
    config = TrialConfig(**row.config)
    path = folder.trial(row.number) / BEST
    folder.fetch(path)
    checkpoint = load_checkpoint(path)
    classes = len(read_record(folder)["data"]["class_names"])
    network = build_network(config, classes, experiment.weights)
    restore_network(network, checkpoint, path)
    record = _record(folder, experiment, row, asdict(checkpoint.history[-1]))
    by = objective or experiment.search.objective
    value = row.score if by == experiment.search.objective else value_of(row, by)
    record["chosen_by"] = {"objective": by, "value": value}
    record["validation_ci95"] = _validation_intervals(folder, network, record)
    return network, record


def _record(
    folder: ExperimentFolder, experiment: Experiment, row: TrialRow, best: dict[str, Any]
) -> dict[str, Any]:
    from dann_search.data.store import StoreInfo

    info = StoreInfo(**read_record(folder)["data"])
    config = TrialConfig(**row.config)
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "trial": row.number,
        "epoch": best["epoch"],
        "class_names": info.class_names,
        "preprocessing": _preprocessing(config, info, experiment.weights),
        "temperature": 1.0,
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


def _validation_intervals(
    folder: ExperimentFolder, network: Any, record: dict[str, Any]
) -> dict[str, list[float]]:
    """95 % intervals of the validation metrics, in one more pass; none without the images."""
    from dann_search.data.store import open_labels
    from dann_search.results.inference import find_device, logits_of, stored_batches
    from dann_search.results.model import DannModel
    from dann_search.results.scoring import score
    from dann_search.results.store import packed_store

    try:
        store = packed_store(folder)
    except InputError:
        return {}
    model = DannModel(network, record).to(find_device("auto"))
    logits = logits_of(model, stored_batches(store, "target", "val", model.image_size))
    labels = open_labels(store, "target", "val")
    result = score(labels, logits.argmax(1), record["class_names"], "val")
    return {name: list(ends) for name, ends in result.ci95.items()}
