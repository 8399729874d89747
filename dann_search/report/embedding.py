"""Project features onto a plane."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

FEW = 60
"""With fewer points t-SNE shows shapes that do not exist, so principal components are used."""
COMPONENTS = 50


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
        reduced = principal_components(features, COMPONENTS)
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
