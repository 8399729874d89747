"""What ``compare`` found: every method's scores, what they say, how people and programs read it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.config.trial import adapting
from dann_search.evaluation.baselines import SUPERVISED, TLLIB
from dann_search.evaluation.fairness import Fairness
from dann_search.evaluation.method_scores import Scores
from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    from pandas import DataFrame

JSON = "comparison.json"
BASE = "source_only"


@dataclass(frozen=True)
class Comparison:
    """Every method's scores, and the terms they were reached on.

    Attributes:
        winner: the method of the search's best trial.
        trial: that trial.
        seeds: of the trainings.
        methods: scores by method, in the order asked for.
        n_test: images of the target's test split.
        resamples: of images and seeds, that intervals and p-values rest on.
        fairness: what all share, and what not.
        folder: the experiment.
        failed: methods that are left out, and why.
    """

    winner: str
    trial: int
    seeds: list[int]
    methods: dict[str, Scores]
    n_test: int
    resamples: int
    fairness: Fairness
    folder: ExperimentFolder
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        return {
            "methods": {name: scores.to_json() for name, scores in self.methods.items()},
            "winner": self.winner,
            "trial": self.trial,
            "seeds": self.seeds,
            "n_test": self.n_test,
            "resamples": self.resamples,
            "verdict": self.verdict(),
            "fairness": self.fairness.to_json(),
            "failed": self.failed,
        }

    def to_frame(self) -> "DataFrame":
        """A row a method; the columns are those of comparison.csv."""
        from pandas import DataFrame

        from dann_search.evaluation.comparison_tables import flat_rows

        return DataFrame(flat_rows(self)).set_index("method")

    def verdict(self) -> str:
        """Whether adaptation helps here, in one line.

        It does where the winner is above source-only, the interval of their difference leaves out
        0, and the difference is more than either differs over seeds.
        """
        if self.winner not in adapting():
            return self._verdict_without()
        if not {self.winner, BASE} <= self.methods.keys():
            return f"whether {self.winner} helps shows beside {BASE}: name both methods"
        gap = self.methods[BASE].difference["f1_macro"]
        assert gap.ci95 is not None
        noise = max(self.methods[name].f1_macro.sd for name in (self.winner, BASE))
        numbers = (
            f"macro-F1 {gap.mean:+.3f}, 95 % interval {gap.ci95.low:+.3f} to {gap.ci95.high:+.3f}, "
            f"standard deviation over seeds {noise:.3f}"
        )
        if gap.mean <= 0:
            return f"adaptation does not help here: {self.winner} against {BASE} {numbers}"
        doubts = [
            *(["the interval reaches 0"] if gap.ci95.low <= 0 else []),
            *(["it is no more than seeds differ"] if gap.mean <= noise else []),
        ]
        if doubts:
            return (
                f"adaptation is not shown to help here: {self.winner} is above {BASE}, but "
                f"{' and '.join(doubts)}: {numbers}"
            )
        return f"adaptation helps here: {self.winner} is above {BASE}: {numbers}"

    def _verdict_without(self) -> str:
        """Where the search's winner does not adapt, and another method may."""
        rivals = [name for name in (*adapting(), TLLIB) if name in self.methods]
        if self.winner not in self.methods or not rivals:
            return f"the winner, {self.winner}, does not adapt: name dann among the methods to see"
        rival = max(rivals, key=lambda name: self.methods[name].f1_macro.mean)
        gap = self.methods[rival].difference["f1_macro"]
        assert gap.ci95 is not None
        numbers = (
            f"macro-F1 {gap.mean:+.3f}, 95 % interval {gap.ci95.low:+.3f} to {gap.ci95.high:+.3f}"
        )
        if gap.ci95.high < 0:
            return f"adaptation helps here: the winner, {self.winner}, against {rival} {numbers}"
        return (
            f"adaptation does not help here: the winner, {self.winner}, against {rival} {numbers}"
        )

    def notes(self) -> list[str]:
        """What has to be known to read the scores, a sentence each."""
        found = [
            f"{name}: the same runs as {scores.same_as}, for both recipes come to the same"
            for name, scores in self.methods.items()
            if scores.same_as
        ]
        found += [f"{name} is left out: {reason}" for name, reason in self.failed.items()]
        if SUPERVISED in self.methods:
            found.append(
                f"{SUPERVISED} is an upper bound: it was trained on the target's own labels"
            )
        if self.winner not in self.methods:
            found.append(f"no differences: the winner, {self.winner}, is not among the methods")
        found += self.fairness.lines()
        found.append(
            f"intervals and p: {self.resamples} resamples of the {self.n_test} test images and the "
            f"{len(self.seeds)} seeds, the same for all methods"
            + ("; so few seeds tell little of how much seeds differ" * (len(self.seeds) < 5))
        )
        return found

    def render(self) -> Group:
        """The table people read, 79 columns wide."""
        table = Table(box=None, pad_edge=False)
        for name in ("method", "macro-F1", "accuracy", f"{self.winner} minus it", "p"):
            left = name == "method"
            table.add_column(name, justify="left" if left else "right", no_wrap=True)
        for name, scores in self.methods.items():
            gap = scores.difference.get("f1_macro")
            cells = (str(gap), shown_p(gap.p)) if gap else ("", "")
            table.add_row(name, str(scores.f1_macro), str(scores.accuracy), *cells)
        head = (
            f"target test, {self.n_test} images, {len(self.seeds)} seeds: mean ± deviation; "
            f"winner: {self.winner}, trial {self.trial}"
        )
        notes = Table.grid(padding=(0, 1))
        for note in self.notes():
            notes.add_row("-", Text(note))
        place = f"{self.folder}/{self.folder.compare.name}/{JSON}"
        more = f"{place}, .csv, .md, .tex: precision, recall, every class"
        return Group(Text(head), table, "", Text(self.verdict()), notes, Text(more))


def shown_p(p: float) -> str:
    """Three places: the smallest of 2,000 resamples is 0.001."""
    return f"{p:.3f}"
