"""Scores of the best model as other commands left them: ``evaluate`` on test, ``compare``.

Read defensively: these files are of other commands, of other days, perhaps of another model.
"""

import json
import shlex
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dann_search.inference.model_files import EVALUATION, RECORD
from dann_search.storage.layout import ExperimentFolder

Interval = tuple[float, float]
BASE, JSON = "source_only", "comparison.json"
Kind = TypeVar("Kind", bound=BaseModel)


class _Read(BaseModel):
    """Fields that are not known here are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class ClassRow(_Read):
    """One class of a measurement."""

    name: str = Field(alias="class")
    precision: float
    recall: float
    f1: float
    n: int


class Bin(_Read):
    """Images of about one confidence; the means are None where there are none."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class Measured(_Read):
    """Metrics on one split of the target, as ``evaluate --json`` prints them."""

    split: str
    n: int
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    ci95: dict[str, Interval]
    per_class: list[ClassRow]
    confusion: list[list[int]]
    reliability: list[Bin] = []
    ece: float | None = None
    temperature: float = 1.0


class Summary(_Read):
    """One metric of one method over its seeds, and its interval over images and seeds."""

    mean: float
    sd: float
    values: list[float]
    ci95: Interval | None = None


class Difference(_Read):
    """The winner's mean minus a method's."""

    mean: float
    ci95: Interval | None = None
    p_value: float | None = None


class Method(_Read):
    """One method of the comparison."""

    f1_macro_test: Summary
    accuracy_test: Summary | None = None
    precision_macro_test: Summary | None = None
    recall_macro_test: Summary | None = None
    difference: dict[str, Difference] = {}
    same_as: str | None = None
    runs: list[str] = []

    @property
    def lead(self) -> Difference | None:
        """Of the winner's macro-F1 over this method's, where ``compare`` tested it."""
        return self.difference.get("f1_macro")


class Terms(_Read):
    """What the methods share, and what not, in sentences."""

    notes: list[str] = []


class Compared(_Read):
    """The comparison of the winner with its baselines."""

    methods: dict[str, Method] = Field(min_length=1)
    trial: int
    seeds: list[int]
    named: str = Field("", alias="winner")
    verdict: str = ""
    fairness: Terms = Terms()

    @property
    def winner(self) -> str:
        """Its method."""
        return self.named or next(iter(self.methods))

    @property
    def gain(self) -> Difference | None:
        """Over source-only, where both are among the methods."""
        mine, base = self.methods.get(self.winner), self.methods.get(BASE)
        if mine is None or base is None or self.winner == BASE:
            return None
        mean = mine.f1_macro_test.mean - base.f1_macro_test.mean
        return base.lead or Difference(mean=mean)


def shown(folder: ExperimentFolder) -> str:
    """The experiment as a word of a command line."""
    return shlex.quote(str(folder))


class Absent(Exception):
    """There is nothing to show; the message says why and what to do, for people."""


def read_evaluation(folder: ExperimentFolder, trial: int) -> Measured:
    """What ``evaluate`` measured of this trial's model on the target's test split.

    Raises:
        Absent: it did not, or of another model, or before this one was calibrated.
    """
    again = f"run: dann-search evaluate {shown(folder)}"
    path, record = folder.best / EVALUATION, folder.best / RECORD
    folder.fetch(path, record)
    if not path.is_file() or not record.is_file():
        raise Absent(f"The best model was not evaluated on the target's test split yet; {again}")
    model = _read(record)
    if (evaluated := model.get("trial")) != trial:
        raise Absent(
            f"The test split was evaluated with the model of trial {evaluated}, and trial {trial} "
            f"is the best now; {again}"
        )
    if "refit" in model:
        raise Absent(
            f"The model in {folder.best.name}/ was trained again on train and val: what it reached "
            "on the test split says nothing of the model of this report"
        )
    measured = _validated(Measured, path)
    if measured.split != "test":
        raise Absent(f"{path.name} is of other images than the test split; {again}")
    if measured.temperature != model.get("temperature", 1.0):
        raise Absent(f"The model was calibrated since it was evaluated on the test split; {again}")
    return measured


def read_comparison(folder: ExperimentFolder, trial: int) -> Compared:
    """What ``compare`` found for this trial.

    Raises:
        Absent: it was not run, or for another trial.
    """
    again = f"run: dann-search compare {shown(folder)}"
    path = folder.compare / JSON
    folder.fetch(path)
    if not path.is_file():
        raise Absent(f"The best model was not compared with its baselines yet; {again}")
    compared = _validated(Compared, path)
    if compared.trial != trial:
        raise Absent(
            f"The comparison is of trial {compared.trial}, and trial {trial} is the best now; "
            f"{again}"
        )
    return compared


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Absent(f"{path.name} cannot be read: {exc}") from None
    return content if isinstance(content, dict) else {}


def _validated(kind: type[Kind], path: Path) -> Kind:
    try:
        return kind.model_validate(_read(path))
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Absent(f"{path.name} cannot be read: {where}: {first['msg']}") from None
