"""Launch or resume a search; leave its leaderboard, best model and result on storage."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TextIO, cast

from dann_search.api.display import Display, Following
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import (
    experiment_of,
    parse_experiment,
    read_source,
    recorded_source,
)
from dann_search.config.source import SourceFile
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.data.store import StoreInfo
from dann_search.data.target_has_labels import fitted_to_target, why_label_free, with_objective
from dann_search.errors import InputError, RunError, StorageError
from dann_search.inference.best import write_best
from dann_search.inference.model_card import of_each
from dann_search.models.registry import stage_counts
from dann_search.outputs.search import SearchEnded
from dann_search.outputs.shared import StoppedBy
from dann_search.results.leaderboard import best_trial, write_csv
from dann_search.results.reader import (
    check_registered,
    known_trials,
    open_experiment,
    read_record,
    read_trials,
)
from dann_search.results.rows import confirmation_of
from dann_search.search.checks import check_search, remarks
from dann_search.search.cost import brief_line
from dann_search.search.disk_need import check_room, kept_features
from dann_search.search.executor import RayExecutor
from dann_search.search.interrupts import interrupted_with, interrupts
from dann_search.search.launch import Outcome, prepare, search
from dann_search.search.precisions import in_words
from dann_search.search.trial_memory import plan_here
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import Outages, Troubles, is_of_infrastructure, reason_of
from dann_search.study.record import (
    check_unchanged,
    recorded_precisions,
    recorded_store,
    with_recorded_precisions,
)
from dann_search.study.study import StudyRecord
from dann_search.study.study_storage import study_place
from dann_search.training.result import F1_MACRO

NOT_CHANGED: dict[str, str] = {
    "name": "it is what the search began with",
    "data": "it is what the search began with",
    "extensions": "they are what the search began with, and are copied in the experiment's folder",
    "storage": "the experiment lies where it lies; move its folder",
    "search.study": "that is where the trials are that were searched",
    "search.trials": "more are searched with --add-trials",
}
"""Keys that a resume cannot override: why, or what to do instead."""


def launch(
    space: str | Path | Mapping[str, Any],
    *,
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    sets: Sequence[str] = (),
    address: str = "local",
    plain: bool = False,
    display: Display | None = None,
) -> SearchEnded:
    """Validate an experiment, run its search and write its best model.

    Args:
        space: the YAML file, or its content as a dict; a dict's paths are relative to the working
            folder.
        name: name of the experiment; the file's by default.
        storage: folder of experiments, or its URL.
        trials: number of trials; the file's by default.
        sets: overrides such as ``"training.epochs=5"``.
        address: Ray cluster: ``local`` starts one on this machine, ``auto`` joins the one this
            machine belongs to, ``HOST:PORT`` joins another.
        plain: print lines in a notebook, too, instead of a table.
        display: shows the progress instead; by default it is printed in plain lines, in a notebook
            shown as a table.

    Raises:
        InputError: the input is invalid; nothing was started.
        RunError: the search could not run, or every trial failed.
    """
    display = display or Display(plain)
    source = read_source(
        space if isinstance(space, Mapping) else Path(space),
        sets=sets,
        name=name,
        storage=storage,
        trials=trials,
    )
    with source.placing():
        given, found = experiment_of(source, stage_counts())
        experiment, _ = fitted_to_target(given)
        chosen = () if experiment == given else (why_label_free(given),)
        known = known_trials(experiment)
        notes = (*chosen, *check_room(experiment, found))
        with display.packing() as progress:
            folder = prepare(experiment, found, progress, known, address)
        found = with_recorded_precisions(found, folder)
        if address == "local":
            with display.stage("estimating how long the search takes"):
                cost = brief_line(experiment, found, recorded_store(folder))
            notes = (*notes, *filter(None, [cost]))
        return _run(experiment, found, folder, display, known=known, address=address, notes=notes)


def resume(
    experiment: str | Path,
    *,
    add_trials: int = 0,
    sets: Sequence[str] = (),
    retry_failed: bool = False,
    allow_wider_space: bool = False,
    address: str = "local",
    plain: bool = False,
    display: Display | None = None,
) -> SearchEnded:
    """Resume a search: unfinished trials from their checkpoints, then new ones.

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        add_trials: number of trials to add to the total.
        sets: overrides such as ``"search.budget.hours=4"``, kept in the experiment's record.
        retry_failed: take up failed trials again; those that failed because of storage always are.
        allow_wider_space: accept ranges that only grew.
        address: Ray cluster, as in ``launch``; it may differ from the one before.
        plain: as in ``launch``.
        display: as in ``launch``.

    Raises:
        InputError: there is no such experiment, it is running, or its record was changed.
        RunError: the search could not run, or every trial failed.
    """
    folder = open_experiment(experiment)
    check_registered(folder)
    source = recorded_source(folder.record, read_record(folder)["experiment"], sets)
    with source.placing():
        content, space = experiment_of(source, stage_counts(), is_record=True)
        if sets:
            _check_not_changed(folder, content, source)
        with_objective(content, recorded_store(folder).target_labelled)
        check_unchanged(folder)
        space = with_recorded_precisions(space, folder)
        made = study_place(folder, content.search.study).exists(content.name)
        # If there is no study, the launch was cut off before it created one.
        known = () if made else known_trials(content)
        check_search(content, space, known, address)
        return _run(
            content,
            space,
            folder,
            display or Display(plain),
            add_trials=add_trials,
            known=known,
            allow_wider=allow_wider_space,
            retry_failed=retry_failed,
            address=address,
        )


def _check_not_changed(folder: ExperimentFolder, now: ExperimentConfig, source: SourceFile) -> None:
    recorded = recorded_source(folder.record, read_record(folder)["experiment"], ())
    before = parse_experiment(recorded, stage_counts())
    for key, why in NOT_CHANGED.items():
        value = attrgetter(key)
        if value(before) != value(now):
            raise source.error(tuple(key.split(".")), f"cannot change: {why}")


def _run(
    experiment: ExperimentConfig,
    space: Space,
    folder: ExperimentFolder,
    display: Display,
    *,
    add_trials: int = 0,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    retry_failed: bool = False,
    address: str = "local",
    notes: Sequence[str] = (),
) -> SearchEnded:
    noted = [*notes, *remarks(experiment, space, known, address)]
    plan = plan_here(experiment, space, address)
    if kept := kept_features(experiment.data, space, recorded_store(folder)):
        plan = f"{plan}; {kept}"
    if settled := recorded_precisions(folder):
        plan = f"{plan}; {in_words(settled)}"
    header = _header(recorded_store(folder), experiment.search.objective, plan, noted)

    def follow(terminal: TextIO, record: StudyRecord) -> Following:
        return Following(record, folder, display.searching(terminal, header))

    again = f"interrupted; continue with: dann-search resume {folder}"
    # The lock is held until the results are written: the next driver writes its own.
    with interrupted_with(again), _storage_named(folder), DriverLock(folder) as lock:
        # Interrupts are deferred until then, too, so that no result is left half-written.
        with interrupts(lock.stop_requested) as interrupt:
            folder.remove(folder.result)
            outcome = search(
                experiment,
                space,
                folder,
                follow,
                lock,
                add_trials=add_trials,
                known=known,
                allow_wider=allow_wider,
                retry_failed=retry_failed,
                executor=RayExecutor(address),
            )
            result = _outages(experiment, lock).hold(
                lambda: _write_results(experiment, outcome, lock)
            )
        if result.best and not interrupt.is_set():
            from dann_search.evaluation.tensorboard_best import show_best  # imports torch

            show_best(folder)
        return result


def _outages(experiment: ExperimentConfig, lock: DriverLock) -> Outages:
    """Wait for storage when the results of a search are written, as the search itself does."""
    say = partial(print, file=sys.stderr, flush=True)
    troubles = Troubles(say, lock.note_trouble)
    return Outages(
        experiment.resources.storage_timeout_s,
        lambda line: troubles.now("driver", [] if line is None else [line]),
        lambda: not lock.stop_requested.is_set(),
    )


@contextmanager
def _storage_named(folder: ExperimentFolder) -> Iterator[None]:
    """Tell how to continue when storage fails before or after the search itself."""
    try:
        yield
    except Exception as exc:
        said = isinstance(exc, InputError | RunError) and not isinstance(exc, StorageError)
        if said or not (isinstance(exc, OSError) or is_of_infrastructure(exc)):
            raise
        raise RunError(
            f"{reason_of(exc)}\nwhat was trained is kept; once that is mended, continue with: "
            f"dann-search resume {folder}"
        ) from exc


def _write_results(experiment: ExperimentConfig, outcome: Outcome, lock: DriverLock) -> SearchEnded:
    """Write leaderboard, best model and result into the experiment's folder and its storage."""
    folder, counts = outcome.folder, outcome.counts
    lock.check()
    write_csv(folder)
    folder.publish(folder.leaderboard)
    rows = read_trials(folder)
    best = best_trial(rows)
    # Interrupted trials may still get a model: only if there are none has every trial failed.
    if best is None and counts.failed and all(row.state != "running" for row in rows):
        failed = [row for row in rows if row.state == "failed"]
        raise RunError(
            f"all {len(failed)} trials failed, the first with: {failed[0].error}; "
            f"logs: {folder.trial(failed[0].number)}, {folder.ray}; once that is mended, try them "
            f"again: dann-search resume {folder} --retry-failed"
        )
    if best:
        write_best(folder)
    result = SearchEnded(
        experiment=str(folder),
        trials=counts,
        objective=experiment.search.objective,
        best=best,
        confirmation=confirmation_of(experiment, rows) if best else None,
        elapsed_s=round(outcome.elapsed_s, 2),
        stopped_by=cast(StoppedBy, outcome.stopped_by),
    )
    lock.check()
    write_atomically(folder.result, result.model_dump_json(indent=1).encode())
    folder.publish(folder.result)  # read by whoever follows the search from elsewhere
    return result


def _header(info: StoreInfo, objective: str, plan: str, noted: Sequence[str]) -> str:
    """Say what goes into the search, how many target labels choose the model, what trains where."""
    labels = info.sizes["target"]["val"]
    chosen = f"{labels} target labels choose the model"
    if objective != F1_MACRO:
        chosen = f"{objective} chooses the model; {labels} target labels only show its F1"
    if not info.target_labelled:
        lacks = "no other labels" if info.few_labels else "no labels"
        chosen = f"the target has {lacks}: {objective} chooses the model"
    source, target = info.domains["source"], info.domains["target"]
    images = f"{info.sizes['target']['train']} unlabelled target images"
    if few := info.few_labels:
        unlabelled = info.sizes["target"]["train"] - sum(few)
        images = (
            f"{sum(few)} labelled target images ({of_each(few)}) and {unlabelled} unlabelled ones"
        )
    text = (
        f"{source} → {target}: {info.sizes['source']['train']} labelled source images, {images}, "
        f"{len(info.class_names)} classes; {chosen}"
    )
    return "\n".join([text, plan, *(f"note: {remark}" for remark in [*info.remarks, *noted])])
