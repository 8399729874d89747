"""The trainings of a comparison: what is trained, where it goes, and what it predicts."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.evaluation.baselines import OF_LABELS_ALONE, TUNED, effective, recipe
from dann_search.evaluation.tuning import TunedBaseline
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import TrainingJob


@dataclass(frozen=True)
class TrainingPlan:
    """Trainings by method, one per seed.

    Attributes:
        runs: of every method; the tuned twin of a baseline is a method of its own.
        same_as: methods whose runs are those of another one.
        tuned: what the searches of tuned twins have found, by twin.
    """

    runs: dict[str, list[TrainingJob]]
    same_as: dict[str, str]
    tuned: dict[str, TunedBaseline]

    def jobs(self) -> list[TrainingJob]:
        """Return each training once, after fetching what other machines have trained."""
        own = (self.runs[name] for name in self.runs if name not in self.same_as)
        jobs = list(itertools.chain.from_iterable(own))
        for job in jobs:
            job.fetch()
        return jobs


def plan_runs(
    folder: ExperimentFolder,
    experiment: ExperimentConfig,
    winner: TrialConfig,
    names: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    store: Path,
    others: Mapping[str, Path] = MappingProxyType({}),
    tuned: Mapping[str, TunedBaseline] = MappingProxyType({}),
    *,
    few: bool = False,
) -> TrainingPlan:
    """Plan runs of every method; of a baseline that was tuned, those of its own recipe too.

    A run's folder is named after everything that decides its outcome. ``steps`` are those of a
    whole training, ``others`` the packed images of methods that do not train on ``store``. ``few``
    says whether some of the target's training images have labels to train on.
    """
    plan = TrainingPlan({}, {}, {name + TUNED: one for name, one in tuned.items()})
    first: dict[Path, str] = {}

    def add(name: str, method: str, recipes: Iterable[TrialConfig]) -> None:
        jobs = []
        for config in recipes:
            decides = effective(config, experiment.weights, few)
            trained_as = method if method in OF_LABELS_ALONE else decides.method
            digest = hashlib.sha256(decides.model_dump_json().encode()).hexdigest()[:8]
            jobs.append(
                TrainingJob(
                    name=f"{name}, seed {config.seed}",
                    experiment=folder,
                    config=config,
                    folder=folder.compare / f"{trained_as}-seed{config.seed}-{digest}",
                    store=others.get(method, store),
                    epochs=config.epochs,
                )
            )
        if (other := first.setdefault(jobs[0].folder, name)) != name:
            plan.same_as[name] = other
        plan.runs[name] = plan.runs.get(other, jobs)

    for method in names:
        inherited = (recipe(winner, method, seed, experiment.weights, steps) for seed in seeds)
        add(method, method, inherited)
        if one := tuned.get(method):
            own = (one.config.model_copy(update={"seed": seed}) for seed in seeds)
            add(method + TUNED, method, own)
    return plan


def predict_run(
    config: TrialConfig, folder: Path, experiment: ExperimentConfig, store: Path
) -> NDArray[np.int64]:
    """Predict classes of the target's test images with a training's best epoch, shape (n,)."""
    import torch

    from dann_search.data.training_data import as_tensor, open_training_data
    from dann_search.data.views import Seen
    from dann_search.inference.batched_logits import find_device
    from dann_search.models.build import build_network
    from dann_search.models.registry import spec_of
    from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
    from dann_search.training.epoch_steps import input_side
    from dann_search.training.predict import predict_logits

    data = open_training_data(store)
    device = find_device("auto")
    side = input_side(config, data)
    network = build_network(config, data.classes, experiment.weights, side=side)
    restore_network(network, load_checkpoint(folder / BEST), folder / BEST)
    normalization = spec_of(config.backbone, experiment.weights).normalization
    images = as_tensor(store, "target", "test")
    logits = predict_logits(
        # The memory format of training and validation, in which convolutions run fastest.
        network.to(device).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        Seen(images, side, normalization, None, device),
    )
    classes: NDArray[np.int64] = logits.argmax(1).numpy()
    return classes
