"""What a comparison says in sentences: whether adaptation helps, and how to read the scores."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dann_search.config.trial import adapting
from dann_search.evaluation.baselines import (
    ADABN,
    LAMBDA_0,
    SOURCE_PLUS_FEW,
    SUPERVISED,
    TARGET_FEW,
    TLLIB,
    TUNED,
)
from dann_search.outputs.comparison import Comparison, Difference, MethodScores

BASE = "source_only"
FEW_SEEDS = 5
"""With fewer seeds, the notes warn that they say little about how much seeds differ."""


def steps(winner: str, names: Collection[str], same_as: Mapping[str, str]) -> list[str]:
    """Return the methods on the way from source-only to the winner, each with one thing more.

    Those that share another one's runs, ``same_as``, add nothing.
    """
    way = [BASE, SOURCE_PLUS_FEW, ADABN, LAMBDA_0, *([winner] if winner in adapting() else [])]
    taken = {same_as.get(winner, winner)} if winner in adapting() else set()
    found = []
    for name in dict.fromkeys(way):
        runs = same_as.get(name, name)
        if name in names and (name == winner or runs not in taken):
            found.append(name)
            taken.add(runs)
    return found


def verdict(winner: str, methods: Mapping[str, MethodScores], few: bool = False) -> str:
    """Say whether adaptation helps here.

    It helps if the winner is above source-only, and above adabn, which shows how far the target's
    batch-norm statistics alone go: the interval of either difference excludes 0, and the difference
    exceeds the standard deviation over seeds of both. Of a baseline that was tuned, the stronger
    of its two recipes counts, by mean macro-F1. Where the winner was trained on labelled target
    images too, source_plus_few takes the place of source-only.
    """
    if winner not in adapting():
        return _verdict_without(winner, methods)
    base = SOURCE_PLUS_FEW if few else BASE
    bases = [name for name in (base, ADABN) if name != winner]
    if lacking := [name for name in (winner, *bases) if name not in methods]:
        return (
            f"whether {winner} helps shows beside {' and '.join(bases)}: "
            f"name {' and '.join(lacking)} among the methods"
        )
    bases = [stronger(base, methods) for base in bases]
    # Without batch norm to adapt, adabn has the runs of source-only, or the other way round.
    apart = [base for base in bases if methods[base].same_as not in bases]
    leads = {name: _lead(winner, name, methods) for name in apart}
    numbers = "; ".join(f"against {name} {lead.numbers}" for name, lead in leads.items())
    if any(methods[one].tuned for one in methods):
        numbers += "; of each baseline the stronger counts, inherited or tuned"
    if behind := [base for base, lead in leads.items() if lead.gap.mean <= 0]:
        against = " and ".join(behind)
        return f"adaptation does not help here: {winner} is not above {against}: {numbers}"
    if doubtful := {base: lead.doubts for base, lead in leads.items() if lead.doubts}:
        doubts = "; ".join(
            f"above {base}, but {' and '.join(doubts)}" for base, doubts in doubtful.items()
        )
        return f"adaptation is not shown to help here: {winner} is {doubts}: {numbers}"
    own = _of_the_loss(winner, methods)
    return f"adaptation helps here: {winner} is above {' and '.join(leads)}: {numbers}{own}"


def _of_the_loss(winner: str, methods: Mapping[str, MethodScores]) -> str:
    """Say where the winner's batches and batch norm do it, and its loss is not shown to."""
    if winner == ADABN or LAMBDA_0 not in methods:
        return ""
    base = stronger(LAMBDA_0, methods)
    lead = _lead(winner, base, methods)
    if lead.gap.mean > 0 and not lead.doubts:
        return ""
    return f"; its loss itself is not shown to: against {base} {lead.numbers}"


def stronger(base: str, methods: Mapping[str, MethodScores]) -> str:
    """Return a baseline's name, or that of its tuned twin where this one is better."""
    names = [name for name in (base, base + TUNED) if name in methods]
    return max(names, key=lambda name: methods[name].f1_macro_test.mean)


@dataclass(frozen=True)
class _Lead:
    """The winner's lead over a baseline, in macro-F1, and the deviation over seeds of both."""

    gap: Difference
    noise: float

    @property
    def numbers(self) -> str:
        low, high = self.gap.ci95
        return (
            f"macro-F1 {self.gap.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, standard "
            f"deviation over seeds {self.noise:.3f}"
        )

    @property
    def doubts(self) -> list[str]:
        return [
            *(["the interval reaches 0"] if self.gap.ci95[0] <= 0 else []),
            *(["it is no more than seeds differ"] if self.gap.mean <= self.noise else []),
        ]


def _lead(winner: str, base: str, methods: Mapping[str, MethodScores]) -> _Lead:
    noise = max(methods[name].f1_macro_test.sd for name in (winner, base))
    return _Lead(methods[base].difference["f1_macro"], noise)


def _verdict_without(winner: str, methods: Mapping[str, MethodScores]) -> str:
    """Say whether another method adapts with success where the search's winner does not adapt."""
    rivals = [stronger(name, methods) for name in (*adapting(), TLLIB) if name in methods]
    if winner not in methods or not rivals:
        return f"the winner, {winner}, does not adapt: name dann among the methods to see"
    rival = max(rivals, key=lambda name: methods[name].f1_macro_test.mean)
    gap = methods[rival].difference["f1_macro"]
    low, high = gap.ci95
    return (
        f"adaptation {'helps' if high < 0 else 'does not help'} here: the winner, {winner}, "
        f"against {rival} macro-F1 {gap.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    )


def parts(methods: Mapping[str, MethodScores]) -> list[str]:
    """Say in one sentence how much each part of the winner brings; none without parts."""
    after = {one.part.over: (name, one.part.f1_macro) for name, one in methods.items() if one.part}
    first = [over for over in after if over not in [name for name, _ in after.values()]]
    brought, over = list[str](), first[0] if first else ""
    while over in after:
        name, gain = after[over]
        brought.append(f"{name} over {over} {gain}")
        over = name
    return [f"macro-F1 that each part brings: {', '.join(brought)}"] if brought else []


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader of the scores has to know, one sentence each."""
    methods, winner, seeds = comparison.methods, comparison.winner, len(comparison.seeds)
    lines = [
        f"{name}: the same runs as {scores.same_as}, because both recipes come to the same"
        for name, scores in methods.items()
        if scores.same_as
    ]
    lines += parts(methods)
    lines += [f"{name} is left out: {reason}" for name, reason in comparison.failed.items()]
    if TARGET_FEW in methods:
        lines.append(f"{TARGET_FEW} saw no source image and no unlabelled one of the target")
    if SUPERVISED in methods:
        lines.append(f"{SUPERVISED} is an upper bound: it was trained on the target's own labels")
    if winner not in methods:
        lines.append(f"no differences: the winner, {winner}, is not among the methods")
    contents = comparison.n_test_contents
    together = f"(the copies of {contents} contents together) " * (contents < comparison.n_test)
    return [
        *lines,
        *comparison.fairness.notes,
        f"intervals and p: {comparison.resamples} resamples of the {comparison.n_test} test images "
        f"{together}and the {seeds} seeds, the same for all methods"
        + ("; so few seeds tell little of how much seeds differ" * (seeds < FEW_SEEDS)),
    ]
