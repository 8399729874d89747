"""Comparisons without trainings: from made-up predictions, or from scores as a test wants them."""

from collections.abc import Mapping, Sequence

import numpy as np

from dann_search.evaluation.comparison import steps, verdict
from dann_search.evaluation.fairness import sentences
from dann_search.evaluation.method_scores import score_methods, spread
from dann_search.outputs.comparison import (
    Comparison,
    Difference,
    Fairness,
    MethodScores,
    Spread,
    Tuned,
)

SEEDS = [1, 2, 3]


def predicted(
    class_names: list[str],
    shares: Mapping[str, float],
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
    way = steps(winner, predictions, {})
    scores = score_methods(labels, predictions, class_names, winner, resamples=200, steps=way)
    return compared(scores, winner=winner, n=n)


def stated(
    mine: list[float],
    base: list[float],
    interval: tuple[float, float],
    *,
    winner: str = "dann",
    others: Sequence[str] = ("source_only", "adabn"),
) -> Comparison:
    """A winner and others, all of these scores by seed and this interval of the difference."""
    gaps = spread([a - b for a, b in zip(mine, base, strict=True)], interval)
    gap = Difference(**dict(gaps), p_value=0.5)
    scores = {winner: _scores(spread(mine, (0, 1)), {})}
    scores |= {other: _scores(spread(base, (0, 1)), {"f1_macro": gap}) for other in others}
    return compared(scores, winner=winner)


def _scores(one: Spread, difference: dict[str, Difference]) -> MethodScores:
    return MethodScores(
        f1_macro_test=one,
        accuracy_test=one,
        precision_macro_test=one,
        recall_macro_test=one,
        per_class=[],
        difference=difference,
        part=None,
        same_as=None,
        runs=[],
        tuned=None,
    )


def compared(
    scores: dict[str, MethodScores],
    *,
    winner: str,
    n: int = 60,
    objective: str = "f1_macro",
    searched: tuple[str, ...] = ("dann",),
    unfinished: int = 0,
) -> Comparison:
    """The scores on the terms of some search."""
    terms = Fairness(
        epochs=6,
        batch_size=32,
        sizes={"source": {"train": 573}, "target": {"train": 179, "val": 58, "test": n}},
        hashes={},
        objective=objective,
        few_labels=[],
        tuned=Tuned(
            method=winner,
            trials=40,
            among=list(searched),
            target_val_labels=58 if objective == "f1_macro" else 0,
        ),
        notes=[],
    )
    notes = sentences(terms, list(scores), SEEDS, unfinished)
    return Comparison(
        methods=scores,
        winner=winner,
        trial=12,
        seeds=SEEDS,
        n_test=n,
        n_test_contents=n,
        resamples=2000,
        verdict=verdict(winner, scores),
        fairness=terms.model_copy(update={"notes": notes}),
        failed={},
    )
