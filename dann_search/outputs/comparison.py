"""Results of compare, which comparison.json holds too, and of adapt, which compares at its end."""

import html
from typing import TYPE_CHECKING, Any

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.models import Evaluation
from dann_search.outputs.search import SearchEnded
from dann_search.outputs.shared import ClassRow, Interval

if TYPE_CHECKING:
    from pandas import DataFrame

BY_SPLIT = "by role (source, target) and split (train, val, test)"


class Spread(Output):
    """A score over the seeds."""

    mean: float = Field(description="mean over the seeds, 0 to 1")
    sd: float = Field(description="standard deviation over the seeds")
    values: list[float] = Field(description="one per seed, in the order of seeds")
    ci95: Interval | None = Field(
        description="interval of the mean, over images and seeds; null for precision and recall"
    )

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f}"


class Difference(Output):
    """One method's score minus another's, seed by seed."""

    mean: float = Field(description="above 0 where the first is better")
    sd: float = Field(description="standard deviation over the seeds")
    values: list[float] = Field(description="one per seed, in the order of seeds")
    ci95: Interval
    p_value: float = Field(
        description="two-sided, of no difference; not corrected for multiple tests"
    )

    def __str__(self) -> str:
        low, high = self.ci95
        return f"{self.mean:+.3f} ({low:+.3f}, {high:+.3f})"


class Part(Output):
    """What one step adds on the way from source_only over adabn and lambda_0 to the winner."""

    over: str = Field(description="the method a step before; it differs in this one thing")
    f1_macro: Difference = Field(description="macro-F1 of this method minus that one's")


class ClassSpread(ClassRow):
    """One class; scores are means over the seeds."""

    f1_sd: float = Field(description="standard deviation of f1 over the seeds")


class OwnSearch(Output):
    """The search that tuned a baseline, with ``compare --tune``."""

    method: str = Field(description="the baseline that it tuned")
    trials: int = Field(description="its trials")
    trial: int = Field(description="number of the best of them, whose recipe was trained")
    score: float | None = Field(description="that trial's value of the objective")
    folder: str = Field(description="its folder in compare/tuned/, an experiment of its own")
    searched: list[str] = Field(description="parameters that were searched")


class MethodScores(Output):
    """One method on the target's test split."""

    f1_macro_test: Spread = Field(description="macro-F1")
    accuracy_test: Spread = Field(description="share of images classified correctly")
    precision_macro_test: Spread = Field(description="mean precision over classes")
    recall_macro_test: Spread = Field(description="mean recall over classes")
    per_class: list[ClassSpread] = Field(description="in label order")
    difference: dict[str, Difference] = Field(
        description="the winner's score minus this method's, by score: f1_macro, accuracy; empty "
        "for the winner itself, and where the winner is not among the methods"
    )
    part: Part | None = Field(
        description="what it adds to the step before; null where it is no step of its own"
    )
    same_as: str | None = Field(
        description="the method whose runs these are, where both recipes are the same; else null"
    )
    runs: list[str] = Field(description="folders of its trainings in compare/, one per seed")
    tuned: OwnSearch | None = Field(
        description="the search that tuned it; null where it has the winner's recipe or a "
        "published one"
    )

    @property
    def lead(self) -> Difference | None:
        """The winner's macro-F1 minus this method's, where it was tested."""
        return self.difference.get("f1_macro")

    def flat(self) -> dict[str, Any]:
        """Return the numbers as one row of a table; a number that does not exist is None."""
        part = self.part
        gain = part.f1_macro if part else None
        row: dict[str, Any] = {"tuned_trials": self.tuned and self.tuned.trials}
        row |= {"part_over": part and part.over}
        row |= {"part_f1_macro": gain and gain.mean} | _ends("part_f1_macro", gain)
        for name in ("f1_macro", "accuracy", "precision_macro", "recall_macro"):
            score: Spread = getattr(self, f"{name}_test")
            row |= {name: score.mean, f"{name}_sd": score.sd}
        for name in ("f1_macro", "accuracy"):
            row |= _ends(name, getattr(self, f"{name}_test"))
        for name in ("f1_macro", "accuracy"):
            gap, key = self.difference.get(name), f"difference_{name}"
            row |= {key: gap and gap.mean} | _ends(key, gap) | {f"{key}_p": gap and gap.p_value}
        return row | {f"f1 {one.name}": one.f1 for one in self.per_class}


def _ends(name: str, score: Spread | Difference | None) -> dict[str, float | None]:
    low, high = score.ci95 if score and score.ci95 else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


class Tuned(Output):
    """What the search did for one method and not for the others."""

    method: str = Field(description="the winner's method")
    trials: int = Field(description="trials of the search that chose its recipe")
    among: list[str] = Field(description="methods that were searched")
    target_val_labels: int = Field(
        description="labels of the target that chose recipe and epochs; 0 for an objective "
        "without labels"
    )


class Fairness(Output):
    """What the methods share, and what they do not."""

    epochs: int = Field(description="epochs of every training")
    batch_size: int = Field(description="images per domain and step")
    sizes: dict[str, dict[str, int]] = Field(description=f"images {BY_SPLIT}")
    hashes: dict[str, dict[str, str]] = Field(
        description=f"hashes of contents and labels {BY_SPLIT}"
    )
    objective: str = Field(
        description="f1_macro or the name of the validator that chose recipe and epochs"
    )
    few_labels: list[int] = Field(
        description="labelled images of the target's training split that were trained on, by class "
        "in label order; empty without data.target.labels",
    )
    tuned: Tuned = Field(description="what the search did for the winner alone")
    notes: list[str] = Field(description="the same in sentences")


class Comparison(Output):
    """The winner against its baselines, all trained anew."""

    methods: dict[str, MethodScores] = Field(
        min_length=1, description="by name, in the order asked for"
    )
    winner: str = Field(description="method of the search's best trial")
    trial: int = Field(description="number of that trial")
    seeds: list[int] = Field(description="seeds of the trainings, the same for all methods")
    n_test: int = Field(description="images of the target's test split")
    n_test_contents: int = Field(
        description="different contents among them; copies of one are resampled together"
    )
    resamples: int = Field(description="resamples behind the intervals and p-values")
    verdict: str = Field(description="whether adaptation helps here, in one sentence")
    fairness: Fairness = Field(description="what the methods share, and what they do not")
    failed: dict[str, str] = Field(
        description="methods left out because one of their trainings failed, and why"
    )

    def to_frame(self) -> "DataFrame":
        """Return a row for each method, with the columns of comparison.csv."""
        from pandas import DataFrame

        shared = {"n_test": self.n_test, "seeds": len(self.seeds)}
        rows = [
            {"method": name, "same_as": one.same_as} | shared | one.flat()
            for name, one in self.methods.items()
        ]
        return DataFrame(rows).set_index("method")

    def _repr_html_(self) -> str:
        """Show the verdict and a row for each method in a notebook."""
        from pandas import DataFrame

        rows = {
            name: {
                "macro-F1": str(one.f1_macro_test),
                "accuracy": str(one.accuracy_test),
                f"{self.winner} minus it": str(one.lead or ""),
            }
            for name, one in self.methods.items()
        }
        table: str = DataFrame.from_dict(rows, orient="index").to_html()
        return f"<p>{html.escape(self.verdict)}</p>{table}"


class Adapted(Output):
    """Whether adaptation helps on two domains, and all that says so."""

    experiment: str = Field(description="folder or URL of the experiment")
    answer: str = Field(description="whether adaptation helps here, in plain words")
    search: SearchEnded = Field(description="the search, as launch returns it")
    evaluation: Evaluation | None = Field(
        description="the best model on the target's test split; null without target labels"
    )
    comparison: Comparison | None = Field(
        description="its method against the baselines; null without target labels, and where the "
        "budget ended before"
    )
    report: str | None = Field(
        description="the report's HTML file; null where what draws it is not installed"
    )
    budget_s: float = Field(description="the budget, in seconds")
    elapsed_s: float = Field(description="of this run alone, in seconds")
    notes: list[str] = Field(description="what was left out, and why, one sentence each")
