"""Write a trial's model into a folder of its own, which needs neither experiment nor Ray."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.extension_files import ExtensionFile, extension_of
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
from dann_search.outputs.models import BestModel, ChosenBy, Refit, ValidationMetrics
from dann_search.results.choose import choose, value_of
from dann_search.results.leaderboard import finished
from dann_search.results.reader import (
    check_registered,
    open_experiment,
    read_experiment,
    read_record,
    read_trials,
    use_recorded_extensions,
)
from dann_search.results.rows import TrialRow
from dann_search.storage.layout import ExperimentFolder

VERSIONS = ("dann-search", "torch", "torchvision", "scikit-learn", "numpy")


def write_best(
    experiment: ExperimentFolder | str | Path,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> BestModel:
    """Write the model of a trial's best epoch: model.safetensors, model.json and a card.

    The first trial of the leaderboard is written to ``best`` in the experiment's folder: it is the
    experiment's model. Any other is written to a folder of its own under ``models``.

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        rank: rank of the trial, from 1, the default.
        trial: number of the trial, instead of its rank.
        objective: objective to rank completed trials by, instead of the search's; see ``choose``.
        out: folder to write, instead of one in the experiment's.
        force: replace an existing model.

    Raises:
        InputError: there is no such trial, it has no model, or ``out`` exists.
        RunError: the trial's checkpoint is damaged, or its frozen weights are no longer the same.
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
    """Return where a trial's model is written: ``out``, else a folder in the experiment's.

    Raises:
        InputError: ``out`` holds something else than a model, or a model without ``force``.
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
    """Write a model; publish it on storage if it lies in the experiment's folder."""
    inside = place.is_relative_to(folder.root)
    if inside:
        folder.fetch_below(place)
    write_model(place, weights, record, extensions_of(record["backbone"]))
    if inside:
        folder.publish_below(place)
    refit = record.get("refit")
    return BestModel(
        folder=place,
        model=place / WEIGHTS,
        record=place / RECORD,
        trial=record["trial"],
        epoch=record["epoch"],
        validation=record["validation"] and ValidationMetrics(**record["validation"]),
        validation_ci95=record["validation_ci95"],
        config=TrialConfig.model_construct(**record["config"]),
        chosen_by=ChosenBy(**record["chosen_by"]),
        refit=refit and Refit(**refit),
    )


def extensions_of(backbone: str) -> tuple[ExtensionFile, ...]:
    """Return the file that a model needs: the one that defines its backbone, if a file does."""
    from dann_search.models.registry import registered

    build = registered(backbone)
    file = build and extension_of(build)
    return (file,) if file else ()


def weights_of(network: Any) -> dict[str, Any]:
    """Return the weights that classify, those of a plain network.

    Neither those that a method needs in training alone are among them, nor the source's batch-norm
    statistics where there are some: the target's are under their usual names. Low-rank adapters are
    added to the weights that they adapt.
    """
    from dann_search.models.domain_batch_norm import is_of_source
    from dann_search.models.lora import merged_state

    alone = ("discriminator.", "multilinear_map.", "method_module.")
    return {
        name: value.cpu().contiguous()
        for name, value in merged_state(network).items()
        if not name.startswith(alone) and not is_of_source(name)
    }


def rebuild(
    folder: ExperimentFolder, row: TrialRow, objective: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """Return the trial's network at its best epoch, and the content of its model.json.

    Raises:
        InputError: what a notebook registered for the search is missing, or the trial's model was
            not kept.
        RunError: the checkpoint is damaged, or frozen weights are no longer the same.
    """
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network

    use_recorded_extensions(folder)
    check_registered(folder)
    experiment = read_experiment(folder)
    config = TrialConfig(**row.config)
    path = folder.trial(row.number) / BEST
    folder.refresh(path)
    if not path.exists():
        raise InputError(_not_kept(folder, row))
    checkpoint = load_checkpoint(path)
    record = _record(folder, experiment, row, asdict(checkpoint.history[-1]))
    classes, side = len(record["class_names"]), record["preprocessing"]["image_size"]
    network = build_network(config, classes, experiment.weights, side=side)
    restore_network(network, checkpoint, path)
    by = objective or experiment.search.objective
    value = row.score if by == experiment.search.objective else value_of(row, by)
    record["chosen_by"] = {"objective": by, "value": value}
    record |= _of_packed_images(folder, network, record)
    return network, record


def _not_kept(folder: ExperimentFolder, row: TrialRow) -> str:
    from dann_search.training.checkpoint import BEST

    places = map(PurePosixPath, folder.sizes(folder.trials))
    numbers = sorted(int(place.parent.name) for place in places if place.name == BEST)
    return (
        f"{folder}: the model of trial {row.number} was not kept: a search keeps those of its best "
        f"trials (search.keep_best), and gc deletes others; there are models of trials: "
        f"{', '.join(map(str, numbers)) or 'none'}"
    )


def _record(
    folder: ExperimentFolder, experiment: ExperimentConfig, row: TrialRow, best: dict[str, Any]
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
        "extensions": {file.name: file.sha256 for file in extensions_of(config.backbone)},
        "config": config.model_dump(mode="json"),
        "searched": row.params,
        "validation": {name: best[name] for name in best if name.endswith("_val")}
        if info.target_labelled
        else None,
        "validators": best["validators"],
        "objective": experiment.search.objective,
        "seeds": {"training": config.seed, "splits": experiment.data.splits.seed},
        "domains": info.domains,
        "data": {
            "sizes": info.sizes,
            "hashes": info.hashes,
            "target_labelled": info.target_labelled,
            "few_labels": info.few_labels if config.uses_target_labels else [],
        },
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
        "crop_size": info.crop_size,
        "grey_bits": info.grey_bits,
        "transparency": info.transparency,
        "image_size": info.side_seen(spec.image_size),
        "resize": "RGB, turned as EXIF says; short side scaled to stored_size, bilinear; its "
        "centre square; of that the centre of crop_size, or all of it scaled to image_size, "
        "bilinear with antialiasing",
        "scale": "1/255",
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def _of_packed_images(
    folder: ExperimentFolder, network: Any, record: dict[str, Any]
) -> dict[str, Any]:
    """Return what a record says by the packed images: little if they are gone.

    These are 95 % intervals of the validation metrics, empty too if the target has no labels, and
    the rule by which images are rejected.
    """
    from dann_search.data.store import labels_if_any, open_groups
    from dann_search.inference.batched_logits import find_device, logits_of, stored_batches
    from dann_search.inference.model import DannModel
    from dann_search.inference.rejection import rejection_rule
    from dann_search.results.intervals import metric_intervals
    from dann_search.results.store import packed_store

    try:
        store = packed_store(folder)
    except InputError:
        return {"validation_ci95": {}, "rejection": None}
    model = DannModel(network, record).to(find_device("auto"))
    intervals: dict[str, tuple[float, float]] = {}
    if (labels := labels_if_any(store, "target", "val")) is not None:
        logits = logits_of(model, stored_batches(store, "target", "val", model.image_size))
        groups = open_groups(store, "target", "val")
        intervals = metric_intervals(labels, logits.argmax(1), len(record["class_names"]), groups)
    source = logits_of(model, stored_batches(store, "source", "val", model.image_size))
    return {"validation_ci95": intervals, "rejection": rejection_rule(source)}
