"""Train recipes outside of a search, through the same warm worker groups."""

import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_search.config.experiment import ExperimentConfig
from dann_search.data.node_store import StoreSpec
from dann_search.errors import InputError, RunError
from dann_search.search.executor import ON_THIS_MACHINE, Work
from dann_search.search.interrupts import interrupts
from dann_search.search.messages import EpochUpdate, Order
from dann_search.search.ray_session import quiet_output
from dann_search.storage.outages import Troubles
from dann_search.training.job import Failures, TrainingJob, tell_done, tell_ended

if TYPE_CHECKING:
    from dann_search.search.fleet import Fleet

LOOK_S = 0.5
"""Seconds between two looks at interrupts and at the state of the workers."""


def train_through_ray(
    jobs: Sequence[TrainingJob],
    experiment: ExperimentConfig,
    *,
    store: StoreSpec,
    logs: Path,
    progress: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Failures:
    """Train all jobs that are not done; one that was cut off continues after its last epoch.

    Args:
        jobs: the trainings.
        experiment: its resources, weights and objective.
        store: the experiment's packed store; jobs may name others.
        logs: folder of Ray's logs.
        progress: called with a line for each training that ends; standard error by default.
        stop: interrupts the trainings when it is set.

    Returns:
        Why trainings failed by their own fault, by name.

    Raises:
        KeyboardInterrupt: the user interrupted; what was trained is kept.
        RunError: there are no workers.
    """
    waiting = [job for job in jobs if not job.is_done]
    log = logs / "driver.log"
    with quiet_output(log) as terminal:
        tell = progress or partial(print, file=terminal)
        tell_done(jobs, tell)
        if not waiting:
            return {}
        kept = f"what was trained is kept; log: {log}"
        try:
            with interrupts(stop or threading.Event()) as interrupt:
                work = Work(
                    experiment=experiment,
                    store=store,
                    logs=logs,
                    wanted=len(waiting),
                    recipes=lambda: [job.config for job in waiting],
                    interrupt=interrupt,
                    tell=tell,
                    troubles=partial(Troubles(tell, lambda line: None).now, "workers"),
                    kept=kept,
                )
                with ON_THIS_MACHINE.fleet(work) as fleet:
                    if fleet is None:
                        raise _interrupted(len(jobs) - len(waiting), len(jobs))
                    return _follow_all(waiting, len(jobs), work, fleet)
        except (InputError, RunError):
            raise
        except Exception as exc:
            traceback.print_exc()  # into the log
            raise RunError(f"{exc}\n{kept}") from exc


def _follow_all(waiting: Sequence[TrainingJob], of: int, work: Work, fleet: "Fleet") -> Failures:
    import ray

    dispatcher = fleet.dispatcher.actor  # all trainings are waited for at once
    updates: dict[Any, int] = {}
    failures: Failures = {}
    for number, job in enumerate(waiting):
        config = job.config.model_dump(mode="json")
        needs = fleet.memory_of(job.config)
        order = Order(number, config, str(job.folder), str(job.store), *needs)
        ray.get(dispatcher.submit.remote(order))
        updates[dispatcher.epochs_after.remote(number, 0)] = number
    while updates:
        ready, _ = ray.wait(list(updates), timeout=LOOK_S)
        if work.interrupt.is_set():
            raise _interrupted(of - len(updates), of)
        if fleet.error:
            raise RunError(fleet.error)
        for ref in ready:
            number, job = updates[ref], waiting[updates.pop(ref)]
            update: EpochUpdate = ray.get(ref)
            if update.error:
                failures[job.name] = update.error
            elif len(update.history) < job.epochs:
                updates[dispatcher.epochs_after.remote(number, len(update.history))] = number
                continue
            else:
                job.mark_done()
            ray.get(dispatcher.withdraw.remote(number))
            tell_ended(job, failures, of - len(updates), of, work.tell)
    return failures


def _interrupted(done: int, of: int) -> KeyboardInterrupt:
    return KeyboardInterrupt(
        f"interrupted: {done} of {of} trainings are done, and what the others trained is kept; "
        "the same command continues from there"
    )
