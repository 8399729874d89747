"""Comparisons without trainings: from made-up predictions, or from scores as a test wants them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dann_search.evaluation.comparison import Comparison
from dann_search.evaluation.fairness import Fairness
from dann_search.evaluation.method_scores import Difference, Scores, Values, score_methods
from dann_search.evaluation.paired_bootstrap import Interval
from dann_search.storage.layout import ExperimentFolder

SEEDS = [1, 2, 3]


def predicted(
    class_names: list[str],
    shares: Mapping[str, float],
    folder: Path,
    *,
    winner: str = "dann",
    n: int = 60,
) -> Comparison:
    """Methods that are right in so large a share of ``n`` images."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % len(class_names)
    wrong = rng.integers(0, len(class_names), n)
    predictions = {
        name: np.where(rng.random((len(SEEDS), n)) < share, labels, wrong)
        for name, share in shares.items()
    }
    scores = score_methods(labels, predictions, class_names, winner, resamples=200)
    return compared(scores, winner=winner, folder=folder, n=n)


def stated(
    mine: list[float],
    base: list[float],
    interval: tuple[float, float],
    *,
    winner: str = "dann",
    other: str = "source_only",
) -> Comparison:
    """A winner and another method, of these scores by seed and this interval of the difference."""
    gap = Difference([a - b for a, b in zip(mine, base, strict=True)], Interval(*interval), 0.5)
    scores = {
        winner: _scores(Values(mine, Interval(0, 1))),
        other: replace(_scores(Values(base, Interval(0, 1))), difference={"f1_macro": gap}),
    }
    return compared(scores, winner=winner)


def _scores(values: Values) -> Scores:
    return Scores(values, values, values, values)


def compared(
    scores: dict[str, Scores],
    *,
    winner: str,
    folder: Path = Path("runs/office"),
    n: int = 60,
    objective: str = "f1_macro",
    searched: tuple[str, ...] = ("dann",),
    unfinished: int = 0,
) -> Comparison:
    """The scores on the terms of some search."""
    terms = Fairness(
        winner=winner,
        methods=list(scores),
        epochs=6,
        batch_size=32,
        seeds=SEEDS,
        sizes={"source": {"train": 573}, "target": {"train": 179, "val": 58, "test": n}},
        hashes={},
        objective=objective,
        trials=40,
        unfinished=unfinished,
        searched_methods=list(searched),
    )
    return Comparison(winner, 12, SEEDS, scores, n, 2000, terms, ExperimentFolder(folder))
