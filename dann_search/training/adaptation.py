"""What a recipe adds to the label loss: its method's term and, if any, others beside it.

These are an extra method's term, a penalty on the discriminator, and the loss on pseudo labels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dann_search.config.extensions import METHODS
from dann_search.config.trial import NO_EXTRA, TrialConfig
from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms
from dann_search.training.self_training import pseudo_label_loss


def adaptation_of(
    config: TrialConfig, labels: Tensor, pseudo: Tensor | None = None
) -> Callable[..., Terms]:
    """Return the adaptation of a recipe, to be called as ``methods.terms.Adaptation`` says.

    Args:
        config: the recipe.
        labels: of this worker's source images, (n,).
        pseudo: those the network gave this worker's target images, (n,), to learn as well.
    """
    own = {"labels": labels} if METHODS[config.method].labels else {}
    return partial(_all_terms, config, own, pseudo)


def _all_terms(
    config: TrialConfig,
    own: dict[str, Any],
    pseudo: Tensor | None,
    network: DannNetwork,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
    **views: Tensor,
) -> Terms:
    """Compute the method's term, given what is its ``own``, and all others as ``further``."""
    images = (network, features, logits, domains)
    penalized = network.discriminator if config.discriminator_gradient_penalty else None
    with _inputs_of(penalized) as seen:
        options = config.method_options | own | views
        terms = _method_terms(config.method, images, lam, batch_size, options)
    added = [] if terms.further is None else [terms.further]
    if seen and penalized is not None:
        penalty = gradient_penalty(penalized, seen[0], batch_size)
        added.append(config.discriminator_gradient_penalty * penalty)
    if config.extra != NO_EXTRA:
        defaults = {one.name: one.neutral for one in METHODS[config.extra].options}
        weight = config.extra_weight * lam
        added.append(_method_terms(config.extra, images, weight, batch_size, defaults).loss)
    if pseudo is not None:
        learnt = pseudo_label_loss(logits.chunk(2)[1], pseudo, batch_size)
        added.append(config.pseudo_label_weight * learnt)
    return Terms(terms.loss, terms.right, sum(added, features.new_zeros(())) if added else None)


def _method_terms(
    name: str, images: tuple[Any, ...], lam: float, batch_size: int, options: dict[str, Any]
) -> Terms:
    """Compute a method's term, its lambda counted in multiples of the published trade-off."""
    terms: Terms = METHODS.code(name)(*images, METHODS[name].trade_off * lam, batch_size, **options)
    return terms


def gradient_penalty(discriminator: nn.Module, seen: Tensor, batch_size: int) -> Tensor:
    """Compute half the mean squared norm of the discriminator's gradient in what it sees.

    Zero-centred, on the images of both domains (Mescheder et al. 2018, eq. 9 and 10): at the goal,
    a discriminator that guesses, it is zero.

    Args:
        discriminator: gives logits (n, 1).
        seen: features or conditioned features, (n, size); no gradient flows into them.
        batch_size: images a domain over all workers: the penalty is this worker's share.
    """
    seen = seen.detach().requires_grad_()
    answers = discriminator(seen).sum()
    (gradient,) = torch.autograd.grad(answers, seen, create_graph=True)
    return gradient.square().sum() / 2 / (2 * batch_size)


@contextmanager
def _inputs_of(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Collect what a module is given within the block."""
    seen: list[Tensor] = []
    if module is None:
        yield seen
        return
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
