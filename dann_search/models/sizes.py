"""Which image sizes a backbone takes, found out by a forward pass that computes nothing.

Imports torch only for backbones that the catalogue does not describe.
"""

from collections.abc import Callable
from functools import cache

from dann_search.models.catalog import CATALOG
from dann_search.models.registry import TIMM, spec_of


def size_needed(name: str, side: int) -> str | None:
    """Return in words which sides a backbone takes; None where ``side`` pixels is one of them.

    A user's backbone that cannot be built without memory for weights is believed what it declares.
    """
    spec = spec_of(name)
    native = spec.image_size
    if spec.only_size:
        fits = side == native
        return None if fits else f"{native} for {name}, which is built for that side alone"
    if side % spec.multiple:
        lower = max(side // spec.multiple, 1) * spec.multiple
        return f"a multiple of {spec.multiple} for {name}, as {lower} or {lower + spec.multiple}"
    if side < spec.smallest:
        return f"at least {spec.smallest} for {name}"
    # A test measures what the catalogue says; transformers of timm are built for the side.
    if name in CATALOG or (name.startswith(TIMM) and spec.multiple > 1):
        return None
    try:
        takes = forward_of(name)
    except Exception:  # whatever a user's code raises without memory for weights
        return None
    if takes(side) or not takes(native):
        return None
    if side > native or not takes(native + 1):
        return f"{native} for {name}, its native side: it does not take all others"
    fails, works = side, native
    while works - fails > 1:
        middle = (fails + works) // 2
        fails, works = (fails, middle) if takes(middle) else (middle, works)
    return f"at least {works} for {name}"


@cache
def forward_of(name: str) -> Callable[[int], bool]:
    """Return what tells whether a backbone makes features of images of a side."""
    import torch

    from dann_search.models.build import build_backbone

    with torch.device("meta"):  # neither memory for weights nor arithmetic
        backbone = build_backbone(name, None).eval()

    @cache
    @torch.no_grad()
    def takes(side: int) -> bool:
        try:
            features = backbone(torch.zeros(2, 3, side, side, device="meta"))
        except Exception:  # networks check their input by exceptions of any class
            return False
        return tuple(features.shape) == (2, backbone.feature_size)

    return takes
