"""What compare prints; comparison.json has the same."""

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import ClassRow, Interval

BY_SPLIT = "by role (source, target) and split (train, val, test)"


class Spread(Output):
    """A score over the seeds."""

    mean: float = Field(description="over the seeds, 0 to 1")
    sd: float = Field(description="standard deviation")
    values: list[float] = Field(description="one a seed, in the order of seeds")
    ci95: Interval | None = Field(
        description="of the mean, over images and seeds; null for precision and recall"
    )


class Difference(Output):
    """The winner's score minus this method's, seed by seed."""

    mean: float = Field(description="above 0 where the winner is better")
    sd: float = Field(description="standard deviation")
    values: list[float] = Field(description="one a seed, in the order of seeds")
    ci95: Interval
    p_value: float = Field(description="two-sided, of no difference; not corrected for many tests")


class ClassSpread(ClassRow):
    """One class; scores are means over the seeds."""

    f1_sd: float = Field(description="standard deviation of f1 over the seeds")


class MethodScores(Output):
    """One method on the target's test split."""

    f1_macro_test: Spread = Field(description="macro-F1")
    accuracy_test: Spread = Field(description="share of images classified right")
    precision_macro_test: Spread = Field(description="mean precision over classes")
    recall_macro_test: Spread = Field(description="mean recall over classes")
    per_class: list[ClassSpread] = Field(description="in label order")
    difference: dict[str, Difference] = Field(
        description="by score: f1_macro, accuracy; empty for the winner itself, and where the "
        "winner is not among the methods"
    )
    same_as: str | None = Field(
        description="the method whose runs these are, where both recipes are the same; else null"
    )
    runs: list[str] = Field(description="folders in compare/ of its trainings, one a seed")


class Tuned(Output):
    """What the search did for one method and not for the others."""

    method: str = Field(description="the winner's")
    trials: int = Field(description="of the search, that chose its recipe")
    among: list[str] = Field(description="methods that were searched")
    target_val_labels: int = Field(
        description="labels of the target that chose recipe and epochs; 0 for an objective "
        "without labels"
    )


class Fairness(Output):
    """What the methods share, and what not."""

    epochs: int = Field(description="of every training")
    batch_size: int = Field(description="images a domain and step")
    sizes: dict[str, dict[str, int]] = Field(description=f"images {BY_SPLIT}")
    hashes: dict[str, dict[str, str]] = Field(description=f"of contents and labels {BY_SPLIT}")
    objective: str = Field(description="f1_macro or a validator's name; chose recipe and epochs")
    tuned: Tuned = Field(description="what the search did for the winner alone")
    notes: list[str] = Field(description="the same in sentences")


class Comparison(Output):
    """The winner against its baselines, all trained anew."""

    methods: dict[str, MethodScores] = Field(description="by name, in the order asked for")
    winner: str = Field(description="method of the search's best trial")
    trial: int = Field(description="number of that trial")
    seeds: list[int] = Field(description="of the trainings, the same for all methods")
    n_test: int = Field(description="images of the target's test split")
    resamples: int = Field(description="that intervals and p-values rest on")
    verdict: str = Field(description="whether adaptation helps here, in a sentence")
    fairness: Fairness = Field(description="what the methods share, and what not")
    failed: dict[str, str] = Field(
        description="methods that are left out for a training of theirs failed, and why"
    )
