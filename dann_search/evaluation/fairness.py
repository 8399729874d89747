"""What the methods of a comparison share, and what one of them has over the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dann_search.config.experiment import Experiment
from dann_search.config.parameter import Choice
from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.evaluation.baselines import TLLIB
from dann_search.results.reader import TrialRow
from dann_search.training.result import F1_MACRO


@dataclass(frozen=True)
class Fairness:
    """The terms of a comparison.

    Attributes:
        winner: its method.
        methods: all that are compared.
        epochs, batch_size, seeds: the same for all.
        sizes: images by role and split; the same splits for all.
        hashes: of those splits.
        objective: what chose the winner's recipe, and each run's epoch.
        trials: of the search.
        unfinished: trials that the search has not ended yet.
        searched_methods: the methods among which the search chose.
    """

    winner: str
    methods: list[str]
    epochs: int
    batch_size: int
    seeds: list[int]
    sizes: dict[str, dict[str, int]]
    hashes: dict[str, dict[str, str]]
    objective: str
    trials: int
    unfinished: int
    searched_methods: list[str]

    @property
    def reads_labels(self) -> bool:
        """Whether labels of the target's validation split choose recipe and epochs."""
        return self.objective == F1_MACRO

    def lines(self) -> list[str]:
        """What people are told."""
        found = [
            f"shared by all: images and splits, {self.epochs} epochs, batches of "
            f"{self.batch_size}, seeds {', '.join(map(str, self.seeds))}; of each run the best "
            f"epoch by {self._chooser()}"
        ]
        if others := [name for name in self.methods if name not in (self.winner, TLLIB)]:
            found.append(
                f"not shared: {self.trials} trials tuned the recipe {self._for_whom()} by "
                f"{self._chooser()}; {', '.join(others)} inherit{'s' * (len(others) == 1)} it "
                f"untuned, which favours {self.winner}"
            )
        if TLLIB in self.methods:
            found.append(f"{TLLIB} is tllib's default recipe, tuned to no target")
        if self.unfinished:
            found.append(f"{self.unfinished} trials of the search have not ended: resume it first?")
        return found

    def _chooser(self) -> str:
        if self.reads_labels:
            return f"macro-F1 on {self.sizes['target']['val']} target val labels"
        return f"{self.objective}, without target labels"

    def _for_whom(self) -> str:
        if len(self.searched_methods) > 1:
            return f"and the method, among {', '.join(self.searched_methods)},"
        return f"of {self.winner}"

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "sizes": self.sizes,
            "hashes": self.hashes,
            "objective": self.objective,
            "tuned": {
                "method": self.winner,
                "trials": self.trials,
                "among": self.searched_methods,
                "target_val_labels": self.sizes["target"]["val"] if self.reads_labels else 0,
            },
            "notes": self.lines(),
        }


def fairness(
    experiment: Experiment,
    rows: Sequence[TrialRow],
    winner: TrialConfig,
    methods: list[str],
    seeds: list[int],
    info: StoreInfo,
) -> Fairness:
    """The terms on which ``methods`` are compared."""
    own = [row for row in rows if row.confirms is None]
    searched = experiment.space.get("method")
    return Fairness(
        winner=winner.method,
        methods=methods,
        epochs=winner.epochs,
        batch_size=winner.batch_size,
        seeds=seeds,
        sizes=info.sizes,
        hashes=info.hashes,
        objective=experiment.search.objective,
        trials=sum(row.state in ("completed", "pruned") for row in own),
        unfinished=sum(row.state == "running" for row in own),
        searched_methods=[str(name) for name in searched.choice]
        if isinstance(searched, Choice)
        else [winner.method],
    )
