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
from dann_search.models.registry import largest_native_size, registered, spec_of
from dann_search.models.sizes import size_needed
from dann_search.outputs.shared import TrialCounts
from dann_search.results.reader import read_record, use_recorded_extensions
from dann_search.search.checks import check_room_for_a_trial, check_search
from dann_search.search.executor import ON_THIS_MACHINE, Executor, RunningSearch
from dann_search.search.fatal_exit import before_the_end
from dann_search.search.interrupts import interrupted_with
from dann_search.search.publisher import Publisher
from dann_search.search.ray_session import quiet_output
from dann_search.storage.driver_lock import DriverLock, TakenOver
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import Outages, Troubles, is_of_infrastructure, reason_of
from dann_search.storage.remote_folder import UnknownStorageError
from dann_search.study.open_study import check_not_lost
from dann_search.study.record import recorded_store, rewrite_record, write_record
from dann_search.study.retention import Retention
from dann_search.study.study import StudyRecord
from dann_search.study.study_storage import study_place
from dann_search.tracking.observer import Observer
from dann_search.tracking.services import SERVICES, ServiceObserver
from dann_search.tracking.tensorboard import TensorBoardWriter
from dann_search.tracking.trial_files import TrialFiles

MakeObserver = Callable[[TextIO, StudyRecord], Observer]


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
        progress: called with the number of images packed, and of all.
        known: trials of another experiment to learn from.
        address: of the Ray cluster that will train.

    Raises:
        InputError: the name is taken, storage cannot be written, too few CPUs, missing weights,
        bad images, a missing package, a grid too large, nothing to learn from.
    """
    check_search(experiment, space, known, address)
    _check_sizes(experiment, space)
    _check_adapters(space)
    with _naming_storage(experiment):
        folder = ExperimentFolder.at(experiment.place)
        _check_new(experiment, folder)
    _check_weights(experiment, space)
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
            _check_new(experiment, folder)
            again = interrupted_with("interrupted before the search began; launch it again")
            with _nothing_left(folder, lock), again:
                info = pack(experiment.data, size, folder.data, progress)
                write_record(experiment, folder, info)
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


def _check_new(experiment: ExperimentConfig, folder: ExperimentFolder) -> None:
    """Refuse a name that is taken, in the storage folder or in the database of the study."""
    place, name = study_place(folder, experiment.search.study), experiment.name
    folder.fetch(folder.record)
    if folder.record.exists():
        raise InputError(
            f"the experiment '{name}' exists already in {folder}; go on with it: "
            f"dann-search resume {folder}, or choose another name: --name {name}-2"
        )
    if place.exists(name):
        raise InputError(
            f"{place.shown} holds a study '{name}' already, of an experiment that is not in "
            f"{folder}; choose another name: --name {name}-2"
        )
    if place.is_half_made(name):
        raise InputError(
            f"{place.shown} holds a study '{name}' without trials that no experiment owns, as a "
            "launch leaves it that was cut off and whose folder is gone; remove it (optuna "
            f"delete-study --study-name {name} --storage URL), or choose another name: "
            f"--name {name}-2"
        )
    check_not_lost(folder, place, name)


def _check_sizes(experiment: ExperimentConfig, space: Space) -> None:
    """Refuse a side that a backbone does not take; its own native side needs no check."""
    data = experiment.data
    key = "crop_size" if data.crop_size else "image_size"
    if (side := getattr(data, key)) is None:
        return
    for name in space.backbones:
        if needed := size_needed(name, side):
            raise SettingError(("data", key), f"must be {needed}, got {side}")


def _check_adapters(space: Space) -> None:
    """Refuse low-rank adapters for a user's backbone in which they find no layer to adapt."""
    searched = space.parameters.get("fine_tuning")
    section = "space" if searched else "training"
    if "lora" not in (searched.stated.values() if searched else [space.fixed.fine_tuning]):
        return
    for name in filter(registered, space.backbones):
        from dann_search.models.build import build_backbone
        from dann_search.models.lora import adaptable

        if not adaptable(build_backbone(name, None)):
            raise SettingError(
                (section, "fine_tuning"),
                f"'lora' adapts linear layers and convolutions without groups, and {name} has none",
            )


def _check_weights(experiment: ExperimentConfig, space: Space) -> None:
    """Load every pre-trained file now, so that workers never wait for a download."""
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
    experiment: ExperimentConfig,
    space: Space,
    folder: ExperimentFolder,
    make_observer: MakeObserver,
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
        TakenOver: another driver went on with the experiment meanwhile.
    """
    begun, reason = time.monotonic(), "trials"
    use_recorded_extensions(folder)
    record_of = partial(StudyRecord, experiment, space, folder, known, allow_wider, retry_failed)
    # The driver before may have published between our reading and our taking the lock.
    folder.refresh(folder.study, folder.study_journal)
    with contextlib.closing(record_of()) as record:
        if add_trials:
            record.proposals.add_trials(add_trials)
        rewrite_record(experiment, folder)
        if not record.proposals.is_complete:
            check_room_for_a_trial(folder)
            with quiet_output(_log(folder)) as terminal:
                console = make_observer(terminal, record)
                troubles, outages = _waits(experiment, lock, console)
                last = before_the_end(console.close)
                watched = _watchers(experiment, space, lock, record, console, outages)
                with last, watched as watchers:
                    images = store or store_of(folder, experiment.data, recorded_store(folder))
                    interrupt, kept = lock.stop_requested, _kept(folder)
                    tell = partial(_tell, watchers)
                    running = RunningSearch(
                        record, folder, images, interrupt, tell, troubles, outages, kept
                    )
                    reason = _run(running, lock, watchers, executor, add_trials > 0)
        return Outcome(folder, record.tally.counts(), time.monotonic() - begun, reason)


def _log(folder: ExperimentFolder) -> Path:
    return folder.ray / "driver.log"


def _kept(folder: ExperimentFolder) -> str:
    log, command = _log(folder), f"dann-search resume {folder}"
    return f"what was trained is kept; log: {log}; go on with: {command}"


def _services(
    experiment: ExperimentConfig,
    space: Space,
    folder: ExperimentFolder,
    tell: Callable[[str], None],
) -> list[Observer]:
    ident = read_record(folder).get("id", experiment.name)  # an older version gave none
    return [
        ServiceObserver(
            name,
            SERVICES[name](folder.root, experiment.name, ident),
            space,
            experiment.search.objective,
            tell,
        )
        for name in dict.fromkeys(experiment.tracking)
    ]


@contextlib.contextmanager
def _watchers(
    experiment: ExperimentConfig,
    space: Space,
    lock: DriverLock,
    record: StudyRecord,
    console: Observer,
    outages: Outages,
) -> Iterator[list[Observer]]:
    """Keep the observers of a search; an error that ends it gets the resume command added.

    What goes wrong as they close never takes the place of that error.
    """
    folder, objective = lock.folder, experiment.search.objective
    labelled, total = recorded_store(folder).target_labelled, record.proposals.total
    watchers = [
        TensorBoardWriter(folder.tensorboard, space, objective, total, labelled),
        TrialFiles(folder),
        *_services(experiment, space, folder, console.notice),
        Retention(record.study, folder, experiment.search, console.notice),
        console,
    ]
    if folder.remote:
        watchers.append(Publisher(folder, lock.check, console.notice))
    try:
        yield watchers
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


def _waits(
    experiment: ExperimentConfig, lock: DriverLock, console: Observer
) -> tuple[Troubles, Outages]:
    """Make what tells that a search waits for storage, and what has the driver wait."""
    troubles = Troubles(partial(_tell, [console]), lock.note_trouble)

    def trouble(line: str | None) -> None:
        troubles.now("driver", [] if line is None else [line])

    interrupt = lock.stop_requested
    limit_s = experiment.resources.storage_timeout_s
    return troubles, Outages(limit_s, trouble, lambda: not interrupt.is_set())


def _run(
    running: RunningSearch,
    lock: DriverLock,
    watchers: list[Observer],
    executor: Executor,
    anew: bool,
) -> str:
    record, experiment = running.record, running.record.experiment
    with executor.fleet(running) as fleet:
        if fleet is None:
            return "interrupt"
        from dann_search.study.budget import Budget

        if not fleet.error:
            running.outages.hold(record.proposals.keep_total)
        workers = fleet.resources.workers_per_trial
        begin = partial(
            Budget,
            experiment.search.budget,
            record,
            cpus=workers * fleet.resources.cpus_per_worker,
            gpus=workers * fleet.gpus_per_worker,
            anew=anew,
        )
        budget = running.outages.hold(begin)
        reason = executor.follow(running, [*watchers, budget], fleet, budget)

        def end() -> None:
            lock.check()  # before a word on it goes into a study that is another's by now
            budget.ended(reason)

        if not fleet.error:
            running.outages.hold(end)
            return reason
        try:
            end()
        except Exception as exc:
            if not is_of_infrastructure(exc):
                raise
        raise RunError(fleet.error)
