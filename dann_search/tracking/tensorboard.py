"""TensorBoard events of a search, written without TensorFlow or torch.

Each trial has a run under ``tensorboard/``. The run ``experiment`` lists every searched parameter,
so that each is a column of the HParams tab; a trial leaves blank what does not apply to it. Metrics
come there after all parameters, so the best score is written as a parameter, too, which comes
first. It is known when the trial ends, and so are the trial's parameters written then. A large
search writes fewer epochs of each trial, within a budget of bytes.
"""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from dann_search.config.parameter import Choice, Int, Parameter, Range
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.tracking.observer import Observer
from dann_search.training.result import F1_MACRO, best_of, score_of

TAGS = {
    "f1_macro_val": "val/f1_macro",
    "accuracy_val": "val/accuracy",
    "precision_macro_val": "val/precision_macro",
    "recall_macro_val": "val/recall_macro",
    "label_loss": "train/label_loss",
    "domain_loss": "train/domain_loss",
    "adaptation_loss": "train/adaptation_loss",
    "domain_accuracy": "train/domain_accuracy",
    "lambda_": "schedule/lambda",
    "learning_rate": "schedule/learning_rate",
    "head_learning_rate": "schedule/head_learning_rate",
    "images_per_s": "speed/images_per_s",
    "seconds": "speed/epoch_seconds",
}
"""Tag of each field of an epoch."""

BEST_F1 = "best/f1_macro_val"
FIRST_COLUMNS = ("method", "backbone", "unfrozen_depth", "learning_rate")
"""Parameters that HParams shows beside the best score at first; it shows five columns."""
ANY_SCORE = -1e6, 1e6
"""Bounds of the column of best scores; those of validators have no others."""
STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}
SCALARS_BUDGET = 90_000_000
"""Bytes of scalars of all trials of a search together."""
EPOCH_BYTES = 640
"""Bytes of one epoch with all its scalars; measured: 590, and once more per trial."""
FEWEST = 8
"""Epochs of a trial written at least, however large the search."""


def epochs_between(epochs: int, trials: int) -> int:
    """Return N such that every Nth epoch fits into the budget for all trials."""
    kept = max(FEWEST, SCALARS_BUDGET // (trials * EPOCH_BYTES) - 1)
    return max(1, math.ceil(epochs / kept))


def scalars(history: Sequence[dict[str, Any]], objective: str) -> dict[str, float]:
    """Return the scalars of the last epoch of a history by tag, and the best score up to it."""
    result = history[-1]
    values: dict[str, float] = {
        tag: result[name] for name, tag in TAGS.items() if result[name] is not None
    }
    values |= {f"validators/{name}": value for name, value in result["validators"].items()}
    best = best_of(history, objective)
    if (f1 := best["f1_macro_val"]) is not None:
        values[BEST_F1] = f1
    else:
        values[f"best/{objective}"] = score_of(best, objective)
    return values


@dataclass(frozen=True)
class BestScore:
    """A trial's best score: its column among the parameters, its tag, and that of the last score.

    Parameters are sorted by name, but for upper case, which comes first.
    """

    column: str
    tag: str
    last: str


class TensorBoardWriter(Observer):
    """Writes the scalars of each trial as they arrive, and its hyperparameters.

    In a search of many trials fewer epochs of each are written. Where the target has no labels,
    there is no F1, and the objective takes its place.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        objective: str = F1_MACRO,
        trials: int = 1,
        labelled: bool = True,
    ):
        self.folder, self.space, self.objective = folder, space, objective
        self.best = BestScore("Best F1 (val)", BEST_F1, TAGS["f1_macro_val"])
        if not labelled:
            names = f"Best {objective}", f"best/{objective}", f"validators/{objective}"
            self.best = BestScore(*names)
        self.every = epochs_between(space.fixed.epochs, trials)
        self.runs: dict[int, TrialRun] = {}
        """Of the trials that have not ended."""
        self._describe_experiment()

    def _describe_experiment(self) -> None:
        shutil.rmtree(self.folder / "experiment", ignore_errors=True)
        score = summary_v2.HParam(self.best.column, summary_v2.RealInterval(*ANY_SCORE))
        searched = [
            summary_v2.HParam(name, _domain(parameter))
            for name, parameter in self.space.parameters.items()
        ]
        metrics = [
            summary_v2.Metric(tag, display_name=self.best.column.replace("Best", word))
            for tag, word in {self.best.tag: "best", self.best.last: "last"}.items()
        ]
        columns = summary_v2.hparams_config_pb(hparams=[score, *searched], metrics=metrics)
        writer = EventFileWriter(str(self.folder / "experiment"))
        _add(writer, _with_first(columns, (self.best.column, *FIRST_COLUMNS)))
        writer.close()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Open the trial's run; a resumed trial is written again, so no step is there twice."""
        folder = self.folder / f"trial-{number:04d}"
        active = self.space.active(config.model_dump())
        self.runs[number] = TrialRun(folder, active, self.objective, self.every, self.best)
        self.runs[number].write(())

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Write the epochs not yet in this run's file."""
        self.runs[number].write(history)

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Close the run with its status; an interrupted one stays open for a resume."""
        if run := self.runs.get(number):
            run.write(run.history)
            run.close(STATUS.get(state))
            self.runs.pop(number)

    def close(self) -> None:
        """Close all open runs."""
        while self.runs:
            _, run = self.runs.popitem()
            if run.writer is not None:
                run.close()


class TrialRun:
    """The event file of one trial; one that cannot be written is replaced at the next attempt."""

    def __init__(
        self, folder: Path, active: dict[str, Any], objective: str, every: int, best: BestScore
    ):
        self.folder, self.active, self.objective, self.every = folder, active, objective, every
        self.best, self.begun = best, time.time()
        self.history: Sequence[dict[str, Any]] = ()
        self.writer: Any = None
        self.seen = self.written = 0

    def write(self, history: Sequence[dict[str, Any]]) -> None:
        """Write the new epochs among all so far: the first, and every Nth after it."""
        self.history = history
        with self._opened() as writer:
            for result in history[self.seen :]:
                if result["epoch"] == 1 or result["epoch"] % self.every == 0:
                    self._write(result)
            self.seen = len(history)
            writer.flush()

    def close(self, status: Any = None) -> None:
        """Write the last epoch, the parameters and the status, as HParams shows them."""
        with self._opened() as writer:
            if self.written < self.seen:
                self._write(self.history[-1])
            shown = dict(self.active)
            if self.history and self.best.tag in (found := scalars(self.history, self.objective)):
                shown[self.best.column] = found[self.best.tag]
            # Named as its run is: names are sorted as text.
            name = self.folder.name
            start = summary_v2.hparams_pb(shown, trial_id=name, start_time_secs=self.begun)
            _add(writer, start)
            if status is not None:
                _add(writer, _session_end(status))
            writer.close()

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Provide the writer of a file that holds the trial from its first epoch."""
        try:
            if self.writer is None:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.writer, self.seen, self.written = EventFileWriter(str(self.folder)), 0, 0
            yield self.writer
        except OSError:
            broken, self.writer = self.writer, None
            if broken is not None:
                with suppress(OSError):
                    broken.close()
            raise

    def _write(self, result: dict[str, Any]) -> None:
        found = scalars(self.history[: result["epoch"]], self.objective)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in found.items()]
        _add(self.writer, Summary(value=values), step=result["epoch"])
        self.written = result["epoch"]


def _domain(parameter: Parameter) -> Any:
    """Return a parameter's range for TensorBoard: the type and the filter of its column.

    The filter hides values outside, so the range spans those of all backbones.
    """
    if isinstance(parameter, Choice):
        return summary_v2.Discrete(parameter.choice)
    assert isinstance(parameter, Range)
    lows, highs = zip(parameter.bounds, *parameter.per_backbone.values(), strict=True)
    if isinstance(parameter, Int):
        return summary_v2.IntInterval(min(lows), max(highs))
    return summary_v2.RealInterval(float(min(lows)), float(max(highs)))


def _with_first(columns: Summary, names: Sequence[str]) -> Summary:
    """Mark the parameters that come first: TensorBoard sorts those that differ before others."""
    content = columns.value[0].metadata.plugin_data
    data = plugin_data_pb2.HParamsPluginData.FromString(content.content)
    for info in data.experiment.hparam_infos:
        info.differs = info.name in names
    content.content = data.SerializeToString()
    return columns


def _session_end(status: Any) -> Summary:
    data = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    )
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary


def _add(writer: EventFileWriter, summary: Any, step: int = 0) -> None:
    # The hparams plugin has its own copy of the message class: convert through bytes.
    content = Summary.FromString(summary.SerializeToString())
    writer.add_event(Event(wall_time=time.time(), step=step, summary=content))
