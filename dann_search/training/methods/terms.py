"""The interface of an adaptation method."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor as Tensor
    from torch.nn import Module as Module

    from dann_search.models.network import DannNetwork

    Network = DannNetwork
else:  # names in annotations: torch takes seconds to import
    Module = Network = Tensor = Any


@dataclass(frozen=True)
class Terms:
    """A method's part of the loss.

    Attributes:
        loss: added to the label loss; over several workers these add up.
        right: share of right answers of the domain discriminator; None without one.
        further: what else is added: an extra method's term, a penalty. None without any.
    """

    loss: Tensor
    right: Tensor | None = None
    further: Tensor | None = None


class Adaptation(Protocol):
    """A method's loss.

    The options of its description are further arguments, by name, and so are, where it asks for
    them, the ``labels`` of the source images, (n,), and the logits of the ``strong`` views of the
    target images, (n, classes).

    Source images come first, and as many of the target follow: ``features.chunk(2)`` are those of
    either. A mask of ``domains`` would do too, but have the host wait for a GPU.
    """

    def __call__(
        self,
        network: Network,
        features: Tensor,
        logits: Tensor,
        domains: Tensor,
        lam: float,
        batch_size: int,
    ) -> Terms:
        """Compute the method's part of the loss.

        Args:
            network: the network, with its discriminator if the method has one.
            features: of this worker's images of both domains, (n, size).
            logits: of the classes, (n, classes).
            domains: 0 for source and 1 for target images, (n,).
            lam: weight of the adaptation.
            batch_size: images a domain over all workers.
        """


def domain_terms(
    answers: Tensor, domains: Tensor, batch_size: int, weights: Tensor | None = None
) -> Terms:
    """Compute the cross-entropy of the discriminator's logits and its share of right answers.

    Args:
        answers: of the discriminator, (n,).
        domains: 0 for source and 1 for target images, (n,).
        batch_size: images a domain over all workers.
        weights: of the images in the loss, (n,); 1 each by default.
    """
    import torch.nn.functional as F

    total = F.binary_cross_entropy_with_logits(answers, domains, weights, reduction="sum")
    right = ((answers > 0) == (domains > 0)).sum() / (2 * batch_size)
    return Terms(total / (2 * batch_size), right)


def second_classifier(size: int, classes: int) -> Module:
    """Build a classifier of features (n, size) like the network's own, with other weights."""
    from torch import nn

    return nn.Linear(size, classes)
