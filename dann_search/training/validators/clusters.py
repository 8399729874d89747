"""Class-AMI: whether predicted classes of the target agree with clusters of its features."""

import warnings

from dann_search.config.extensions import ValidatorSpec, register_validator
from dann_search.training.validators.view import ValidationView


@register_validator(
    ValidatorSpec(
        name="class_ami",
        words="adjusted mutual information of predicted classes and clusters",
        source="Musgrave et al. 2022",
    )
)
def class_ami(view: ValidationView) -> float:
    """Compute the adjusted mutual information of predicted classes and k-means clusters.

    Musgrave et al. 2022, "Three new validators and a large-scale benchmark ranking for unsupervised
    domain adaptation", section 3.2; as many clusters as classes. 1 for the same partition, about 0
    for independent ones.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score

    features, classes = view.target_features, view.target_logits.shape[1]
    means = KMeans(min(classes, len(features)), n_init=1, random_state=0)
    with warnings.catch_warnings():
        # A collapsed network has fewer distinct points than clusters; its score is 0.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = means.fit_predict(features)
    return float(adjusted_mutual_info_score(view.target_logits.argmax(axis=1), clusters))
