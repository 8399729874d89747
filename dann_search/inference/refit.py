"""The winner's recipe trained once more, on training and validation images together."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dann_search.config.experiment import Experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.joined_store import write_joined_store
from dann_search.errors import RunError
from dann_search.inference.best import BestModel, keep, place_for, rebuild, weights_of
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
    """Train a trial's recipe on train and val of both domains, for as long as it did best.

    Schedules are those of the recipe's epochs, of which the trial's best number is trained, from
    the trial's seed. No label of the target is used, not even to choose an epoch; the source's are,
    of both splits. The test split is not touched.

    Args:
        folder: the experiment.
        train_all: trains what is planned here; one that was cut off goes on.
        rank: which trial, as for ``write_best``.
        trial: its number instead.
        objective: another one to rank by.
        out: where to write; by default ``best-refit`` in the experiment's folder for the
            leaderboard's first, and a folder under ``models`` for any other.
        force: replace a model that is there.

    Raises:
        InputError: no such trial, ``out`` is in the way, or the data to pack anew are not here.
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
        train_all([job], experiment)  # It says so.
    else:
        with write_joined_store(packed_store(folder), job.store):
            failures = train_all([job], experiment)
        if failures:
            raise RunError(f"{job.name} failed: {failures[job.name]}")
    weights, told = _trained(job, experiment, len(record["class_names"]))
    record["refit"] = told
    return keep(folder, place, weights, record)


def _planned(
    folder: ExperimentFolder, config: TrialConfig, number: int, epochs: int
) -> TrainingJob:
    """A training of its own for every recipe and length: what was cut off is found again."""
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
    job: TrainingJob, experiment: Experiment, classes: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights after the last epoch (no label chooses one), and what model.json tells of them."""
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import load_last, restore_network

    found = load_last(job.folder)
    if found is None or len(found[0].history) != job.epochs or found[0].within:
        raise RunError(
            f"{job.folder}: not the checkpoint of a training of {job.epochs} epochs; remove the "
            "folder to train again"
        )
    checkpoint, path = found
    network = build_network(job.config, classes, experiment.weights)
    restore_network(network, checkpoint, path)
    # Where the recipe averages weights, the average is the model.
    network.load_state_dict(checkpoint.average, strict=False)
    last = asdict(checkpoint.history[-1])
    return weights_of(network), {
        "epochs": job.epochs,
        "trained_on": [
            "source train and val",
            "target train and val without labels" if job.config.adapts else "no target image",
        ],
        "validation_of_images_seen": {name: last[name] for name in last if name.endswith("_val")},
    }
