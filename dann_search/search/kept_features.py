"""Which features of frozen stages a search keeps, and what they take of the disk, in words.

Torch is imported only where the search has recipes with fixed views.
"""

from collections.abc import Iterable

from dann_search.config.data import DataConfig
from dann_search.config.space import Space
from dann_search.data.store import StoreInfo
from dann_search.models.registry import spec_of
from dann_search.search.resources import GIB


def kept_features(data: DataConfig, space: Space, info: StoreInfo | None = None) -> str | None:
    """Describe the features that trials of a space keep; None where they keep none.

    Args:
        data: of the experiment; gives the side at which networks see images.
        space: that is searched.
        info: of the packed store; without it, sizes are those of one image and view.
    """
    views = max(_values(space, "views", ""), default=0)
    if not views or not data.feature_limit_gib:
        return None
    found = [one for name in space.backbones if (one := _of_backbone(data, space, name))]
    if not found:
        return None
    if info is None:
        sizes = [f"depth {depths} of {name} ({_range(kb)})" for name, depths, kb in found]
        return f"features kept of {', '.join(sizes)} an image and view"
    training = sum(info.sizes[role]["train"] for role in info.sizes)
    images = views * training + sum(info.sizes[role]["val"] for role in info.sizes)
    sizes = [
        f"depth {depths} of {name} ({1000 * max(kb) * images / GIB:.2g} GiB at most)"
        for name, depths, kb in found
    ]
    return (
        f"features kept of {', '.join(sizes)}; together at most {data.feature_limit_gib:g} GiB "
        "(data.feature_limit_gib)"
    )


def _of_backbone(
    data: DataConfig, space: Space, name: str
) -> tuple[str, str, tuple[float, ...]] | None:
    """Return a backbone's name, the depths at which it keeps features, and kB of an image."""
    from dann_search.training.frozen_stages import are_kept

    spec = spec_of(name)
    side = data.crop_size or data.image_size or spec.image_size
    by_depth = {}
    for depth in _values(space, "unfrozen_depth", name):
        recipe = {"backbone": name, "unfrozen_depth": depth, "views": 1, "method": "source_only"}
        config = space.fixed.model_copy(update=recipe)
        if cost := are_kept(config, side, len(spec.stages)):
            by_depth[depth] = 4 * cost.numbers / 1000
    if not by_depth:
        return None
    low, high = min(by_depth), max(by_depth)
    return name, f"{low} to {high}" if low < high else str(low), tuple(by_depth.values())


def _values(space: Space, name: str, backbone: str) -> Iterable[int]:
    """Return all values of a parameter of whole numbers, searched or fixed, but None."""
    parameter = space.parameters.get(name)
    if parameter is None:
        values = [getattr(space.fixed, name)]
    elif parameter.kind == "choice":
        values = list(parameter.options or ())
    else:
        ends = space.bounds(name, backbone) if backbone else parameter.stated.values()
        values = list(range(int(min(ends)), int(max(ends)) + 1))
    return [value for value in values if value is not None]


def _range(kilobytes: tuple[float, ...]) -> str:
    low, high = min(kilobytes), max(kilobytes)
    return f"{low:.0f} to {high:.0f} kB" if low < high else f"{low:.0f} kB"
