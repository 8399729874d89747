"""Read what ``evaluate`` and ``compare`` have measured of the best model.

Read defensively: other commands wrote these files, perhaps in another version or of another model.
"""

import contextlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dann_search.evaluation.comparison_tables import JSON
from dann_search.inference.model_files import EVALUATION, RECORD
from dann_search.outputs.base import Output
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import Evaluation
from dann_search.outputs.shared import PresentClasses
from dann_search.storage.layout import ExperimentFolder

Kind = TypeVar("Kind", bound=Output)


class Absent(Exception):
    """There is nothing to show; the message tells a reader why and what to do."""


def shown(folder: ExperimentFolder) -> str:
    """Return the experiment as one word of a command line."""
    return shlex.quote(str(folder))


def read_evaluation(folder: ExperimentFolder, trial: int) -> Evaluation:
    """Read the evaluation of this trial's model on the target's test split.

    Raises:
        Absent: there is none, or it is of another model, or older than the model's calibration.
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
            f"The model in {folder.best.name}/ was trained again on train and val: its scores on "
            "the test split say nothing about the model of this report"
        )
    evaluation = _validated(Evaluation, path, again, _with_present)
    if evaluation.split != "test":
        raise Absent(f"{path.name} is of other images than the test split; {again}")
    if evaluation.temperature != model.get("temperature", 1.0):
        raise Absent(f"The model was calibrated since it was evaluated on the test split; {again}")
    return evaluation


def read_comparison(folder: ExperimentFolder, trial: int) -> Comparison:
    """Read the comparison of this trial with its baselines.

    Raises:
        Absent: there is none, or it is of another trial.
    """
    again = f"run: dann-search compare {shown(folder)}"
    path = folder.compare / JSON
    folder.fetch(path)
    if not path.is_file():
        raise Absent(f"The best model was not compared with its baselines yet; {again}")
    comparison = _validated(Comparison, path, again, _with_parts)
    if comparison.trial != trial:
        raise Absent(
            f"The comparison is of trial {comparison.trial}, and trial {trial} is the best now; "
            f"{again}"
        )
    return comparison


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Absent(f"{path.name} cannot be read: {exc}") from None
    return content if isinstance(content, dict) else {}


def _with_present(content: dict[str, Any]) -> dict[str, Any]:
    """Add to an evaluation of 0.1.0 what it has all figures for; its model rejects no image."""
    images = [row["n"] for row in content["per_class"]]
    present = PresentClasses.of(content, content["ci95"], images)
    return {"present": present.model_dump(), "rejection": None, **content}


def _with_parts(content: dict[str, Any]) -> dict[str, Any]:
    """Add to an older comparison that its methods are no steps, nor tuned, its images no copies."""
    absent = {"part": None, "tuned": None}
    methods = {name: {**absent, **one} for name, one in content["methods"].items()}
    fairness = {"few_labels": [], **content["fairness"]}
    added = {"n_test_contents": content["n_test"]}
    return {**added, **content, "methods": methods, "fairness": fairness}


def _validated(
    kind: type[Kind], path: Path, again: str, complete: Callable[[dict[str, Any]], dict[str, Any]]
) -> Kind:
    """Read a result of any version; ``complete`` adds the fields that earlier ones lack."""
    content = _read(path)
    # What it stumbles over is said when it is validated.
    with contextlib.suppress(AttributeError, KeyError, TypeError, ZeroDivisionError):
        content = complete(content)
    try:
        # A later version may have added fields. Lists stand for tuples in JSON, hence not strict.
        return kind.model_validate(content, strict=False, extra="ignore")
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Absent(f"{path.name} cannot be read: {where}: {first['msg']}; {again}") from None
