"""Features on a plane."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

FEW = 60
"""Below so many points t-SNE shows shapes that are not there; principal components do not."""
COMPONENTS = 50


def on_a_plane(features: Floats) -> tuple[Floats, str]:
    """Places of features (n, size) on a plane, shape (n, 2), and the name of the method.

    t-SNE (van der Maaten & Hinton 2008) after reduction to 50 principal components, or, of few
    different points, their first two principal components. The same features give the same places.
    """
    # More than one thread would add in another order, and t-SNE would end elsewhere.
    with threadpool_limits(1):
        # Distinct ones: scikit-learn's t-SNE crashes on points that all lie in one place.
        if len(np.unique(features, axis=0)) < FEW:
            return principal_components(features, 2), "PCA"
        reduced = principal_components(features, COMPONENTS)
        reduced = reduced / reduced[:, 0].std()
        perplexity = min(30.0, len(features) / 6)
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(reduced)
    return places.astype(np.float64), "t-SNE"


def principal_components(features: Floats, count: int) -> Floats:
    """The first ``count`` of features (n, size), or as many as there can be but at least two."""
    most = min(count, *features.shape)
    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), max(2, most)))
    found = PCA(most, svd_solver="full").fit_transform(features)
    return np.pad(found, ((0, 0), (0, max(0, 2 - most))))
