"""The sections of an experiment file, validated; nothing else in the package sees raw YAML."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dann_search.config.data import DataConfig, Place
from dann_search.config.database_url import check_url
from dann_search.config.entries import OneOf
from dann_search.config.extensions import SAMPLERS, VALIDATORS
from dann_search.config.messages import shown
from dann_search.config.parameter import Parameter, Scalar
from dann_search.config.strict import FieldError, Strict
from dann_search.config.trial import TrialConfig
from dann_search.errors import nearest


class BudgetConfig(Strict):
    """Limits of a search, besides its number of trials."""

    hours: float | None = Field(None, gt=0, description="wall-clock time")
    cpu_hours: float | None = Field(None, gt=0, description="CPU-hours that running trials reserve")
    gpu_hours: float | None = Field(None, gt=0, description="GPU-hours that running trials reserve")
    no_improvement: int | None = Field(
        None, ge=1, description="trials in a row that are not better than the best before"
    )
    target: float | None = Field(None, description="value of the objective that ends the search")


class ConfirmConfig(Strict):
    """Finalists are trained again with new seeds at the end, and ranked by their mean score."""

    top: int = Field(3, ge=1, le=100, description="number of completed trials to confirm")
    seeds: int = Field(3, ge=1, le=100, description="number of new seeds for each")

    def finalists(self, scores: Mapping[int, float], recipes: Mapping[int, object]) -> list[int]:
        """Return the numbers of the best completed trials, the earliest on ties.

        Of trials of one recipe the best alone may be a finalist.
        """
        best: dict[str, int] = {}
        for number in sorted(scores, key=lambda number: (-scores[number], number)):
            best.setdefault(repr(recipes[number]), number)
        return list(best.values())[: self.top]

    def new_seeds(self, seed: int) -> range:
        """Return the seeds that follow the search's own."""
        return range(seed + 1, seed + 1 + self.seeds)


F1_MACRO = "f1_macro"
"""The objective by default: macro-F1 on the target's validation labels."""
LABEL_FREE = "bnm"
"""The objective by default where the target has no labels: docs/benchmarks.md, Validators."""


def objectives() -> list[str]:
    """Return what may choose epochs and trials: the metric that needs labels, and validators."""
    return [F1_MACRO, *VALIDATORS]


STUDIES = ("auto", "sqlite", "journal", "a URL such as postgresql://user@host/database")


class SearchConfig(Strict):
    """How the space is searched."""

    objective: Annotated[str, OneOf(objectives)] = Field(
        F1_MACRO,
        description="score that chooses epochs and trials: macro-F1 on the target's validation "
        "labels, or a validator, which needs no target label; bnm by default where the target has "
        "no labels",
    )

    trials: int = Field(20, ge=1, le=1_000_000)
    sampler: Annotated[str, OneOf(lambda: SAMPLERS)] = "tpe"
    scheduler: Literal["asha", "hyperband", "median", "none"] = "asha"
    seed: int = Field(0, ge=0, lt=2**31)
    published_first: bool = Field(
        True, description="try the published recipes before all other trials"
    )
    start_points: list[dict[str, Scalar]] = Field(
        default_factory=list,
        description="values of searched parameters to try after the published recipes",
    )
    warm_start: Path | None = Field(
        None, description="experiment whose completed trials the sampler learns from"
    )
    study: str = Field(
        "auto",
        description="storage of the study: sqlite, journal (for shared file systems), auto, which "
        "chooses between them, or the URL of a database",
    )
    keep_best: int = Field(
        10,
        ge=1,
        description="number of best trials whose models are kept, at least the finalists'; a model "
        "of another trial is deleted when it ends, or falls behind",
    )
    budget: BudgetConfig = BudgetConfig()
    confirm: ConfirmConfig | None = None

    @field_validator("objective", mode="before")
    @classmethod
    def _not_accuracy(cls, objective: Any) -> Any:
        if str(objective).casefold() in ("accuracy", "acc", "accuracy_val"):
            raise ValueError(
                f"unknown value {shown(objective)}; did you mean 'f1_macro'? It is what target "
                "labels choose by; source_accuracy is measured on source images"
            )
        return objective

    @field_validator("study")
    @classmethod
    def _kept_somewhere(cls, study: str) -> str:
        if "://" in study:
            check_url(study)
        elif study not in STUDIES:
            raise ValueError(f"unknown value {shown(study)}; {nearest(study, STUDIES)}")
        return study

    @model_validator(mode="after")
    def _target_can_be_reached(self) -> Self:
        target = self.budget.target
        if self.objective == F1_MACRO and target is not None and not 0 < target <= 1:
            remedy = f"; write {target / 100:g}" if 1 < target <= 100 else ""
            message = f"macro-F1 lies between 0 and 1, got {target:g}{remedy}"
            raise FieldError(("budget", "target"), message)
        return self


class ResourcesConfig(Strict):
    """The resources of one trial."""

    workers_per_trial: int = Field(1, ge=1)
    cpus_per_worker: int = Field(
        1, ge=1, description="CPUs and threads of a worker; more where memory leaves CPUs over"
    )
    gpus_per_worker: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    max_parallel_trials: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="number of trials at once; auto for what CPUs, GPUs and memory allow"
    )
    across_nodes: bool = Field(
        False, description="whether the workers of one trial may run on several nodes of a cluster"
    )
    accelerator_type: str | None = Field(
        None, description="train only on nodes with these GPUs, in Ray's naming, such as A100"
    )
    memory_per_worker_gib: float | None = Field(
        None,
        gt=0,
        description="memory that a worker reserves, in place of an estimate",
    )
    trials_per_group: int = Field(
        200, ge=1, description="number of trials after which worker processes are replaced"
    )
    max_worker_deaths: int = Field(
        3, ge=1, description="number of worker deaths after which a trial fails"
    )
    stall_timeout_s: float = Field(
        600.0, gt=0, description="seconds without a sign of life after which a worker is restarted"
    )
    storage_timeout_s: float = Field(
        3600.0,
        gt=0,
        description="seconds that a search waits for storage, disk or network to come back before "
        "it ends",
    )

    @field_validator("gpus_per_worker")
    @classmethod
    def _at_most_one(cls, value: float | str) -> float | str:
        if isinstance(value, float) and value > 1:
            raise ValueError(
                "must be at most 1, for a worker trains on one GPU; a trial gets more of them by "
                f"workers_per_trial, got {value:g}"
            )
        return value


Channels = tuple[float, float, float]


class WeightsFile(Strict):
    """A file of pre-trained weights, and the normalization that they were trained with.

    In an experiment file a path may replace ``{file: path}``, and one number all three channels.
    """

    file: Path
    mean: Channels | None = Field(None, description="the backbone's own where absent")
    std: Channels | None = Field(None, description="the backbone's own where absent")

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str | Path) else value

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _all_channels(cls, value: Any) -> Any:
        channels = [value] * 3 if isinstance(value, int | float) else value
        numbers = isinstance(channels, list | tuple) and len(channels) == 3
        if value is not None and not (
            numbers and all(isinstance(x, int | float) for x in channels)
        ):
            raise ValueError(f"must be a number or three, one a channel, got {shown(value)}")
        return channels

    @field_validator("std")
    @classmethod
    def _positive(cls, value: Channels | None) -> Channels | None:
        if value and min(value) <= 0:
            raise ValueError(f"must be more than 0, got {min(value):g}")
        return value


class ExperimentConfig(Strict):
    """One search: its data, fixed recipe, space, resources and storage."""

    name: str
    data: DataConfig
    training: dict[str, Any] = Field(default_factory=dict)
    search: SearchConfig = SearchConfig()
    space: dict[str, Parameter] = Field(default_factory=dict)
    weights: dict[str, WeightsFile] = Field(default_factory=dict)
    extensions: tuple[Path, ...] = Field(
        (),
        description="Python files beside this one that register methods, validators, "
        "augmentations, samplers or backbones",
    )
    resources: ResourcesConfig = ResourcesConfig()
    tracking: tuple[Literal["wandb", "mlflow"], ...] = Field(
        (),
        description="services that get the curves and parameters that TensorBoard gets; their own "
        "environment variables say where they are",
    )
    storage: Place = Field(
        Path("runs"),
        description="where experiments are stored: a folder, or a URL such as s3://bucket/dir",
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError(
                "must be up to 100 letters, digits, '.', '_' and '-', the first a letter or digit, "
                f"got {shown(name)}"
            )
        return name

    @property
    def place(self) -> str:
        """Path or URL of the experiment's folder."""
        return f"{str(self.storage).rstrip('/')}/{self.name}"

    @property
    def fixed(self) -> TrialConfig:
        """The recipe with every searched parameter at its default."""
        return TrialConfig(**self.training)
