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
from dann_search.errors import InputError
from dann_search.inference.model_files import (
    FORMAT,
    PLACE,
    RECORD,
    WEIGHTS,
    check_place,
    write_model,
)
from dann_search.results.choose import choose, value_of
from dann_search.results.leaderboard import finished
from dann_search.results.reader import (
    TrialRow,
    open_experiment,
    read_experiment,
    read_record,
    read_trials,
)
from dann_search.storage.layout import ExperimentFolder

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
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            table.add_row(name, Text(shown))
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


def write_best(
    experiment: ExperimentFolder | str | Path,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> BestModel:
    """Write a trial's best epoch: model.safetensors, model.json and a card.

    The leaderboard's first goes into ``best`` in the experiment's folder, and it alone: that is the
    model that the experiment stands for. Any other has a folder of its own under ``models``.

    Args:
        experiment: the experiment.
        rank: 1, by default, for the best trial.
        trial: a trial's number, instead of a rank.
        objective: ranks completed trials by another one than the search's; see ``choose``.
        out: another folder to write.
        force: replace a model that is there.

    Raises:
        InputError: no such trial, it has no model, or ``out`` is in the way.
        RunError: its checkpoint is damaged or its frozen weights are no longer the same.
    """
    folder = experiment if isinstance(experiment, ExperimentFolder) else open_experiment(experiment)
    rows = read_trials(folder)
    row = choose(rows, folder, rank, trial, objective)
    place = place_for(row, rows, folder, out, force)
    network, record = rebuild(folder, row, objective)
    return keep(folder, place, weights_of(network), record)


def place_for(
    row: TrialRow,
    rows: Sequence[TrialRow],
    folder: ExperimentFolder,
    out: str | Path | None,
    force: bool,
    *,
    refit: bool = False,
) -> Path:
    """Where a trial's model goes: the folder that the user names, else one of the experiment's.

    Raises:
        InputError: what is in the folder named is no model, or one that is not to be replaced.
    """
    if out is not None:
        place = Path(out).expanduser().resolve()
        check_place(place, "model", force)
        return place
    if row not in finished(rows)[:1]:
        return folder.trial_model(row.number, refit)
    return folder.best_refit if refit else folder.best


def keep(
    folder: ExperimentFolder, place: Path, weights: Mapping[str, Any], record: dict[str, Any]
) -> BestModel:
    """Write a model, on storage too where it lies in the experiment's folder."""
    inside = place.is_relative_to(folder.root)
    if inside:
        folder.fetch_below(place)
    write_model(place, weights, record)
    if inside:
        folder.publish_below(place)
    return BestModel(place, record)


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
        PLACE: folder.url or str(folder.root.resolve()),
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
        "stored_size": info.image_size,
        "image_size": info.image_size if info.fixed_size else spec.image_size,
        "resize": "RGB, turned as EXIF says; short side scaled to stored_size, bilinear; centre "
        "crop; the square scaled to image_size, bilinear with antialiasing",
        "scale": "1/255",
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def _validation_intervals(
    folder: ExperimentFolder, network: Any, record: dict[str, Any]
) -> dict[str, list[float]]:
    """95 % intervals of the validation metrics, in one more pass; none without the images."""
    from sklearn.metrics import confusion_matrix

    from dann_search.data.store import open_labels
    from dann_search.inference.batched_logits import find_device, logits_of, stored_batches
    from dann_search.inference.model import DannModel
    from dann_search.results.intervals import metric_intervals
    from dann_search.results.store import packed_store

    try:
        store = packed_store(folder)
    except InputError:
        return {}
    model = DannModel(network, record).to(find_device("auto"))
    logits = logits_of(model, stored_batches(store, "target", "val", model.image_size))
    labels = open_labels(store, "target", "val")
    classes = range(len(record["class_names"]))
    confusion = confusion_matrix(labels, logits.argmax(1), labels=classes)
    return {name: list(ends) for name, ends in metric_intervals(confusion).items()}
