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
from dann_search.training.methods.terms import Adaptation, Terms
from dann_search.training.self_training import pseudo_label_loss


def adaptation_of(config: TrialConfig, labels: Tensor, pseudo: Tensor | None = None) -> Adaptation:
    """Return the adaptation of a recipe.

    Args:
        config: the recipe.
        labels: of this worker's source images, (n,).
        pseudo: those the network gave this worker's target images, (n,), to learn as well.
    """
    own: dict[str, Any] = dict(config.method_options)
    if METHODS[config.method].labels:
        own["labels"] = labels
    method: Callable[..., Terms] = _with_trade_off(config.method, own)
    if pseudo is None and not config.adds_further:
        return method

    def adaptation(
        network: DannNetwork,
        features: Tensor,
        logits: Tensor,
        domains: Tensor,
        lam: float,
        batch_size: int,
        **views: Tensor,
    ) -> Terms:
        images = (network, features, logits, domains)
        with _inputs_of(network.discriminator) as seen:
            terms = method(*images, lam, batch_size, **views)
        further = features.new_zeros(()) if terms.further is None else terms.further
        if seen and config.discriminator_gradient_penalty:
            penalty = gradient_penalty(network.discriminator, seen[0], batch_size)
            further = further + config.discriminator_gradient_penalty * penalty
        if config.extra != NO_EXTRA:
            extra = extra_of(config)(*images, config.extra_weight * lam, batch_size)
            further = further + extra.loss
        if pseudo is not None:
            learnt = pseudo_label_loss(logits.chunk(2)[1], pseudo, batch_size)
            further = further + config.pseudo_label_weight * learnt
        return Terms(terms.loss, terms.right, further)

    return adaptation


def extra_of(config: TrialConfig) -> Adaptation:
    """Return the extra method's loss, its options at their defaults."""
    options = {one.name: one.neutral for one in METHODS[config.extra].options}
    return _with_trade_off(config.extra, options)


def _with_trade_off(name: str, options: dict[str, Any]) -> Adaptation:
    """Return a method's loss, its lambda counted in multiples of the published trade-off."""
    loss: Callable[..., Terms] = partial(METHODS.code(name), **options)
    trade_off = METHODS[name].trade_off

    def weighted(
        network: DannNetwork,
        features: Tensor,
        logits: Tensor,
        domains: Tensor,
        lam: float,
        batch_size: int,
        **views: Tensor,
    ) -> Terms:
        return loss(network, features, logits, domains, trade_off * lam, batch_size, **views)

    return weighted


def gradient_penalty(discriminator: nn.Module | None, seen: Tensor, batch_size: int) -> Tensor:
    """Compute half the mean squared norm of the discriminator's gradient in what it sees.

    Zero-centred, on the images of both domains (Mescheder et al. 2018, eq. 9 and 10): at the goal,
    a discriminator that guesses, it is zero.

    Args:
        discriminator: gives logits (n, 1).
        seen: features or conditioned features, (n, size); no gradient flows into them.
        batch_size: images a domain over all workers: the penalty is this worker's share.
    """
    assert discriminator is not None
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
