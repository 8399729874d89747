"""What a comparison says in sentences: whether adaptation helps, and how to read the scores."""

from collections.abc import Mapping

from dann_search.config.trial import adapting
from dann_search.evaluation.baselines import SUPERVISED, TLLIB
from dann_search.outputs.comparison import Comparison, MethodScores

BASE = "source_only"
FEW_SEEDS = 5
"""With fewer seeds, the notes warn that they say little about how much seeds differ."""


def verdict(winner: str, methods: Mapping[str, MethodScores]) -> str:
    """Say whether adaptation helps here.

    It helps if the winner is above source-only, the interval of the difference excludes 0, and the
    difference exceeds the standard deviation over seeds of both.
    """
    if winner not in adapting():
        return _verdict_without(winner, methods)
    if not {winner, BASE} <= methods.keys():
        return f"whether {winner} helps shows beside {BASE}: name both methods"
    gap = methods[BASE].difference["f1_macro"]
    low, high = gap.ci95
    noise = max(methods[name].f1_macro_test.sd for name in (winner, BASE))
    numbers = (
        f"macro-F1 {gap.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
        f"standard deviation over seeds {noise:.3f}"
    )
    if gap.mean <= 0:
        return f"adaptation does not help here: {winner} against {BASE} {numbers}"
    doubts = [
        *(["the interval reaches 0"] if low <= 0 else []),
        *(["it is no more than seeds differ"] if gap.mean <= noise else []),
    ]
    if doubts:
        return (
            f"adaptation is not shown to help here: {winner} is above {BASE}, but "
            f"{' and '.join(doubts)}: {numbers}"
        )
    return f"adaptation helps here: {winner} is above {BASE}: {numbers}"


def _verdict_without(winner: str, methods: Mapping[str, MethodScores]) -> str:
    """Say whether another method adapts with success where the search's winner does not adapt."""
    rivals = [name for name in (*adapting(), TLLIB) if name in methods]
    if winner not in methods or not rivals:
        return f"the winner, {winner}, does not adapt: name dann among the methods to see"
    rival = max(rivals, key=lambda name: methods[name].f1_macro_test.mean)
    gap = methods[rival].difference["f1_macro"]
    low, high = gap.ci95
    return (
        f"adaptation {'helps' if high < 0 else 'does not help'} here: the winner, {winner}, "
        f"against {rival} macro-F1 {gap.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    )


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader of the scores has to know, one sentence each."""
    methods, winner, seeds = comparison.methods, comparison.winner, len(comparison.seeds)
    lines = [
        f"{name}: the same runs as {scores.same_as}, because both recipes come to the same"
        for name, scores in methods.items()
        if scores.same_as
    ]
    lines += [f"{name} is left out: {reason}" for name, reason in comparison.failed.items()]
    if SUPERVISED in methods:
        lines.append(f"{SUPERVISED} is an upper bound: it was trained on the target's own labels")
    if winner not in methods:
        lines.append(f"no differences: the winner, {winner}, is not among the methods")
    return [
        *lines,
        *comparison.fairness.notes,
        f"intervals and p: {comparison.resamples} resamples of the {comparison.n_test} test images "
        f"and the {seeds} seeds, the same for all methods"
        + ("; so few seeds tell little of how much seeds differ" * (seeds < FEW_SEEDS)),
    ]
