"""torchvision, importable beside a CPU-only torch too: ``from … import torchvision``.

The wheel on the package index is linked against CUDA's libraries. Beside a CPU build of torch its
compiled operators stay unloaded, and its import then fails as it registers shapes for two of them
(box suppression, which nothing here uses). Declaring the two is all that is needed.
"""

import torch

from dann_search.data.torch_compiler import without_compiler

_keep_alive: list[torch.library.Library] = []


def _declare_missing_operators() -> None:
    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)


with without_compiler():
    try:
        import torchvision
    except RuntimeError:
        _declare_missing_operators()
        import torchvision

__all__ = ["torchvision"]
