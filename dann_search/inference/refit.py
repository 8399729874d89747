"""Train the winner's recipe once more, on training and validation images together."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.derived_store import write_joined_store
from dann_search.errors import RunError
from dann_search.inference.best import keep, place_for, rebuild, weights_of
from dann_search.outputs.models import BestModel, Refit, ValidationMetrics
from dann_search.results.choose import choose
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import TrainAll, TrainingJob


def write_refit(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> BestModel:
    """Train a trial's recipe on train and val of both domains, up to its best epoch.

    The schedules are those of the whole recipe, from the trial's seed. No target label is used,
    not even to choose an epoch; source labels of both splits are. The test split is not touched.
    ``train_all`` resumes a training that was cut off. The other arguments are those of
    ``write_best``, but the first trial of the leaderboard is written to ``best-refit``.

    Raises:
        InputError: there is no such trial, ``out`` exists, or the packed images are gone and the
            data to pack them from are not on this machine.
        RunError: the training failed.
    """
    experiment = read_experiment(folder)
    rows = read_trials(folder)
    row = choose(rows, folder, rank, trial, objective)
    place = place_for(row, rows, folder, out, force, refit=True)
    _, record = rebuild(folder, row, objective)
    job = _planned(folder, TrialConfig(**row.config), row.number, record["epoch"])
    job.fetch()
    if job.is_done:
        train_all([job], experiment)  # reports that it is done
    else:
        with write_joined_store(packed_store(folder), job.store):
            failures = train_all([job], experiment)
        if failures:
            raise RunError(f"{job.name} failed: {failures[job.name]}")
    few = sum(record["data"]["few_labels"])
    classes, side = len(record["class_names"]), record["preprocessing"]["image_size"]
    weights, refit = _trained(job, experiment, classes, side, few)
    record["refit"] = refit.model_dump()
    record["rejection"] = None  # no image of the source is left that it was not trained on
    return keep(folder, place, weights, record)


def _planned(
    folder: ExperimentFolder, config: TrialConfig, number: int, epochs: int
) -> TrainingJob:
    """Plan the training; recipe and length name its folder, so that a cut-off one is found."""
    recipe = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return TrainingJob(
        name=f"trial {number} on train and val, {epochs} epochs",
        experiment=folder,
        config=config,
        folder=folder.refit / f"trial{number}-epochs{epochs}-{recipe}",
        store=folder.refit / "data",
        epochs=epochs,
    )


def _trained(
    job: TrainingJob, experiment: ExperimentConfig, classes: int, side: int, few: int
) -> tuple[dict[str, Any], Refit]:
    """Return the weights after the last epoch, which no label chose, and their description."""
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import load_last, restore_network

    found = load_last(job.folder)
    if found is None or len(found[0].history) != job.epochs or found[0].within:
        raise RunError(
            f"{job.folder}: not the checkpoint of a training of {job.epochs} epochs; remove the "
            "folder to train again"
        )
    checkpoint, path = found
    network = build_network(job.config, classes, experiment.weights, side=side)
    restore_network(network, checkpoint, path)
    # If the recipe averages weights, the average is the model.
    network.load_state_dict(checkpoint.average, strict=False)
    last = asdict(checkpoint.history[-1])
    names = ValidationMetrics.model_fields
    measured = {name: last[name] for name in names if last[name] is not None}
    adapted = "target train and val without labels" if job.config.adapts else "no target image"
    if few:
        labelled = f"{few} labelled images of target train"
        adapted = f"{adapted} but {labelled}" if job.config.adapts else labelled
    return weights_of(network), Refit(
        epochs=job.epochs,
        trained_on=["source train and val", adapted],
        validation_of_images_seen=ValidationMetrics(**measured) if measured else None,
    )
