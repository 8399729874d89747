"""Class logits of a split, each worker computing its share."""

import torch
from torch import Tensor, nn

from dann_search.data.augment import normalize, to_float
from dann_search.models.catalog import BackboneSpec
from dann_search.training.ranks import ALONE, Ranks


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    images: Tensor,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    batch_size: int = 256,
) -> Tensor:
    """Logits (n, classes) of uint8 images (n, 3, h, w), all of them on every worker, on the CPU."""
    network.eval()
    mine = images[ranks.share(len(images))]
    pieces = [
        network(normalize(to_float(batch.to(device), side), spec.mean, spec.std))
        for batch in torch.split(mine, batch_size)
    ]
    return ranks.gather_rows(torch.cat(pieces), len(images)).cpu()
