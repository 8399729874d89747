r"""How well each validator ranks the trials of a search, against their target-test macro-F1.

    dann-search launch search_spaces/quickstart.yaml --set search.scheduler=none \
        --set search.keep_best=1000
    python benchmarks/validators.py runs/quickstart

Every trial's best epoch is scored on the target's test split (this script is the one place that
reads test labels for all trials: nothing is chosen by it). Printed is Spearman rank correlation of
each validator's value at that epoch with the test F1, its 95 % interval over bootstrap resamples of
the trials, and the test F1 of the trial that the validator would have chosen.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from dann_search.config.extensions import VALIDATORS
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_labels, read_info
from dann_search.evaluation.runs import predict_run
from dann_search.results.reader import open_experiment, read_experiment, read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST, load_checkpoint
from dann_search.training.metrics import classification_metrics
from dann_search.training.result import F1_MACRO

RESAMPLES = 2000
ORACLE = f"{F1_MACRO} (target val labels)"


@dataclass(frozen=True)
class Scored:
    """One trial: what the validators say of its best epoch, and its F1 on the test split."""

    validators: dict[str, float]
    f1_test: float


def score_trials(folder: ExperimentFolder) -> list[Scored]:
    """Every trial that has a checkpoint."""
    experiment, scored = read_experiment(folder), []
    labels = open_labels(folder.data, "target", "test")
    classes = len(read_info(folder.data).class_names)
    for row in read_trials(folder):
        if not (folder.trial(row.number) / BEST).exists():
            continue
        best = load_checkpoint(folder.trial(row.number) / BEST).history[-1]
        config = TrialConfig(**row.config)
        predicted = predict_run(config, folder.trial(row.number), experiment, folder.data)
        f1 = classification_metrics(labels, predicted, classes).f1_macro
        assert best.f1_macro_val is not None, "the target has no labels"
        scored.append(Scored({ORACLE: best.f1_macro_val, **best.validators}, f1))
    return scored


def correlation(values: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Spearman's; 0 where either is constant."""
    if np.ptp(values) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(spearmanr(values, truth).statistic)


def table(scored: list[Scored]) -> str:
    """Print a row for each validator."""
    truth = np.array([one.f1_test for one in scored])
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(scored), (RESAMPLES, len(scored)))
    lines = [
        f"{len(scored)} trials, target-test macro-F1 {truth.min():.3f} to {truth.max():.3f}",
        "",
        "| validator | rank correlation | 95 % interval | test F1 of its choice |",
        "|---|---|---|---|",
    ]
    for name in (ORACLE, *VALIDATORS):
        values = np.array([one.validators[name] for one in scored])
        low, high = np.percentile([correlation(values[s], truth[s]) for s in samples], [2.5, 97.5])
        chosen = truth[int(values.argmax())]
        lines.append(
            f"| {name} | {correlation(values, truth):+.2f} | {low:+.2f} to {high:+.2f} "
            f"| {chosen:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table of one experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    arguments = parser.parse_args()
    print(table(score_trials(open_experiment(arguments.experiment))))


if __name__ == "__main__":
    main()
