"""How often the intervals of ``compare`` cover the true difference of two methods in macro-F1.

    python benchmarks/interval_coverage.py

The world is made up, so that the truth is known. An image of one of ten classes is classified right
where 0.6 + the method's strength + the seed's luck + the image's easiness + two smaller accidents
(of method and image; of method, seed and image) is above 0, all of them normal, else as any other
class. Over all images and seeds a method's macro-F1 is then the probability of a right answer.

Printed is the share of 300 worlds whose 95 % interval covers the difference of two methods, for the
interval of ``compare`` and for one of images alone, with the mean widths of both.
"""

import argparse

import numpy as np
from scipy.stats import norm

from dann_search.results.paired_bootstrap import (
    Floats,
    Interval,
    Ints,
    image_counts,
    resample,
    scores_on,
)

CLASSES, RESAMPLES = 10, 1000
BASE, GAP, ACCIDENT = 0.6, 0.2, 0.5


def truth(luck: float) -> float:
    """The difference of both methods' macro-F1 over all images and seeds."""
    spread = np.sqrt(1 + 2 * ACCIDENT**2 + luck**2)
    return float(norm.cdf((BASE + GAP) / spread) - norm.cdf(BASE / spread))


def world(rng: np.random.Generator, n: int, seeds: int, luck: float) -> tuple[Ints, Ints]:
    """Labels (n,) and the predictions (2, seeds, n) of two methods, the better one first."""
    margin = (
        BASE
        + np.array([GAP, 0.0])[:, None, None]
        + rng.normal(size=(2, seeds, 1)) * luck
        + rng.normal(size=n)
        + rng.normal(size=(2, 1, n)) * ACCIDENT
        + rng.normal(size=(2, seeds, n)) * ACCIDENT
    )
    labels = rng.integers(0, CLASSES, n)
    other = (labels + rng.integers(1, CLASSES, margin.shape)) % CLASSES
    return labels, np.where(margin > 0, labels, other)


def of_images_alone(labels: Ints, predictions: Ints) -> Floats:
    """Differences over resamples of images, the seeds as they are."""
    runs = predictions.reshape(-1, len(labels))
    (counts,) = image_counts(np.random.default_rng(0), len(labels), RESAMPLES)
    f1, _ = scores_on(labels, runs, CLASSES, counts)
    mine, other = f1.reshape(2, -1, RESAMPLES).mean(1)
    gaps: Floats = mine - other
    return gaps


def row(n: int, seeds: int, luck: float, worlds: int) -> str:
    """Coverage and width of both intervals."""
    rng, true = np.random.default_rng(n + seeds), truth(luck)
    found, deviations = np.empty((worlds, 2, 2)), []
    for number in range(worlds):
        labels, predictions = world(rng, n, seeds, luck)
        mine, other = resample(labels, predictions, CLASSES, RESAMPLES).f1_macro
        for kind, gaps in enumerate((mine - other, of_images_alone(labels, predictions))):
            interval = Interval.of(gaps)
            found[number, kind] = interval.low, interval.high
        deviations.append((predictions == labels).mean(2)[0].std(ddof=1))
    low, high = found[..., 0], found[..., 1]
    covered = ((low <= true) & (true <= high)).mean(0)
    width = (high - low).mean(0)
    return (
        f"| {n} | {seeds} | {np.mean(deviations):.3f} | {covered[0]:.2f} ({width[0]:.2f}) "
        f"| {covered[1]:.2f} ({width[1]:.2f}) |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=300)
    worlds = parser.parse_args().worlds
    print(
        "| test images | seeds | sd over seeds | images and seeds (width) | images alone (width) |"
    )
    print("|---:|---:|---:|---:|---:|")
    for n in (60, 360):
        for luck in (0.03, 0.15):
            for seeds in (2, 3, 5, 10):
                print(row(n, seeds, luck, worlds), flush=True)


if __name__ == "__main__":
    main()
