"""The trainings of a comparison: what is trained, where it goes, and what it predicts."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.evaluation.baselines import OF_LABELS_ALONE, effective, recipe, tuned_name
from dann_search.evaluation.tuning import TunedBaseline
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import TrainingJob


@dataclass(frozen=True)
class BaselineRun:
    """One training of the comparison."""

    method: str
    seed: int
    config: TrialConfig
    folder: Path

    @property
    def name(self) -> str:
        """Name of the run in progress lines and errors."""
        return f"{self.method}, seed {self.seed}"


@dataclass(frozen=True)
class TrainingPlan:
    """Runs by method, one per seed; ``same_as`` names methods that share another method's runs.

    The tuned twin of a baseline, in ``tuned``, is a method of its own.
    """

    runs: dict[str, list[BaselineRun]]
    same_as: dict[str, str]
    tuned: dict[str, TunedBaseline]

    def baseline(self, method: str) -> str:
        """Return the baseline whose twin a method is, or the method itself."""
        return self.tuned[method].search.method if method in self.tuned else method

    @property
    def names(self) -> set[str]:
        """Every method with runs of its own or another's."""
        return {*self.runs, *self.same_as}


def plan_runs(
    folder: ExperimentFolder,
    experiment: ExperimentConfig,
    winner: TrialConfig,
    names: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    tuned: Mapping[str, TunedBaseline] = MappingProxyType({}),
    *,
    few: bool = False,
) -> TrainingPlan:
    """Plan runs of every method; of a baseline that was tuned, those of its own recipe too."""
    plan = TrainingPlan({}, {}, {tuned_name(name): one for name, one in tuned.items()})
    first: dict[Path, str] = {}
    weights = experiment.weights
    for method in names:
        recipes = {
            method: [recipe(winner, method, seed, weights, steps) for seed in seeds],
        }
        if one := tuned.get(method):
            own = [one.config.model_copy(update={"seed": seed}) for seed in seeds]
            recipes[tuned_name(method)] = own
        for name, configs in recipes.items():
            planned = partial(planned_run, folder, weights, name, method, few=few)
            runs = [planned(config) for config in configs]
            if (other := first.setdefault(runs[0].folder, name)) != name:
                plan.same_as[name] = other
            else:
                plan.runs[name] = runs
    return plan


def planned_run(
    folder: ExperimentFolder,
    weights: Mapping[str, WeightsFile],
    name: str,
    method: str,
    config: TrialConfig,
    few: bool = False,
) -> BaselineRun:
    """Return a method's run; its folder is named after everything that decides the outcome."""
    decides = effective(config, weights, few)
    trained_as = method if method in OF_LABELS_ALONE else decides.method
    digest = hashlib.sha256(decides.model_dump_json().encode()).hexdigest()[:8]
    place = folder.compare / f"{trained_as}-seed{config.seed}-{digest}"
    return BaselineRun(name, config.seed, config, place)


def jobs_of(
    experiment: ExperimentFolder, plan: TrainingPlan, stores: Mapping[str, Path], store: Path
) -> list[TrainingJob]:
    """Return a job for each planned run, after fetching what other machines have trained."""
    jobs = [
        TrainingJob(
            name=run.name,
            experiment=experiment,
            config=run.config,
            folder=run.folder,
            store=stores.get(plan.baseline(run.method), store),
            epochs=run.config.epochs,
        )
        for run in itertools.chain.from_iterable(plan.runs.values())
    ]
    for job in jobs:
        job.fetch()
    return jobs


def predict_run(run: BaselineRun, experiment: ExperimentConfig, store: Path) -> NDArray[np.int64]:
    """Predict classes of the target's test images with a run's best epoch, shape (n,)."""
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
    side = input_side(run.config, data)
    network = build_network(run.config, data.classes, experiment.weights, side=side)
    restore_network(network, load_checkpoint(run.folder / BEST), run.folder / BEST)
    normalization = spec_of(run.config.backbone, experiment.weights).normalization
    images = as_tensor(store, "target", "test")
    logits = predict_logits(
        # The memory format of training and validation, in which convolutions run fastest.
        network.to(device).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        Seen(images, side, normalization, None, device),
    )
    classes: NDArray[np.int64] = logits.argmax(1).numpy()
    return classes
