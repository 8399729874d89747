"""Results of space and schema, which read the experiment file alone."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from dann_search.config.parameter import Scalar
from dann_search.outputs.base import Output
from dann_search.outputs.shared import Searched

Kind = Literal["choice", "uniform", "loguniform", "int"]
"""Kind of a range of values, as in the file."""


class SearchedParameter(Output):
    """One dimension of a search space."""

    name: str = Field(description="as under space in the file")
    kind: Kind = Field(description="as in the file")
    range: list[Scalar] = Field(description="every choice; else the low and the high end")
    step: float | None = Field(description="between two values; null for choices and without steps")
    per_backbone: dict[str, list[float]] = Field(
        description="low and high end by backbone, of those that have their own; else empty"
    )
    when: dict[str, Scalar | list[Scalar]] = Field(
        description="it applies where each of these has the value, or one of the values, given"
    )


class MeasuredSteps(Output):
    """Training steps of one kind of recipe, timed on this machine."""

    backbone: str = Field(description="name of the backbone")
    unfrozen_depth: int | None = Field(
        description="stages trained; null for all, and where one depth was measured for all depths"
    )
    side: int = Field(description="pixels at which the network sees images")
    share: float = Field(description="of the space's recipes that it stands for, 0 to 1")
    step_s: float = Field(description="seconds of a step, of a whole batch of each domain")
    epoch_s: float = Field(description="seconds of an epoch with its validation")
    kept_s: float = Field(
        description="seconds of the whole search in which features of frozen stages are computed "
        "that are kept; 0 where none are",
    )


class Estimate(Output):
    """What a search will cost on this machine."""

    hours_low: float = Field(description="hours it takes at least, by estimate")
    hours_high: float = Field(description="hours it takes at most, by estimate")
    slots: int = Field(description="trials that train at once")
    trials: int = Field(description="trials of the search, without those that confirm finalists")
    epochs: int = Field(description="of a whole trial")
    epochs_mean: float = Field(description="of a trial on average, as pruning usually leaves them")
    memory_gb: float | None = Field(description="of a slot, in GB; null where it is not known")
    disk_gb: float | None = Field(
        description="of checkpoints and packed images, in GB; null where it is not known"
    )
    measured: list[MeasuredSteps] = Field(description="on one slot with nothing beside it")
    advice: list[str] = Field(
        description="what would make it shorter, where it exceeds a day or its budget; else empty"
    )


class SpaceSummary(Output):
    """A search space."""

    parameters: list[SearchedParameter] = Field(description="in the order of sampling")
    combinations: int | None = Field(
        description="number of configurations; null where some range has no steps"
    )
    trials: int = Field(
        description="trials of the search: search.trials, or all configurations if they are fewer"
    )
    scheduler: str = Field(description="what stops trials early, in words")
    plan: str = Field(
        description="how many trials train at once on this machine, and the memory they need, in "
        "words"
    )
    disk: str = Field(
        description="how many GB of checkpoints a search leaves at most, what a trial in training "
        "takes, and which features of frozen stages are kept, in words"
    )
    objective: str = Field(description="what is maximized: f1_macro, or a validator's name")
    target_labelled: bool = Field(
        description="false where the target has no labels; true where it is not there to be looked "
        "at"
    )
    few_labels: str | None = Field(
        description="which labels of the target's training split are trained on, in words; null "
        "without data.target.labels",
    )
    licences: dict[str, str] = Field(
        description="of published pre-trained weights, by backbone, where timm says one",
    )
    samples: list[Searched] = Field(description="values by parameter, of those that apply")
    estimate: Estimate | None = Field(description="null without --estimate")


class ShippedSpace(Output):
    """An experiment file that comes with the package."""

    name: str = Field(description="what launch, space and init --from take")
    title: str = Field(description="what it is for")
    file: str = Field(description="path of the file")


class ShippedSpaces(Output):
    """The experiment files that come with the package."""

    spaces: list[ShippedSpace] = Field(description="by name")


class NewFile(Output):
    """An experiment file that was written."""

    file: str = Field(description="path of the file")
    copied_from: str = Field(description="name of the shipped file that it is a copy of")


class JsonSchema(Output):
    """A JSON Schema (draft 2020-12): of the file, or of what a command prints."""

    model_config = ConfigDict(extra="allow")

    dialect: Literal["https://json-schema.org/draft/2020-12/schema"] = Field(
        alias="$schema", description="of JSON Schema itself; the other fields are the schema's"
    )
    title: str = Field(description="of the schema")
    definitions: dict[str, Any] = Field(alias="$defs", description="its parts, by name")
