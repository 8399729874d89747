"""How the control path grows: simulated slots that train nothing, everything else real.

    python benchmarks/scale.py dispatcher --slots 1000 10000
    python benchmarks/scale.py tune --slots 8 32 128
    python benchmarks/scale.py study --trials 100 500 1000 2500 5000

- dispatcher: the dispatcher's actor alone; slots and trials are coroutines of two processes, and
  every epoch is reported at once. Printed are reports a second, how long a slot waited for its
  verdict, and the actor's memory.
- tune: the same slots under a real Tune run with the real study (SQLite), searcher and scheduler;
  a Tune trial is a process of its own (0.12 GB).
- study: milliseconds to propose a trial (TPE), to store an epoch, to ask the pruner and to end a
  trial, medians of 20 trials in a study on SQLite that has grown to so many.
"""

import argparse
import asyncio
import copy
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray

DISPATCHER, LIGHT = "ray::DispatcherState", "ray::ResourceTrainable"
EPOCHS = 5
CLIENTS = 2
MEASURED = 20


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted or unsorted values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def memory_mib(name: str) -> float:
    """Resident memory of the processes whose title begins so."""
    found = 0
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        words = process.info["cmdline"] or [""]
        if words[0].startswith(name):
            found += process.info["memory_info"].rss
    return found / 2**20


class Peak(threading.Thread):
    """The largest memory of some processes while something runs."""

    def __init__(self, *names: str):
        super().__init__(daemon=True)
        self.names, self.most, self.over = names, dict.fromkeys(names, 0.0), threading.Event()

    def run(self) -> None:
        """Look every second."""
        while not self.over.wait(1.0):
            for name in self.names:
                self.most[name] = max(self.most[name], memory_mib(name))


def epoch(number: int, score: float) -> dict[str, Any]:
    """Return what a slot reports of an epoch."""
    return {"epoch": number, "f1_macro_val": score, "validators": {}}


class Slots:
    """Some slots of one run: they take trials and report epochs as fast as they are let."""

    def __init__(self, dispatcher: Any, run: str, count: int):
        self.dispatcher, self.run, self.count = dispatcher, run, count
        self.waits: list[float] = []

    async def work(self) -> list[float]:
        """Until the dispatcher has no more; how long each report waited for its verdict."""
        await self.dispatcher.enter.remote(self.run, "nowhere")
        await asyncio.gather(*(self._slot((self.run, number)) for number in range(self.count)))
        return self.waits

    async def _slot(self, slot: tuple[str, int]) -> None:
        dispatcher = self.dispatcher
        while (order := await dispatcher.next_trial.remote(slot)) is not None:
            await dispatcher.began.remote(slot, order.number)
            history: tuple[dict[str, Any], ...] = ()
            for number in range(1, int(order.config["epochs"]) + 1):
                history += (epoch(number, number / 100 + order.number % 97 / 1000),)
                begun = time.perf_counter()
                go_on = await dispatcher.report.remote(slot, order.number, history)
                self.waits.append(time.perf_counter() - begun)
                if not go_on:
                    break
            await dispatcher.finished.remote(slot, order.number)


class Trials:
    """Trials without Tune: submitted, followed epoch by epoch, withdrawn."""

    def __init__(self, dispatcher: Any, numbers: Sequence[int], at_once: int):
        self.dispatcher, self.numbers, self.at_once = dispatcher, numbers, at_once

    async def follow(self) -> None:
        """All of them, so many at a time."""
        gate = asyncio.Semaphore(self.at_once)
        await asyncio.gather(*(self._trial(number, gate) for number in self.numbers))

    async def _trial(self, number: int, gate: asyncio.Semaphore) -> None:
        from dann_search.search.messages import Order

        async with gate:
            await self.dispatcher.submit.remote(Order(number, {"epochs": EPOCHS}, "", ""))
            seen = 0
            while seen < EPOCHS:
                update = await self.dispatcher.epochs_after.remote(number, seen)
                seen = len(update.history)
            await self.dispatcher.withdraw.remote(number)


def actor(kind: type, *arguments: Any) -> Any:
    """Start an actor in a process of its own."""
    return ray.remote(num_cpus=0, max_concurrency=100_000)(kind).remote(*arguments)


def measure_dispatcher(slots: int, trials_a_slot: int, terminal: Any) -> None:
    """Measure the actor alone."""
    from dann_search.search.dispatcher import Dispatcher

    dispatcher = Dispatcher.remote(3, 10**9)
    share = slots // CLIENTS
    workers = [actor(Slots, dispatcher, f"run-{n}", share) for n in range(CLIENTS)]
    waits = [worker.work.remote() for worker in workers]
    total = slots * trials_a_slot
    followers = [actor(Trials, dispatcher, range(n, total, CLIENTS), share) for n in range(CLIENTS)]
    begun = time.perf_counter()
    ray.get([follower.follow.remote() for follower in followers])
    seconds = time.perf_counter() - begun
    memory = memory_mib(DISPATCHER)
    ray.get(dispatcher.close.remote())
    report(slots, [wait for each in ray.get(waits) for wait in each], seconds, memory, terminal)
    for process in (*workers, *followers, dispatcher):
        ray.kill(process)


def report(
    slots: int,
    waits: Sequence[float],
    seconds: float,
    memory: float,
    terminal: Any,
    end: str = "",
) -> None:
    """Print a row of the table."""
    middle, last = statistics.median(waits), percentile(waits, 0.99)
    print(
        f"| {slots} | {len(waits) / seconds:,.0f} | {1000 * middle:.1f} | {1000 * last:.1f} | "
        f"{memory:.0f} |{end}",
        file=terminal,
        flush=True,
    )


@dataclass
class SimulatedFleet:
    """What a Tune run asks of a fleet."""

    dispatcher: Any
    slots: int
    wanted: int = 1
    error: str | None = None

    @property
    def most_slots(self) -> int:
        """Nodes neither come nor go."""
        return self.slots

    def memory_of(self, config: Any) -> tuple[int, str]:
        """Nothing is trained here."""
        return 0, ""

    def withdraw(self, number: int) -> None:
        """End a trial."""
        self.dispatcher.tell("withdraw", number)

    def has_lost_dispatcher(self) -> bool:
        """Return False: nothing is killed here."""
        return False

    def close(self, *, pause: bool) -> None:
        """Let the slots return."""
        self.dispatcher.ask("close", pause)


def measure_tune(slots: int, trials_a_slot: int, folder: Path, terminal: Any) -> None:
    """Measure a real Tune run over a real study."""
    from dann_search.data.node_store import StoreSpec
    from dann_search.search.dispatcher import Dispatcher
    from dann_search.search.executor import RunningSearch
    from dann_search.search.messages import ActorCalls
    from dann_search.search.tune_run import run_tune
    from dann_search.storage.outages import Outages
    from dann_search.study.budget import Budget

    experiment, record, home = make_study(folder / str(slots), slots * trials_a_slot)
    dispatcher = Dispatcher.remote(3, 10**9)
    share = slots // CLIENTS
    workers = [actor(Slots, dispatcher, f"run-{n}", share) for n in range(CLIENTS)]
    waits = [worker.work.remote() for worker in workers]
    fleet: Any = SimulatedFleet(ActorCalls(dispatcher), slots)
    budget = Budget(experiment.search.budget, record)
    peak = Peak(DISPATCHER, LIGHT)
    peak.start()
    begun = time.perf_counter()
    running = RunningSearch(
        experiment=experiment,
        store=StoreSpec("", experiment.data, 0, {}),  # nothing is trained
        logs=home.ray,
        wanted=slots,
        interrupt=threading.Event(),
        tell=print,
        record=record,
        outages=Outages(0.0),
    )
    run_tune(running, [budget], fleet, budget)
    seconds = time.perf_counter() - begun
    peak.over.set()
    driver = psutil.Process().memory_info().rss / 2**20
    memory, light = peak.most[DISPATCHER], peak.most[LIGHT]
    fleet.close(pause=False)
    told = [wait for each in ray.get(waits) for wait in each]
    report(slots, told, seconds, memory, terminal, f" {driver:.0f} | {light:.0f} | {seconds:.0f} |")
    record.close()
    for process in (*workers, dispatcher):
        ray.kill(process)


def make_study(folder: Path, trials: int, sampler: str = "random") -> tuple[Any, Any, Any]:
    """Create an experiment like the quickstart, with its study on disk."""
    from dann_search.config.experiment import ExperimentConfig
    from dann_search.config.space import build_space
    from dann_search.models.registry import stage_counts
    from dann_search.storage.layout import ExperimentFolder
    from dann_search.study.study import StudyRecord

    experiment = ExperimentConfig.model_validate(
        {
            "name": "scale",
            "data": {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}},
            "training": {"backbone": "dann_cnn", "epochs": EPOCHS},
            "search": {"trials": trials, "sampler": sampler, "scheduler": "asha"},
            "space": {
                "learning_rate": {"loguniform": [0.0001, 0.1]},
                "lambda_max": {"uniform": [0.1, 1.0]},
                "lambda_schedule": {"choice": ["constant", "ganin"]},
                "momentum": {"uniform": [0.5, 0.99]},
                "unfrozen_depth": {"int": [1, 3]},
            },
            "storage": str(folder),
        }
    )
    home = ExperimentFolder.at(experiment.place)
    home.root.mkdir(parents=True)
    return experiment, StudyRecord(experiment, build_space(experiment, stage_counts()), home), home


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of a call, and what it gave."""
    begun = time.perf_counter()
    value = action()
    return 1000 * (time.perf_counter() - begun), value


def measure_study(sizes: Sequence[int], folder: Path) -> None:
    """Each write, in a study that has grown: by trials like those that were timed before."""
    _, record, _ = make_study(folder, max(sizes) + MEASURED * len(sizes), "tpe")
    print("| trials | propose | store an epoch | ask the pruner | end a trial | file |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        timings = [time_a_trial(record) for _ in range(MEASURED)]
        cells = (f"{statistics.median(column):.0f} ms" for column in zip(*timings, strict=True))
        there = record.study.get_trials(deepcopy=False)
        bytes_ = sum(path.stat().st_size for path in folder.rglob("study.db*"))
        print(f"| {len(there)} | {' | '.join(cells)} | {bytes_ / 1e6:.1f} MB |", flush=True)
        sample = there[-MEASURED:]
        more = itertools.islice(itertools.cycle(sample), max(0, size - len(there)))
        record.study.add_trials(copy.deepcopy(trial) for trial in more)
    record.close()


def time_a_trial(record: Any) -> tuple[float, float, float, float]:
    """Milliseconds to propose one, to store its first epoch, to ask the pruner, to end it."""
    propose, taken = timed(record.next_trial)
    scores = [0.5 + taken.number % 89 / 1000 + e / 100 for e in range(EPOCHS)]
    store, _ = timed(lambda: record.report(taken.number, scores[:1]))
    ask, stops = timed(lambda: record.should_stop(taken.number))
    if stops:
        end, _ = timed(lambda: record.prune(taken.number))
    else:
        record.report(taken.number, scores)
        end, _ = timed(lambda: record.complete(taken.number))
    return propose, store, ask, end


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["dispatcher", "tune", "study"])
    parser.add_argument("--slots", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--trials-a-slot", type=int, default=4)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 500, 1000, 2500, 5000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.what == "study":
            measure_study([*arguments.trials, 0], Path(name))
            return
        from dann_search.search.ray_session import quiet_output, ray_session

        with quiet_output(Path(name) / "log") as terminal, ray_session(cpus=2):
            more = " driver MiB | light trials MiB | seconds |" if arguments.what == "tune" else ""
            head = f"| slots | reports/s | median ms | 99th % ms | dispatcher MiB |{more}\n"
            terminal.write(head + "|---" * (5 + 3 * bool(more)) + "|\n")
            for slots in arguments.slots:
                if arguments.what == "tune":
                    measure_tune(slots, arguments.trials_a_slot, Path(name), terminal)
                else:
                    measure_dispatcher(slots, arguments.trials_a_slot, terminal)


if __name__ == "__main__":
    main()
