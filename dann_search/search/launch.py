"""Run a search, from its validated experiment to its last trial; launch and resume alike."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.data.node_store import StoreSpec, store_of
from dann_search.data.pixels import SHOWN, UNREADABLE
from dann_search.data.store import INFO, pack
from dann_search.errors import InputError, RunError
from dann_search.models.registry import largest_native_size
from dann_search.outputs.shared import TrialCounts
from dann_search.results.reader import read_record, use_recorded_extensions
from dann_search.search.checks import (
    check_name,
    check_networks,
    check_room_for_a_trial,
    check_search,
    check_weights,
)
from dann_search.search.executor import ON_THIS_MACHINE, Executor, RunningSearch
from dann_search.search.fatal_exit import before_the_end
from dann_search.search.interrupts import interrupted_with
from dann_search.search.precisions import settled_precisions
from dann_search.search.publisher import Publisher
from dann_search.search.ray_session import quiet_output
from dann_search.search.trial_memory import largest_recipes
from dann_search.storage.driver_lock import DriverLock, TakenOver
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import Outages, Troubles, is_of_infrastructure, reason_of
from dann_search.storage.remote_folder import UnknownStorageError
from dann_search.study.budget import Budget
from dann_search.study.record import recorded_store, rewrite_record, write_record
from dann_search.study.retention import Retention
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer
from dann_search.tracking.services import SERVICES, ServiceObserver
from dann_search.tracking.tensorboard import TensorBoardWriter
from dann_search.tracking.trial_files import TrialFiles


@dataclass(frozen=True)
class Outcome:
    """How a search ended."""

    folder: ExperimentFolder
    counts: TrialCounts
    elapsed_s: float
    stopped_by: str


def prepare(
    experiment: ExperimentConfig,
    space: Space,
    progress: Callable[[int, int], None] = lambda done, of: None,
    known: Sequence[KnownTrial] = (),
    address: str = "local",
) -> ExperimentFolder:
    """Check what can go wrong before anything expensive, then lay out the experiment's folder.

    Args:
        experiment: validated.
        space: that it searches.
        progress: called with the number of images packed, and of all; first with zeros, when they
            are about to be read.
        known: trials of another experiment to learn from.
        address: of the Ray cluster that will train.

    Raises:
        InputError: the name is taken, storage cannot be written, too few CPUs, missing weights,
        bad images, a missing package, a grid too large, nothing to learn from.
    """
    check_search(experiment, space, known, address)
    check_networks(experiment, space)
    with _naming_storage(experiment):
        folder = ExperimentFolder.at(experiment.place)
        check_name(experiment, folder)
    check_weights(experiment, space)
    size = experiment.data.image_size or largest_native_size(space.backbones)
    with _empty_folders_removed(folder.root):
        with _naming_storage(experiment):
            folder.root.mkdir(parents=True, exist_ok=True)
            if folder.remote:
                folder.remote.write(".writable", b"")
                folder.remote.remove(".writable")
            (folder.root / ".writable").touch()
            (folder.root / ".writable").unlink()
        with DriverLock(folder) as lock:  # another launch of this name may have been as far
            check_name(experiment, folder)
            again = interrupted_with("interrupted before the search began; launch it again")
            with _nothing_left(folder, lock), again:
                progress(0, 0)
                info = pack(experiment.data, size, folder.data, progress)
                settled = settled_precisions(experiment, space, address)
                write_record(experiment, folder, info, settled)
    return folder


@contextlib.contextmanager
def _empty_folders_removed(root: Path) -> Iterator[None]:
    """Remove the folders that the block made, if it fails and they are empty."""
    made = [path for path in (root, *root.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()
        raise


@contextlib.contextmanager
def _nothing_left(folder: ExperimentFolder, lock: DriverLock) -> Iterator[None]:
    """Remove what a refused launch has written, so that the next one finds nothing of it.

    The list of unreadable images stays where it is longer than the message that names it.
    """
    had_store = (folder.data / INFO).exists()
    try:
        yield
    except BaseException:
        if folder.record.exists():
            raise
        lock.forget()
        for file in [] if had_store else list(folder.data.glob("*")):
            if file.name != UNREADABLE or len(file.read_text("utf-8").splitlines()) <= SHOWN:
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.data.rmdir()
        raise


@contextlib.contextmanager
def _naming_storage(experiment: ExperimentConfig) -> Iterator[None]:
    """Report storage that does not answer now as bad input: nothing was started yet."""
    try:
        yield
    except (RunError, UnknownStorageError) as exc:
        message = f"{exc}; see that it can be reached, or choose another with --storage DIR|URL"
        raise SettingError(("storage",), message) from None
    except OSError as exc:
        raise SettingError(
            ("storage",),
            f"{experiment.storage} cannot be written ({exc.strerror}); "
            "choose another with --storage DIR",
        ) from None


def search(
    experiment: ExperimentConfig,
    space: Space,
    folder: ExperimentFolder,
    make_observer: Callable[[TextIO, StudyRecord], Observer],
    lock: DriverLock,
    *,
    add_trials: int = 0,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    retry_failed: bool = False,
    executor: Executor = ON_THIS_MACHINE,
    store: StoreSpec | None = None,
) -> Outcome:
    """Run trials until the study has its total, the hours are spent or the user interrupts.

    ``lock`` is held by the caller, who writes what was found before giving it back. Setting its
    ``stop_requested`` interrupts the search. ``store`` names packed images that lie elsewhere than
    in the folder.

    Raises:
        InputError: the study cannot be opened, or is of another search.
        RunError: Ray could not be started or a worker group not be kept.
        TakenOver: another driver continued with the experiment meanwhile.
    """
    begun, reason = time.monotonic(), "trials"
    use_recorded_extensions(folder)
    # The driver before may have published between our reading and our taking the lock.
    folder.refresh(folder.study, folder.study_journal)
    record_of = partial(StudyRecord, experiment, space, folder, known, allow_wider, retry_failed)
    with contextlib.closing(record_of()) as record:
        if add_trials:
            record.proposals.add_trials(add_trials)
        rewrite_record(experiment, folder)
        if not record.proposals.is_complete:
            check_room_for_a_trial(folder)
            with quiet_output(_log(folder)) as terminal:
                console = make_observer(terminal, record)
                last, running = (
                    before_the_end(console.close),
                    _running(lock, record, console, store),
                )
                with last, running as (search, watchers):
                    reason = _run(search, lock, watchers, executor, add_trials > 0)
        return Outcome(folder, record.tally.counts(), time.monotonic() - begun, reason)


def _log(folder: ExperimentFolder) -> Path:
    return folder.ray / "driver.log"


def _kept(folder: ExperimentFolder) -> str:
    return (
        f"what was trained is kept; log: {_log(folder)}; continue with: dann-search resume {folder}"
    )


def _services(record: StudyRecord, tell: Callable[[str], None]) -> Iterator[Observer]:
    experiment, folder = record.experiment, record.folder
    ident = read_record(folder).get("id", experiment.name)  # an older version gave none
    for name in dict.fromkeys(experiment.tracking):
        service = SERVICES[name](folder.root, experiment.name, ident)
        yield ServiceObserver(name, service, record.space, experiment.search.objective, tell)


@contextlib.contextmanager
def _running(
    lock: DriverLock, record: StudyRecord, console: Observer, store: StoreSpec | None
) -> Iterator[tuple[RunningSearch, list[Observer]]]:
    """Keep the observers of a search; an error that ends it gets the resume command added.

    What goes wrong as they close never takes the place of that error.
    """
    experiment, folder, interrupt = record.experiment, record.folder, lock.stop_requested
    info, objective = recorded_store(folder), experiment.search.objective
    troubles = Troubles(partial(_tell, [console]), lock.note_trouble)

    def trouble(line: str | None) -> None:
        troubles.now("driver", [] if line is None else [line])

    limit_s = experiment.resources.storage_timeout_s
    outages = Outages(limit_s, trouble, lambda: not interrupt.is_set())
    total, labelled = record.proposals.total, info.target_labelled
    watchers = [
        TensorBoardWriter(folder.tensorboard, record.space, objective, total, labelled),
        TrialFiles(folder),
        *_services(record, console.notice),
        Retention(record.study, folder, experiment.search, console.notice),
        console,
    ]
    if folder.remote:
        watchers.append(Publisher(folder, lock.check, console.notice))
    try:
        yield (
            RunningSearch(
                experiment=experiment,
                store=store or store_of(folder, experiment.data, info),
                logs=folder.ray,
                wanted=record.proposals.still_to_run,
                recipes=partial(largest_recipes, record.space),
                interrupt=interrupt,
                tell=partial(_tell, watchers),
                troubles=partial(troubles.now, "workers"),
                kept=_kept(folder),
                stage=console.stage,
                record=record,
                outages=outages,
            ),
            watchers,
        )
        for watcher in watchers:  # in their order: what was written is published
            outages.hold(watcher.close)
    except BaseException as exc:
        _log_error()
        for watcher in watchers:
            try:
                watcher.close()
            except Exception:
                _log_error()
        if isinstance(exc, InputError | TakenOver) or not isinstance(exc, Exception):
            raise
        reason = reason_of(exc) if is_of_infrastructure(exc) else str(exc)
        raise RunError(f"{reason}\n{_kept(folder)}") from exc


def _log_error() -> None:
    with contextlib.suppress(OSError):  # the log may be on the disk that has failed
        traceback.print_exc()


def _tell(watchers: Sequence[Observer], line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, flush=True)  # into the log, too
    for watcher in watchers:
        watcher.notice(line)


def _run(
    running: RunningSearch,
    lock: DriverLock,
    watchers: list[Observer],
    executor: Executor,
    anew: bool,
) -> str:
    record, hold = running.record, running.outages.hold
    with executor.fleet(running) as fleet:
        if fleet is None:
            return "interrupt"
        if not fleet.error:
            hold(record.proposals.keep_total)
        resources = fleet.resources
        cpus = resources.workers_per_trial * resources.cpus_per_worker
        gpus = resources.workers_per_trial * fleet.gpus_per_worker
        limits = running.experiment.search.budget
        budget = hold(partial(Budget, limits, record, cpus=cpus, gpus=gpus, anew=anew))
        reason = executor.follow(running, [*watchers, budget], fleet, budget)

        def end() -> None:
            lock.check()  # before a word on it goes into a study that is another's by now
            budget.ended(reason)

        if not fleet.error:
            hold(end)
            return reason
        try:
            end()
        except Exception as exc:
            if not is_of_infrastructure(exc):
                raise
        raise RunError(fleet.error)
