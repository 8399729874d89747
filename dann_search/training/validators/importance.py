"""DEV and IWCV: the source's risk, with images weighted by their density under the target."""

import numpy as np

from dann_search.config.extensions import ValidatorSpec, register_validator
from dann_search.training.validators.view import Floats, ValidationView, softmax


@register_validator(
    ValidatorSpec(
        name="iwcv",
        words="minus the source's risk weighted by the domains' density ratio",
        source="Sugiyama et al. 2007",
    )
)
def importance_weighted_risk(view: ValidationView) -> float:
    """Compute IWCV, minus the source's validation risk under the target's feature distribution.

    Sugiyama et al. 2007, "Covariate shift adaptation by importance weighted cross validation"; the
    loss is the cross-entropy.
    """
    return -float((view.density_ratio * _losses(view)).mean())


@register_validator(
    ValidatorSpec(
        name="dev",
        words="as `iwcv`, with a control variate",
        source="You et al. 2019",
    )
)
def deep_embedded_validation(view: ValidationView) -> float:
    """Compute DEV, minus the risk of IWCV without the variance that the weights add.

    You et al. 2019, "Towards accurate model selection in deep unsupervised domain adaptation",
    algorithm 1: the weights, whose mean is 1, are a control variate.
    """
    weights = view.density_ratio
    weighted = weights * _losses(view)
    variance = weights.var()
    eta = -np.cov(weighted, weights, bias=True)[0, 1] / variance if variance > 0 else 0.0
    return -float(weighted.mean() + eta * (weights.mean() - 1))


def _losses(view: ValidationView) -> Floats:
    """Cross-entropy of each source image, shape (m,)."""
    likelihood = softmax(view.source_logits)[np.arange(len(view.source_labels)), view.source_labels]
    losses: Floats = -np.log(likelihood.clip(1e-300))
    return losses
