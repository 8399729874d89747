"""Features of two domains: their distance (proxy A-distance, MMD) and their places on a plane."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

FOLDS = 5
COMPONENTS = 64
"""Principal components compared: with as many as images, any two sets are separable."""

FEW = 60
"""With fewer points t-SNE shows shapes that do not exist, so principal components are used."""


@dataclass(frozen=True)
class DomainShift:
    """Distances of a source and a target sample of equal size.

    Attributes:
        a_distance: proxy A-distance, between 0 (a linear classifier cannot tell the domains apart)
            and 2 (it always can).
        mmd2: squared maximum mean discrepancy; unbiased, so it may be below 0.
        bandwidth: bandwidth of its Gaussian kernel, the median distance between two images.
        n: images per domain.
    """

    a_distance: float
    mmd2: float
    bandwidth: float
    n: int


def domain_shift(source: Floats, target: Floats) -> DomainShift:
    """Measure both distances on the same number of images of each domain.

    Features are first standardized over both domains and reduced to their principal components, so
    that networks of different width and scale can be compared.

    Args:
        source: features, shape (m, size).
        target: features, shape (n, size).
    """
    n = min(len(source), len(target))
    both = np.concatenate([source[:n], target[:n]])
    spread = both.std(0)
    both = (both - both.mean(0)) / np.where(spread > 0, spread, 1.0)
    reduced = principal_components(both, min(COMPONENTS, n))
    width = median_distance(reduced)
    return DomainShift(
        proxy_a_distance(reduced[:n], reduced[n:]),
        squared_mmd(reduced[:n], reduced[n:], width),
        width,
        n,
    )


def proxy_a_distance(source: Floats, target: Floats) -> float:
    """Return 2 (1 - 2 e), e the error of a linear classifier of domains (Ben-David et al. 2010).

    The error is measured by five-fold cross-validation; worse than chance counts as chance.
    """
    folds = min(FOLDS, len(source), len(target))
    if folds < 2:
        return float("nan")
    domains = np.repeat([0, 1], [len(source), len(target)])
    classifier = LogisticRegression(max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = cross_val_predict(
            classifier,
            np.concatenate([source, target]),
            domains,
            cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        )
    error = float((predicted != domains).mean())
    return max(0.0, 2 * (1 - 2 * error))


def squared_mmd(source: Floats, target: Floats, bandwidth: float) -> float:
    """Estimate MMD² without bias, k(x, y) = exp(-|x - y|² / 2 s²) (Gretton et al. 2012, eq. 3)."""
    m, n = len(source), len(target)
    if min(m, n) < 2 or bandwidth <= 0:
        return float("nan")

    def kernel(a: Floats, b: Floats) -> Floats:
        values: Floats = np.exp(cdist(a, b, "sqeuclidean") / (-2 * bandwidth**2))
        return values

    within = (kernel(source, source).sum() - m) / (m * (m - 1))
    within += (kernel(target, target).sum() - n) / (n * (n - 1))
    return float(within - 2 * kernel(source, target).mean())


def median_distance(points: Floats) -> float:
    """Return the median distance of two points, the usual bandwidth (Gretton et al. 2012, 8)."""
    distances = cdist(points, points)
    return float(np.median(distances[np.triu_indices(len(points), 1)]))


def on_a_plane(features: Floats) -> tuple[Floats, str]:
    """Project features (n, size) onto a plane; return positions (n, 2) and the method's name.

    The method is t-SNE (van der Maaten & Hinton 2008) on 50 principal components, or the first two
    principal components if there are few distinct points. Equal features give equal positions.
    """
    # With several threads sums are added in another order, and t-SNE ends elsewhere.
    with threadpool_limits(1):
        # Count distinct points: scikit-learn's t-SNE crashes if all points coincide.
        if len(np.unique(features, axis=0)) < FEW:
            return principal_components(features, 2), "PCA"
        reduced = principal_components(features, 50)
        reduced = reduced / reduced[:, 0].std()
        perplexity = min(30.0, len(features) / 6)
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(reduced)
    return places.astype(np.float64), "t-SNE"


def principal_components(features: Floats, count: int) -> Floats:
    """Return up to ``count`` principal components of features (n, size), but at least two."""
    most = min(count, *features.shape)
    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), max(2, most)))
    found = PCA(most, svd_solver="full").fit_transform(features)
    return np.pad(found, ((0, 0), (0, max(0, 2 - most))))
