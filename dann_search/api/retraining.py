"""Trainings besides a search, from Python: compare its winner, refit its winner."""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dann_search.api.display import BaselineLines
from dann_search.config.experiment import ExperimentConfig
from dann_search.data.node_store import store_of
from dann_search.evaluation.compare import compare as compare_trained
from dann_search.evaluation.tuning import BaselineSearch, Tuning
from dann_search.inference.refit import write_refit
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import BestModel
from dann_search.results.clean_up import clean_up
from dann_search.results.reader import check_registered, open_experiment, read_search
from dann_search.search.executor import Executor, RayExecutor
from dann_search.search.interrupts import interrupted_with, interrupts
from dann_search.search.launch import search
from dann_search.search.ray_session import quiet_output, ray_session
from dann_search.search.resources import cpu_count
from dann_search.search.trainings import train_through_ray
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store, write_record
from dann_search.study.study_storage import study_place
from dann_search.tracking.packing import CountLines
from dann_search.training.job import Failures, TrainAll, TrainingJob


def compare(
    experiment: str | Path,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    tune: int | None = None,
    progress: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    scored: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Train the winner and its baselines again; score them on the target's test split.

    ::

        comparison = dann_search.compare("quickstart", seeds=5)
        print(comparison.verdict)
        comparison.to_frame()  # a pandas DataFrame, a row a method

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        methods: names of methods, as docs/compare.md lists them; by default the winner's and the
            baselines that read no label of the target which the search did not have.
        seeds: number of trainings per method.
        tune: number of trials of a search that each baseline gets of its own; none by default.
        progress: called with a line for each training that ends; standard error by default.
        stop: interrupts the trainings when it is set, as Ctrl-C does; what was trained is kept.
        scored: called with the number of trainings scored, and of all; by default ``progress`` gets
            a line every ten seconds.

    Raises:
        InputError: no trial has finished, the search is still running, a method is unknown,
            there are fewer than two seeds or less than one trial, or what a notebook registered
            is missing.
        RunError: a training failed.
    """
    folder = open_experiment(experiment)
    check_registered(folder)
    compared = partial(compare_trained, folder, methods=methods, seeds=seeds)
    if tune is None:
        # Training has a terminal of its own where no progress is asked for: its output is quiet.
        tell = progress or partial(print, file=sys.stderr)
        told = scored or CountLines(tell, "scored", things="runs")
        return compared(_through_ray(folder, progress, stop), tell=tell, scored=told)
    with quiet_output(folder.ray / "driver.log") as terminal, ExitStack() as ray:
        tell = progress or partial(print, file=terminal)
        named = f" --methods {','.join(methods)}" if methods else ""
        again = f"dann-search compare {folder}{named} --seeds {seeds} --tune {tune}"
        run = partial(search_baselines, executor=RayExecutor(), tell=tell, again=again, ray=ray)
        tuning = Tuning(tune, run, tell)
        with interrupted_with(f"interrupted; what was trained is kept; continue with: {again}"):
            told = scored or CountLines(tell, "scored", things="runs")
            return compared(_through_ray(folder, tell, stop), tuning=tuning, tell=tell, scored=told)


def search_baselines(
    searches: Sequence[BaselineSearch],
    *,
    executor: Executor,
    tell: Callable[[str], None],
    again: str,
    ray: ExitStack | None = None,
) -> None:
    """Run the searches of baselines, one after another; continue those that were begun.

    Args:
        searches: those that are done are left alone.
        executor: where trials are trained.
        tell: called with a line for each trial that ends.
        again: the command that continues after an interrupt.
        ray: where the Ray session is entered that the searches share; None starts none.

    Raises:
        KeyboardInterrupt: the user interrupted; what was trained is kept.
        RunError: a search could not run.
    """
    waiting = [one for one in searches if one.missing()]
    kept = f"what was trained is kept; continue with: {again}"
    if waiting and ray is not None:
        ray.enter_context(ray_session(cpu_count(), tell=tell, kept=kept))
    for number, one in enumerate(waiting, len(searches) - len(waiting)):
        if _search(one, executor, tell) == "interrupt":
            raise KeyboardInterrupt(
                f"interrupted: {number} of {len(searches)} searches are done; {kept}"
            )


def _search(one: BaselineSearch, executor: Executor, tell: Callable[[str], None]) -> str:
    """Run a baseline's search to its end, or until an interrupt; return what ended it."""
    folder, experiment = one.folder, one.experiment
    if not folder.record.exists():
        folder.root.mkdir(parents=True, exist_ok=True)
        write_record(experiment, folder, one.info, one.precisions)
    made = study_place(folder, experiment.search.study).exists(experiment.name)
    more = max(0, one.trials - read_search(folder).total) if made else 0
    with DriverLock(folder) as lock, interrupts(lock.stop_requested):
        outcome = search(
            experiment,
            one.space,
            folder,
            lambda _, record: BaselineLines(one.method, record, tell),
            lock,
            add_trials=more,
            executor=executor,
            store=one.store,
        )
    if outcome.stopped_by != "interrupt":
        clean_up(folder, keep=1)  # its recipe is trained anew
    return outcome.stopped_by


def refit(
    experiment: str | Path,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> BestModel:
    """Train a trial's recipe again on training and validation images; write the model.

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        rank: rank of the trial, as in ``write_best``; the best by default.
        trial: number of the trial, instead of its rank.
        objective: objective to rank by, instead of the search's.
        out: folder to write; by default ``best-refit`` in the experiment's folder for the
            first trial of the leaderboard, and a folder under ``models`` for any other.
        force: replace an existing model.
        progress: called with a line when the training ends; standard error by default.

    Raises:
        InputError: there is no such trial, ``out`` exists, or the packed images are gone.
        RunError: the training failed.
    """
    folder = open_experiment(experiment)
    check_registered(folder)
    train_all = _through_ray(folder, progress)
    return write_refit(
        folder, train_all, rank=rank, trial=trial, objective=objective, out=out, force=force
    )


def _through_ray(
    folder: ExperimentFolder,
    progress: Callable[[str], None] | None,
    stop: threading.Event | None = None,
) -> TrainAll:
    """Return a function that runs trainings of an experiment in warm worker groups."""

    def train_all(jobs: Sequence[TrainingJob], experiment: ExperimentConfig) -> Failures:
        store = store_of(folder, experiment.data, recorded_store(folder))
        return train_through_ray(
            jobs, experiment, store=store, logs=folder.ray, progress=progress, stop=stop
        )

    return train_all
