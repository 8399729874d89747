"""The Tune run of a search: it executes what the study proposes, without a memory of its own."""

import threading
import time

from ray import tune

from dann_search.search.fleet import Fleet
from dann_search.search.trial import LightTrial
from dann_search.search.tune_adapters import (
    Bookkeeper,
    SearchStopper,
    StudyScheduler,
    StudySearcher,
)
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.budget import Budget
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer

MANY_TRIALS = 64
"""Up to so many light trials (0.12 GB each) stay on the head; more are spread over the nodes."""


def run_tune(
    folder: ExperimentFolder,
    record: StudyRecord,
    observers: list[Observer],
    fleet: Fleet,
    interrupt: threading.Event,
    budget: Budget,
) -> str:
    """Run trials until the study has no more; returns what ended it."""
    books, stopped, reasons = Bookkeeper(record, folder, observers), set[int](), dict[str, str]()
    dispatcher = fleet.spec.dispatcher
    stopper = SearchStopper(interrupt, budget, fleet)
    few = fleet.most_slots <= MANY_TRIALS
    place = {"node:__internal_head__": 0.001} if few else {"CPU": 0.001}
    trainable = tune.with_resources(
        tune.with_parameters(LightTrial, dispatcher=dispatcher),
        tune.PlacementGroupFactory([place]),
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric="f1_macro_val",
            mode="max",
            search_alg=StudySearcher(books, stopped, reasons, fleet),
            scheduler=StudyScheduler(books, stopped, reasons),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder.ray),
            name=f"tune-{int(time.time())}",
            verbose=0,
            # Tune's choice in a notebook clears the cell's output, though it has nothing to say.
            progress_reporter=tune.CLIReporter(),
            stop=stopper,
            # Tune's own retries count and give up; the searcher proposes a lost trial again.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )
    tuner.fit()
    return stopper.reason or stopper.last
