"""A search from its validated experiment to its last trial; launch and resume are the same path."""

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from dann_search.config.experiment import Experiment
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.data.store import pack
from dann_search.driver_lock import DriverLock
from dann_search.errors import InputError, RunError
from dann_search.layout import ExperimentFolder
from dann_search.models.registry import largest_native_size, spec_of
from dann_search.search.checks import check_search
from dann_search.search.interrupts import interrupts
from dann_search.search.open_study import check_not_lost
from dann_search.search.ray_session import quiet_output, ray_session
from dann_search.search.record import rewrite_record, write_record
from dann_search.search.resources import cpu_count
from dann_search.search.study import Counts, StudyRecord
from dann_search.study_storage import study_place
from dann_search.tracking.observer import Observer
from dann_search.tracking.tensorboard import TensorBoardWriter

MakeObserver = Callable[[TextIO, StudyRecord], Observer]


@dataclass(frozen=True)
class Outcome:
    """How a search ended."""

    folder: ExperimentFolder
    counts: Counts
    elapsed_s: float
    stopped_by: str


def prepare(
    experiment: Experiment,
    space: Space,
    progress: Callable[[int, int], None] = lambda done, of: None,
    known: Sequence[KnownTrial] = (),
) -> ExperimentFolder:
    """Check what can go wrong before anything expensive, then lay out the experiment's folder.

    ``progress`` is told how many images of how many are packed; ``known`` are trials of another
    experiment to learn from.

    Raises:
        InputError: the name is taken, storage cannot be written, too few CPUs, missing weights,
        bad images, a missing package, a grid too large, nothing to learn from.
    """
    check_search(experiment, space, known)
    _check_sizes(experiment, space)
    folder = ExperimentFolder(experiment.folder)
    _check_new(experiment, folder)
    _check_weights(experiment, space)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        (folder.root / ".writable").touch()
        (folder.root / ".writable").unlink()
    except OSError as exc:
        raise SettingError(
            ("storage",),
            f"{experiment.storage} cannot be written ({exc.strerror}); "
            "choose another with --storage DIR",
        ) from None
    size = experiment.data.image_size or largest_native_size(space.backbones)
    with DriverLock(folder.root):  # another launch of this name may have been as far
        _check_new(experiment, folder)
        info = pack(experiment.data, size, folder.data, progress)
        write_record(experiment, folder, info)
    return folder


def _check_new(experiment: Experiment, folder: ExperimentFolder) -> None:
    """Refuse a name that is taken, in the storage folder or in the database of the study."""
    place, name = study_place(folder, experiment.search.study), experiment.name
    if folder.record.exists():
        raise InputError(
            f"the experiment '{name}' exists already in {folder.root}; go on with it: "
            f"dann-search resume {folder.root}, or choose another name: --name {name}-2"
        )
    if place.exists(name):
        raise InputError(
            f"{place.shown} holds a study '{name}' already, of an experiment that is not in "
            f"{folder.root}; choose another name: --name {name}-2"
        )
    check_not_lost(folder, place, name)


def _check_sizes(experiment: Experiment, space: Space) -> None:
    side = experiment.data.image_size
    for name in space.backbones:
        spec = spec_of(name)
        rule = f"{spec.image_size}" if spec.only_size else f"at least {spec.smallest}"
        fits = side == spec.image_size if spec.only_size else (side or 1024) >= spec.smallest
        if side is not None and not fits:
            message = f"must be {rule} for {name}, got {side}"
            raise SettingError(("data", "image_size"), message)


def _check_weights(experiment: Experiment, space: Space) -> None:
    """Have every pre-trained file at hand now: workers never wait for a download."""
    if not experiment.fixed.pretrained or experiment.fixed.method == "from_scratch":
        return
    wanted = [
        name for name in space.backbones if name in experiment.weights or spec_of(name).weights
    ]
    if wanted:
        from dann_search.models.weights import load_weights

        for name in wanted:
            load_weights(name, experiment.weights)


def search(
    experiment: Experiment,
    space: Space,
    folder: ExperimentFolder,
    make_observer: MakeObserver,
    *,
    add_trials: int = 0,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    address: str = "local",
) -> Outcome:
    """Run trials until the study has its total, the hours are spent or the user interrupts.

    Raises:
        InputError: another driver is at work on this experiment.
        RunError: Ray could not be started or a worker group not be kept.
    """
    begun = time.monotonic()
    with DriverLock(folder.root):
        record = StudyRecord(experiment, space, folder, known, allow_wider)
        try:
            if add_trials:
                record.add_trials(add_trials)
            rewrite_record(experiment, folder)
            reason = "trials"
            if not record.is_complete:
                log = folder.ray / "driver.log"
                with quiet_output(log) as terminal:
                    watchers = [
                        TensorBoardWriter(folder.tensorboard, space, experiment.search.objective),
                        make_observer(terminal, record),
                    ]
                    try:
                        reason = _run(
                            experiment, space, folder, record, watchers, address, add_trials > 0
                        )
                    except InputError:
                        raise
                    except Exception as exc:
                        traceback.print_exc()  # into the log
                        raise RunError(
                            f"{exc}\nwhat was trained is kept; log: {log}; "
                            f"go on with: dann-search resume {folder.root}"
                        ) from exc
                    finally:
                        for watcher in watchers:
                            watcher.close()
            return Outcome(folder, record.counts(), time.monotonic() - begun, reason)
        finally:
            record.close()


def _run(
    experiment: Experiment,
    space: Space,
    folder: ExperimentFolder,
    record: StudyRecord,
    watchers: list[Observer],
    address: str,
    anew: bool,
) -> str:
    with interrupts() as interrupt, ray_session(cpu_count(), address):
        from dann_search.search.budget import Budget
        from dann_search.search.groups import running_group

        with running_group(experiment, folder.ray) as (dispatcher, group):
            plan = group.plan
            per_trial = plan.workers_per_trial
            budget = Budget(
                experiment.search.budget,
                record,
                cpus=per_trial * plan.cpus_per_worker,
                gpus=per_trial * plan.gpus_per_worker,
                anew=anew,
            )
            watchers = [*watchers, budget]
            reason = _tune(
                experiment, folder, record, watchers, dispatcher, group, interrupt, budget
            )
            budget.ended(reason)
            if group.error:
                raise RunError(group.error)
            return reason


def _tune(
    experiment: Experiment,
    folder: ExperimentFolder,
    record: StudyRecord,
    watchers: list[Observer],
    dispatcher: Any,
    group: Any,
    interrupt: threading.Event,
    budget: Any,
) -> str:
    from ray import tune

    from dann_search.search.trial import LightTrial
    from dann_search.search.tune_adapters import (
        Bookkeeper,
        SearchStopper,
        StudyScheduler,
        StudySearcher,
    )

    books, stopped = Bookkeeper(record, folder, watchers), set[int]()
    stopper = SearchStopper(interrupt, budget, group, lambda: dispatcher.close.remote())
    trainable = tune.with_resources(
        tune.with_parameters(LightTrial, dispatcher=dispatcher), {"CPU": 0.001}
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric="f1_macro_val",
            mode="max",
            search_alg=StudySearcher(books, stopped),
            scheduler=StudyScheduler(books, stopped),
            num_samples=-1,
            max_concurrent_trials=group.plan.slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder.ray),
            name=f"tune-{int(time.time())}",
            verbose=0,
            stop=stopper,
            failure_config=tune.FailureConfig(max_failures=3),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )
    tuner.fit()
    return stopper.reason or stopper.last
