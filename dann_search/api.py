"""What trains, from Python: launch and resume a search, compare its winner with baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
from dann_search.data.store import StoreInfo, read_info
from dann_search.errors import RunError
from dann_search.layout import ExperimentFolder
from dann_search.models.registry import stage_counts
from dann_search.results.best import write_best
from dann_search.results.compare import compare as compare_trained
from dann_search.results.comparison import Comparison
from dann_search.results.leaderboard import finished, write_csv
from dann_search.results.reader import (
    TrialRow,
    open_experiment,
    read_record,
    read_trials,
)
from dann_search.results.warm_start import known_trials
from dann_search.search.budget import in_words
from dann_search.search.checks import check_search, remarks
from dann_search.search.launch import (
    MakeObserver,
    Outcome,
    prepare,
    search,
)
from dann_search.search.record import check_unchanged
from dann_search.search.trainings import train_through_ray
from dann_search.study_storage import study_place
from dann_search.tracking.packing import packing_progress
from dann_search.tracking.progress import LiveTable, PlainLines
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

    def to_json(self) -> dict[str, Any]:
        """As ``launch --json`` prints it."""
        counts, best = self.outcome.counts, self.best
        return {
            "experiment": str(self.outcome.folder.root),
            "trials": {
                "completed": counts.completed,
                "pruned": counts.pruned,
                "failed": counts.failed,
            },
            "best": best
            and {
                "trial": best.number,
                "config": best.config,
                "f1_macro_val": best.f1_macro_val,
                "confirmed_mean": best.confirmed_mean,
            },
            "elapsed_s": round(self.outcome.elapsed_s, 2),
            "stopped_by": self.outcome.stopped_by,
        }


def launch(
    space_file: str | Path,
    *,
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    sets: Sequence[str] = (),
    plain: bool = True,
) -> SearchResult:
    """Validate an experiment file, run its search and write its best model.

    Args:
        space_file: the YAML file.
        name: of the experiment; the file's by default.
        storage: folder of experiments.
        trials: overrides the file's number of trials.
        sets: overrides such as ``"training.epochs=5"``.
        plain: lines rather than a live table.

    Raises:
        InputError: bad input; nothing was started.
        RunError: the search could not run, or every trial failed.
    """
    source = read_source(
        Path(space_file),
        sets=sets,
        name=name,
        storage=Path(storage) if storage else None,
        trials=trials,
    )
    with source.placing():
        experiment, space = experiment_of(source, stage_counts())
        known = known_trials(experiment)
        with packing_progress(Console(stderr=True), plain=plain) as progress:
            folder = prepare(experiment, space, progress, known)
        return _run(experiment, space, folder, known=known, plain=plain)


def resume(
    experiment: str | Path,
    *,
    add_trials: int = 0,
    sets: Sequence[str] = (),
    allow_wider_space: bool = False,
    plain: bool = True,
) -> SearchResult:
    """Go on with a search: unfinished trials from their checkpoints, then new ones.

    Args:
        experiment: its folder, or its name under ``runs``.
        add_trials: search so many more.
        sets: overrides such as ``"search.budget.hours=4"``, kept in the experiment's record.
        allow_wider_space: accept ranges that only grew.
        plain: lines rather than a live table.

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
        check_search(content, space, known)
        return _run(
            content,
            space,
            folder,
            add_trials=add_trials,
            known=known,
            allow_wider=allow_wider_space,
            plain=plain,
        )


def _check_not_changed(folder: ExperimentFolder, now: Experiment, source: SourceFile) -> None:
    recorded = recorded_source(folder.record, read_record(folder)["experiment"], ())
    before = parse_experiment(recorded, stage_counts())
    for key, why in NOT_CHANGED.items():
        value = attrgetter(key)
        if value(before) != value(now):
            raise source.error(tuple(key.split(".")), f"cannot change: {why}")


def compare(
    experiment: str | Path,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Train the winner and its baselines anew; score them on the target's test split.

    Args:
        experiment: its folder, or its name under ``runs``.
        methods: names; by default the winner's method, source_only and from_scratch.
        seeds: trainings a method.
        progress: told a line for each training that ends; standard error by default.

    Raises:
        InputError: no finished trial, an unknown method, fewer than two seeds.
        RunError: a training failed.
    """
    folder = open_experiment(experiment)
    train_all = partial(train_through_ray, logs=folder.ray, progress=progress)
    return compare_trained(folder, train_all, methods=methods, seeds=seeds)


def _run(
    experiment: Experiment,
    space: Space,
    folder: ExperimentFolder,
    *,
    add_trials: int = 0,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    plain: bool,
) -> SearchResult:
    info = read_info(folder.data)
    objective = experiment.search.objective
    header = _header(info, objective, remarks(experiment, space, known))
    observer = _observer(space, plain, objective, header)
    outcome = search(
        experiment,
        space,
        folder,
        observer,
        add_trials=add_trials,
        known=known,
        allow_wider=allow_wider,
    )
    why = in_words(outcome.stopped_by, experiment.search.budget)
    write_csv(folder)
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
        return SearchResult(outcome, None, objective, why)
    write_best(folder)
    return SearchResult(outcome, best[0], objective, why)


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
    def make(terminal: Any, record: Any) -> PlainLines | LiveTable:
        console = Console(file=terminal)
        console.print(header, markup=False, highlight=False, soft_wrap=True)
        state = (space, record.total, record.counts().finished, record.best(), objective)
        return PlainLines(console, *state) if plain else LiveTable(console, *state)

    return make
