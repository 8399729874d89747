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
    points, their first two principal components. The same features give the same places.
    """
    # More than one thread would add in another order, and t-SNE would end elsewhere.
    with threadpool_limits(1):
        if len(features) < FEW:
            return _components(features, 2), "PCA"
        reduced = _components(features, COMPONENTS)
        reduced = reduced / max(float(reduced[:, 0].std()), 1e-12)
        perplexity = min(30.0, len(features) / 6)
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(reduced)
    return places.astype(np.float64), "t-SNE"


def _components(features: Floats, count: int) -> Floats:
    found = PCA(min(count, *features.shape), svd_solver="full").fit_transform(features)
    missing = 2 - found.shape[1]
    return found if missing <= 0 else np.pad(found, ((0, 0), (0, missing)))
