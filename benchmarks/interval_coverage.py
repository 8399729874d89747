"""How often the intervals of ``evaluate`` and ``compare`` cover the truth.

    python benchmarks/interval_coverage.py        # half an hour, most of it for 345 classes

The worlds are made up, so that the truth is known: the mean score of test sets with as many images
of each class. Every class has the same number of images, or one more.

``evaluate``: classes are of different ease (a tenth to all of their images are right), and have
other classes that they are taken for. Beside the interval's coverage is that of the percentiles
over images drawn from all classes, as is common.

``compare``: an image is classified right where 0.6 + the method's strength + the seed's luck + the
image's easiness + two smaller accidents (of method and image; of method, seed and image) is above
0, all of them normal, else as any other class. Beside the interval's coverage of the difference of
two methods in macro-F1 is that of an interval of images alone.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from dann_search.evaluation.paired_bootstrap import (
    Floats,
    Ints,
    image_weights,
    percentile_interval,
    resample,
    scores_on,
)
from dann_search.evaluation.scoring import score
from dann_search.results.intervals import FIELDS

RESAMPLES = 1000
GAP, ACCIDENT = 0.2, 0.5
WORLD, SETS = 20, 500
"""Test sets of a world of ``evaluate`` that are scored, and of a world that give the truth."""


def sets_of(worlds: int) -> int:
    """Return how many test sets give the truth: fewer where next to nothing is measured."""
    return min(SETS, 10 * worlds)


def labels_of(classes: int, n: int) -> Ints:
    """Of n images, the classes equally frequent."""
    return np.sort(np.arange(n) % classes)


def habits(rng: np.random.Generator, classes: int, right: float) -> Floats:
    """Chances of each class (columns) for images of each (rows), on average ``right``."""
    ease = rng.beta(6 * right, 6 * (1 - right), classes)
    taken = rng.dirichlet(np.full(classes - 1, 0.3), classes) * (1 - ease)[:, None]
    rows = [np.insert(other, row, ease[row]) for row, other in enumerate(taken)]
    return np.array(rows)


def classify(rng: np.random.Generator, chances: Floats, labels: Ints) -> Ints:
    """Draw a class for each image."""
    drawn = rng.random((len(labels), 1))
    found: Ints = (chances.cumsum(1)[labels] > drawn).argmax(1)
    return found


def from_all(labels: Ints, predictions: Ints, classes: int) -> tuple[float, float]:
    """Percentiles of macro-F1 over images drawn from all classes."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), RESAMPLES).T
    f1, _ = scores_on(labels, predictions[None], classes, weights.astype(float))
    return percentile_interval(f1[0])


def evaluate_row(classes: int, n: int, right: float, worlds: int) -> str:
    """Coverage and width of the interval of every metric."""
    rng, labels, names = np.random.default_rng(n), labels_of(classes, n), ["x"] * classes
    images = np.bincount(labels)
    inside, widths, plain = [], [], []
    for _ in range(max(1, worlds // WORLD)):
        chances = habits(rng, classes, right)
        truth = mean_scores(rng, chances, images, sets_of(worlds))
        for _ in range(WORLD):
            predictions = classify(rng, chances, labels)
            ends = np.array([score(labels, predictions, names, "").ci95[one] for one in FIELDS])
            inside.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
            widths.append(ends[:, 1] - ends[:, 0])
            low, high = from_all(labels, predictions, classes)
            plain.append(low <= truth[-1] <= high)
    cells = [
        f"{covered:.2f} ({width:.2f})"
        for covered, width in zip(np.mean(inside, 0), np.mean(widths, 0), strict=True)
    ]
    return f"| {classes} | {n} | {right} | {' | '.join(cells)} | {np.mean(plain):.2f} |"


def mean_scores(rng: np.random.Generator, chances: Floats, images: Ints, sets: int) -> Floats:
    """Mean accuracy, macro precision, recall and F1 of many test sets."""
    total = np.zeros(4)
    for _ in range(sets):
        confusion = rng.multinomial(images, chances)
        right, predicted = confusion.diagonal(), confusion.sum(0)
        precision = right / np.maximum(predicted, 1)
        f1 = 2 * right / (images + predicted)
        total += (
            right.sum() / images.sum(),
            *(np.mean(x) for x in (precision, right / images, f1)),
        )
    return total / sets


def two_methods(
    rng: np.random.Generator, labels: Ints, classes: int, seeds: int, luck: float
) -> Ints:
    """Predictions (2, seeds, n), the better method first."""
    n = len(labels)
    margin = (
        0.6
        + np.array([GAP, 0.0])[:, None, None]
        + rng.normal(size=(2, seeds, 1)) * luck
        + rng.normal(size=n)
        + rng.normal(size=(2, 1, n)) * ACCIDENT
        + rng.normal(size=(2, seeds, n)) * ACCIDENT
    )
    other = (labels + rng.integers(1, classes, margin.shape)) % classes
    return np.where(margin > 0, labels, other)


def gaps(labels: Ints, predictions: Ints, classes: int, weights: Floats) -> Floats:
    """Differences of both methods, means over seeds, with images that weigh so much."""
    f1, _ = scores_on(labels, predictions.reshape(-1, len(labels)), classes, weights)
    mine, other = f1.reshape(2, -1, weights.shape[1]).mean(1)
    difference: Floats = mine - other
    return difference


def compare_row(classes: int, n: int, seeds: int, luck: float, worlds: int) -> str:
    """Coverage and width of both intervals."""
    rng, labels = np.random.default_rng(n + seeds), labels_of(classes, n)
    sets = (two_methods(rng, labels, classes, 20, luck) for _ in range(sets_of(worlds)))
    true = np.mean([gaps(labels, one, classes, np.ones((n, 1))) for one in sets])
    (weights,) = image_weights(np.random.default_rng(0), labels, RESAMPLES)
    ends, deviations = np.empty((worlds, 2, 2)), []
    for number in range(worlds):
        predictions = two_methods(rng, labels, classes, seeds, luck)
        mine, other = resample(labels, predictions, classes, RESAMPLES).f1_macro
        for kind, values in enumerate((mine - other, gaps(labels, predictions, classes, weights))):
            ends[number, kind] = percentile_interval(values)
        deviations.append((predictions == labels).mean(2)[0].std(ddof=1))
    low, high = ends[..., 0], ends[..., 1]
    covered, width = ((low <= true) & (true <= high)).mean(0), (high - low).mean(0)
    return (
        f"| {classes} | {n} | {seeds} | {np.mean(deviations):.3f} "
        f"| {covered[0]:.2f} ({width[0]:.2f}) | {covered[1]:.2f} ({width[1]:.2f}) |"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=300, help="test sets a row")
    parser.add_argument("--most-classes", type=int, default=345, help="leave out larger rows")
    arguments = parser.parse_args()
    worlds = arguments.worlds

    def small(rows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        return [row for row in rows if row[0] <= arguments.most_classes]

    print("| classes | test images | right | accuracy | precision | recall | F1 | F1, from all |")
    print("|---:|" + "---:|" * 7)
    for classes, n in small([(10, 60), (31, 100), (65, 200), (345, 4 * 345)]):
        for right in (0.65, 0.9):
            print(evaluate_row(classes, n, right, worlds), flush=True)
    print("\n| classes | test images | seeds | sd over seeds | images and seeds | images alone |")
    print("|---:|" + "---:|" * 5)
    for luck in (0.03, 0.15):
        for classes, n in ((10, 60), (10, 360)):
            for seeds in (2, 3, 5, 10):
                print(compare_row(classes, n, seeds, luck, worlds), flush=True)
        for classes, n in small([(31, 100), (65, 200), (345, 4 * 345)]):
            print(compare_row(classes, n, 3, luck, worlds), flush=True)


if __name__ == "__main__":
    main()
