"""Weights & Biases and MLflow: the curves and parameters that TensorBoard gets.

The services are asked from a thread of their own, so a search never waits for them, and what fails
there is said once and never ends a search. Whom to talk to, and the secrets, are in the services'
own environment variables.
"""

import importlib.util
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import in_one_line
from dann_search.tracking.observer import Observer
from dann_search.tracking.tensorboard import scalars

CLOSE_S = 60.0
"""Seconds that the end of a search waits for a service at most."""
FAILURES = 3
"""Failures in a row after which nothing more is sent."""
MLFLOW_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
"""Of a trial's state; others are FINISHED."""
SECRET = re.compile(r"(?i)key|token|passw|secret")


class Service(Protocol):
    """What a service is told of trials; any method may raise anything."""

    def start(self, number: int, params: Mapping[str, Any]) -> int:
        """Open a trial; return how many of its epochs the service has already."""

    def log(self, number: int, step: int, values: Mapping[str, float]) -> None:
        """Add an epoch."""

    def end(self, number: int, state: str) -> None:
        """Close a trial."""


class WandbService:
    """One W&B run for each trial, grouped by experiment."""

    def __init__(self, folder: Path, experiment: str, ident: str) -> None:
        self.folder, self.experiment, self.ident = folder, experiment, ident
        self.runs: dict[int, Any] = {}
        has_key = bool(os.environ.get("WANDB_API_KEY"))
        # Online without a key, it would ask for one in the terminal.
        self.mode: Any = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")

    def start(self, number: int, params: Mapping[str, Any]) -> int:
        """Open a trial's run, or the one that it had before a resume."""
        import wandb

        self.runs[number] = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "dann-search"),
            group=self.experiment,
            name=f"trial-{number:04d}",
            id=f"{self.ident[:16]}-{number}",
            dir=self.folder,
            config=dict(params),
            mode=self.mode,
            resume="allow",
            reinit="create_new",
            save_code=False,
            settings=wandb.Settings(
                console="off", silent=True, disable_code=True, disable_git=True
            ),
        )
        # Of a resumed run, the one after its last.
        return max(0, int(self.runs[number].starting_step) - 1)

    def log(self, number: int, step: int, values: Mapping[str, float]) -> None:
        """Add an epoch."""
        self.runs[number].log(dict(values), step=step, commit=True)

    def end(self, number: int, state: str) -> None:
        """Close the run with its state."""
        run = self.runs.pop(number)
        run.summary["state"] = state
        run.finish(exit_code=1 if state == "failed" else 0)


class MlflowService:
    """One MLflow run for each trial, in an MLflow experiment of the search's name."""

    def __init__(self, folder: Path, experiment: str, ident: str) -> None:
        self.experiment, self.ident = experiment, ident
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        self.runs: dict[int, str] = {}
        self.client: Any = None

    def start(self, number: int, params: Mapping[str, Any]) -> int:
        """Open a trial's run, or the one that it had before a resume."""
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = self.client or MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else self.client.create_experiment(self.experiment)
        tags = {"dann_search.search": self.ident, "dann_search.trial": str(number)}
        where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        if found := self.client.search_runs([place], where, max_results=1):
            run = found[0]
            self.client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = self.client.create_run(place, tags=tags, run_name=f"trial-{number:04d}")
            listed = [Param(name, str(value)) for name, value in params.items()]
            self.client.log_batch(run.info.run_id, params=listed)
        self.runs[number] = run.info.run_id
        return int(run.data.tags.get("dann_search.epochs", 0))

    def log(self, number: int, step: int, values: Mapping[str, float]) -> None:
        """Add an epoch, and how many there are."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        tag = RunTag("dann_search.epochs", str(step))
        self.client.log_batch(self.runs[number], metrics=metrics, tags=[tag])

    def end(self, number: int, state: str) -> None:
        """Close the run with its state."""
        run = self.runs.pop(number)
        self.client.set_tag(run, "dann_search.state", state)
        self.client.set_terminated(run, status=MLFLOW_STATUS.get(state, "FINISHED"))


SERVICES: dict[str, Callable[[Path, str, str], Service]] = {
    "wandb": WandbService,
    "mlflow": MlflowService,
}


def check_services(names: Sequence[str]) -> None:
    """Check that the services' packages are installed, before anything is started.

    Raises:
        InputError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise SettingError(
                ("tracking",),
                f"{name} needs its package: pip install 'dann-search[{name}]'",
            )


class ServiceObserver(Observer):
    """Tells a service of a search, from a thread of its own.

    Parameters count as the search space says, and the best epoch is that by the objective.
    Messages for the user go to ``tell``, from any thread.
    """

    def __init__(
        self,
        name: str,
        service: Service,
        space: Space,
        objective: str,
        tell: Callable[[str], None],
    ) -> None:
        self.name, self.service, self.space, self.objective = name, service, space, objective
        self.tell = tell
        self.failures, self.told = 0, False
        self._open: dict[int, int] = {}
        """Open trials, and how many epochs of each the service has; of its thread alone."""
        self.work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon: a service that hangs does not keep the process.
        self.thread = threading.Thread(target=self._send, name=name, daemon=True)
        self.thread.start()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Open the trial's run."""
        self.work.put(partial(self._start, number, self.space.active(config.model_dump())))

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Send the epochs that the service does not have."""
        self.work.put(partial(self._log, number, list(history)))

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Close the trial's run; the error is not sent, as it may name the user's files."""
        self.work.put(partial(self._end, number, state))

    def close(self) -> None:
        """Wait for what was not sent yet, but not for long."""
        self.work.put(None)
        self.thread.join(CLOSE_S)
        if self.thread.is_alive():
            self._say(f"did not answer for {CLOSE_S:.0f} s; its last epochs may be missing there")

    def _start(self, number: int, params: Mapping[str, Any]) -> None:
        self._open[number] = self.service.start(number, params)

    def _log(self, number: int, history: Sequence[dict[str, Any]]) -> None:
        if number not in self._open:
            return
        for done in range(self._open[number] + 1, len(history) + 1):
            values = scalars(history[:done], self.objective)
            self.service.log(number, history[done - 1]["epoch"], values)
            self._open[number] = done

    def _end(self, number: int, state: str) -> None:
        if self._open.pop(number, None) is not None:
            self.service.end(number, state)

    def _send(self) -> None:
        while (action := self.work.get()) is not None:
            if self.failures == FAILURES:
                continue
            try:
                action()
                self.failures = 0
            except (Exception, SystemExit) as exc:  # libraries of others may raise anything
                self.failures += 1
                if self.failures == FAILURES:
                    self._say(f"failed {FAILURES} times in a row; nothing more is sent to it")
                elif not self.told:
                    self.told = True
                    text = without_secrets(in_one_line(exc))
                    self._say(f"{text}; the search continues, and what it misses is in TensorBoard")
        for number in list(self._open):
            with suppress(Exception, SystemExit):
                self._end(number, "interrupted")

    def _say(self, text: str) -> None:
        with suppress(Exception):
            self.tell(f"{self.name}: {text}")


def without_secrets(text: str) -> str:
    """Return text without passwords in URLs and values of variables that are called secret."""
    text = re.sub(r"(://)[^/@\s]+@", r"\1***@", text)
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return text
