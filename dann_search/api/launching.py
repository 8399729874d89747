"""A search from Python: launched, resumed, and what it leaves for everyone who comes after."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from dann_search.config.experiment import Experiment
from dann_search.config.load import (
    experiment_of,
    parse_experiment,
    read_source,
    recorded_experiment,
    recorded_source,
)
from dann_search.config.source import SourceFile
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.data.store import StoreInfo
from dann_search.errors import RunError
from dann_search.inference.best import write_best
from dann_search.models.registry import stage_counts
from dann_search.results.confirmation import Confirmation, confirmation_of
from dann_search.results.leaderboard import best_to_json, finished, write_csv
from dann_search.results.reader import (
    TrialRow,
    open_experiment,
    read_experiment,
    read_record,
    read_trials,
)
from dann_search.results.warm_start import known_trials
from dann_search.search.checks import check_search, remarks
from dann_search.search.executor import RayExecutor
from dann_search.search.interrupts import interrupted_with, interrupts
from dann_search.search.launch import MakeObserver, Outcome, prepare, search
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.budget import in_words
from dann_search.study.record import check_unchanged, recorded_store
from dann_search.study.study_storage import study_place
from dann_search.tracking.packing import packing_progress
from dann_search.tracking.progress import LiveTable, NotebookTable, PlainLines, SearchProgress
from dann_search.training.result import F1_MACRO

NOT_CHANGED: dict[str, str] = {
    "name": "it is what the search began with",
    "data": "it is what the search began with",
    "storage": "the experiment lies where it lies; move its folder",
    "search.study": "that is where the trials are that were searched",
    "search.trials": "more are searched with --add-trials",
}
"""What a resume does not override, and why, or how else."""


@dataclass(frozen=True)
class SearchResult:
    """How a search ended and the best trial of the experiment, if any finished."""

    outcome: Outcome
    best: TrialRow | None
    objective: str = F1_MACRO
    why: str = ""
    """What stopped the search, in words."""
    confirmation: Confirmation | None = None
    """How far the finalists were trained again, where they are to be."""

    def to_json(self) -> dict[str, Any]:
        """As ``launch --json`` prints it."""
        counts, best = self.outcome.counts, self.best
        return {
            "experiment": str(self.outcome.folder),
            "trials": {
                "completed": counts.completed,
                "pruned": counts.pruned,
                "failed": counts.failed,
            },
            "objective": self.objective,
            "best": best and best_to_json(best),
            "confirmation": self.confirmation and self.confirmation.to_json(),
            "elapsed_s": round(self.outcome.elapsed_s, 2),
            "stopped_by": self.outcome.stopped_by,
        }


def launch(
    space: str | Path | Mapping[str, Any],
    *,
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    sets: Sequence[str] = (),
    address: str = "local",
    plain: bool | None = None,
) -> SearchResult:
    """Validate an experiment, run its search and write its best model.

    Args:
        space: the YAML file, or its content as a dict; a dict's paths are relative to the working
            folder.
        name: of the experiment; the file's by default.
        storage: folder of experiments, or its URL.
        trials: overrides the file's number of trials.
        sets: overrides such as ``"training.epochs=5"``.
        address: of the Ray cluster: ``local`` for one of its own on this machine, ``auto`` for the
            one this machine is in, or ``HOST:PORT``.
        plain: lines rather than a live table; by default where there is neither terminal nor
            notebook.

    Raises:
        InputError: bad input; nothing was started.
        RunError: the search could not run, or every trial failed.
    """
    plain = not _is_live() if plain is None else plain
    source = read_source(
        space if isinstance(space, Mapping) else Path(space),
        sets=sets,
        name=name,
        storage=storage,
        trials=trials,
    )
    with source.placing():
        experiment, found = experiment_of(source, stage_counts())
        known = known_trials(experiment)
        console = Console(stderr=True, force_jupyter=False, markup=False, emoji=False)
        with packing_progress(console, plain=plain or _is_notebook()) as progress:
            folder = prepare(experiment, found, progress, known, address)
        return _run(experiment, found, folder, known=known, address=address, plain=plain)


def resume(
    experiment: str | Path,
    *,
    add_trials: int = 0,
    sets: Sequence[str] = (),
    allow_wider_space: bool = False,
    address: str = "local",
    plain: bool | None = None,
) -> SearchResult:
    """Go on with a search: unfinished trials from their checkpoints, then new ones.

    Args:
        experiment: its folder, or its name under ``runs``.
        add_trials: search so many more.
        sets: overrides such as ``"search.budget.hours=4"``, kept in the experiment's record.
        allow_wider_space: accept ranges that only grew.
        address: as of ``launch``; another one than before will do.
        plain: as of ``launch``.

    Raises:
        InputError: no experiment there, one that is running, or one that is another now.
        RunError: as ``launch``.
    """
    folder = open_experiment(experiment)
    source = recorded_source(folder.record, read_record(folder)["experiment"], sets)
    with source.placing():
        content, space = recorded_experiment(source, stage_counts())
        if sets:
            _check_not_changed(folder, content, source)
        check_unchanged(folder)
        made = study_place(folder, content.search.study).exists(content.name)
        # Without a study the launch was cut off before it made one.
        known = () if made else known_trials(content)
        check_search(content, space, known, address)
        return _run(
            content,
            space,
            folder,
            add_trials=add_trials,
            known=known,
            allow_wider=allow_wider_space,
            address=address,
            plain=not _is_live() if plain is None else plain,
        )


def _check_not_changed(folder: ExperimentFolder, now: Experiment, source: SourceFile) -> None:
    recorded = recorded_source(folder.record, read_record(folder)["experiment"], ())
    before = parse_experiment(recorded, stage_counts())
    for key, why in NOT_CHANGED.items():
        value = attrgetter(key)
        if value(before) != value(now):
            raise source.error(tuple(key.split(".")), f"cannot change: {why}")


def _run(
    experiment: Experiment,
    space: Space,
    folder: ExperimentFolder,
    *,
    add_trials: int = 0,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    address: str = "local",
    plain: bool,
) -> SearchResult:
    info = recorded_store(folder)
    objective = experiment.search.objective
    header = _header(info, objective, remarks(experiment, space, known, address))
    observer = _observer(space, plain, objective, header)
    # The lock is held until the results are there: the next driver writes its own.
    go_on = f"interrupted; go on with: dann-search resume {folder}"
    with interrupted_with(go_on), DriverLock(folder) as lock:
        # To the end of writing the results, which takes seconds: none is left half-written.
        with interrupts(lock.stop_requested) as interrupt:
            _forget_result(folder)
            outcome = search(
                experiment,
                space,
                folder,
                observer,
                lock,
                add_trials=add_trials,
                known=known,
                allow_wider=allow_wider,
                executor=RayExecutor(address),
            )
            why = in_words(outcome.stopped_by, experiment.search.budget)
            result = _written(outcome, objective, why, lock)
        if result.best and not interrupt.is_set():
            from dann_search.evaluation.tensorboard_best import show_best  # imports torch

            show_best(folder)
        return result


def _written(outcome: Outcome, objective: str, why: str, lock: DriverLock) -> SearchResult:
    """Leave the leaderboard, the best model and the result in the experiment's folder."""
    folder = outcome.folder
    lock.check()
    write_csv(folder)
    folder.publish(folder.leaderboard)
    rows = read_trials(folder)
    best = finished(rows)
    if not best:
        # Others, cut off before their end, may still have a model.
        if outcome.counts.failed and not outcome.counts.running:
            failed = [row for row in rows if row.state == "failed"]
            raise RunError(
                f"all {len(failed)} trials failed, the first with: {failed[0].error}; "
                f"logs: {folder.trial(failed[0].number)}, {folder.ray}"
            )
        return _kept(SearchResult(outcome, None, objective, why), lock)
    write_best(folder)
    confirmation = confirmation_of(read_experiment(folder), rows)
    return _kept(SearchResult(outcome, best[0], objective, why, confirmation), lock)


def _kept(result: SearchResult, lock: DriverLock) -> SearchResult:
    """Leave it on storage too, for those who follow the search from elsewhere."""
    folder = result.outcome.folder
    lock.check()
    write_atomically(folder.result, json.dumps(result.to_json(), indent=1).encode())
    folder.publish(folder.result)
    return result


def _forget_result(folder: ExperimentFolder) -> None:
    folder.result.unlink(missing_ok=True)
    if folder.remote:
        folder.remote.remove(folder.result.name)


def _header(info: StoreInfo, objective: str, noted: Sequence[str]) -> str:
    """What goes in, and how many target labels are spent on choosing."""
    labels = info.sizes["target"]["val"]
    chosen = f"{labels} target labels choose the model"
    if objective != F1_MACRO:
        chosen = f"{objective} chooses the model; {labels} target labels only show its F1"
    source, target = info.domains["source"], info.domains["target"]
    text = (
        f"{source} → {target}: {info.sizes['source']['train']} labelled source images, "
        f"{info.sizes['target']['train']} unlabelled target images, {len(info.class_names)} "
        f"classes; {chosen}"
    )
    return "\n".join([text, *(f"note: {remark}" for remark in [*info.remarks, *noted])])


def _observer(space: Space, plain: bool, objective: str, header: str) -> MakeObserver:
    # What a notebook prints goes through its own stdout, not through a file descriptor.
    notebook = sys.stdout if _is_notebook() else None

    def make(terminal: Any, record: Any) -> SearchProgress:
        console = Console(file=notebook or terminal, force_jupyter=False, markup=False, emoji=False)
        console.print(header, markup=False, highlight=False, soft_wrap=True)
        kind = PlainLines if plain else NotebookTable if notebook else LiveTable
        state = (
            space,
            record.proposals.total,
            record.tally.counts().finished,
            record.tally.best(),
            objective,
        )
        return kind(console, *state)

    return make


def _is_notebook() -> bool:
    return Console().is_jupyter


def _is_live() -> bool:
    return _is_notebook() or Console(stderr=True).is_terminal
