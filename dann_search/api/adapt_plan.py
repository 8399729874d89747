"""What ``adapt`` searches, and how it divides its budget."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dann_search.config.data import EMBEDDED
from dann_search.errors import InputError, nearest
from dann_search.models.catalog import BackboneSpec
from dann_search.models.registry import spec_of, stage_counts
from dann_search.search.resources import cpu_count

ON_CPUS = ("mobilenet_v3_small", "resnet18")
ON_GPUS = ("resnet50", "convnext_tiny")
"""Backbones by default: small ones, whose frozen features tell in seconds what they are worth."""

SEARCH_SHARE = 0.5
"""Share of the budget after which the search ends; preparation counts."""
COMPARE_SHARE = 0.9
"""Share of the budget after which the comparison ends; the rest is for the report."""
TRAINING_SHARE = 0.05
"""Share of the budget of one training, for each that runs at once: of six, in the comparison."""

SIDES = (224, 160, 128, 96, 64)
"""Sides of images in pixels on CPUs: the largest that leaves ``ENOUGH_EPOCHS``."""
PASSES, PASSES_FROZEN = 4.0, 1.0
"""Forward passes that an epoch is worth, for each image of the source: the target's pass, too, and
the gradient goes back through the trained stages. Where the features of frozen stages are kept,
heads cost next to nothing and the top stage little more than a pass (docs/benchmarks.md)."""
ENOUGH_EPOCHS, MOST_EPOCHS, FEWEST_EPOCHS = 8, 20, 2
FINE_TUNED_TRIALS = 40
"""Trials after those on frozen features, at most; the budget usually ends them before."""
BEST_FEW = 3
"""Recipes on frozen features that are fine-tuned."""
METHODS = ("dann", "mcc")
ON_FROZEN_FEATURES = {"learning_rate": 0.005, "lambda_max": 1.5, "batch_norm": "domain"}
"""Where searches of heads on frozen features ended: docs/accuracy.md, a search of twelve trials."""

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(budget: str) -> float:
    """Return the seconds of a budget such as ``90s``, ``30m`` or ``1.5h``.

    Raises:
        InputError: it is none, or shorter than a minute.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", budget.strip())
    if found is None:
        raise InputError(f"--budget {budget}: must be a time such as 90s, 30m or 2h")
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds < UNITS["m"]:
        raise InputError(f"--budget {budget}: must be at least 1m")
    return seconds


def domain_section(domain: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return what an experiment file says of a folder, a manifest, or an embedded data set.

    Raises:
        InputError: there is no such file or folder.
    """
    if isinstance(domain, Mapping):
        return dict(domain)
    place = Path(domain)
    if "://" in str(domain):
        return {"folder": str(domain)}
    if place.exists():
        kind = "folder" if place.is_dir() else "manifest"
        return {kind: str(place.resolve())}
    if str(domain) in EMBEDDED:
        return {"dataset": str(domain)}
    if place.suffix or len(place.parts) > 1:
        raise InputError(f"{domain}: no such file or folder")
    raise InputError(f"{domain}: no such file or folder; {nearest(str(domain), EMBEDDED)}")


def default_name(source: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Return a name such as ``catalogue-to-phone``."""
    parts = [Path(str(next(iter(one.values())))).stem for one in (source, target)]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") or "images" for part in parts]
    return "-to-".join(part[:40] for part in plain)


def checked_backbones(names: Sequence[str] | None) -> list[str]:
    """Return the backbones to search.

    Raises:
        InputError: one is unknown.
    """
    if not names:
        import torch

        return list(ON_GPUS if torch.cuda.is_available() else ON_CPUS)
    known = stage_counts()
    for name in names:
        if name not in known:
            raise InputError(f"--backbones: unknown '{name}'; {nearest(name, known)}")
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Size:
    """The side of images in pixels, None for the backbone's own, and the epochs of a training."""

    side: int | None
    epochs: int


def fitting_size(
    backbones: Sequence[str],
    images: int,
    budget_s: float,
    side: int | None = None,
    *,
    frozen: bool = False,
) -> Size:
    """Choose side and epochs so that a training takes its share of the budget.

    On CPUs a forward pass of each backbone is timed. A GPU trains on images of the backbones' own
    side.

    Args:
        backbones: names.
        images: of the larger training split.
        budget_s: the whole budget in seconds.
        side: in pixels, if the user chose one.
        frozen: whether the lower stages stay as they are pre-trained, so that what they make of
            the images is kept.
    """
    import torch

    if torch.cuda.is_available():
        return Size(side, MOST_EPOCHS)
    specs = [spec_of(name) for name in backbones]
    small = [spec.image_size for spec in specs if spec.image_size <= SIDES[-1] or spec.only_size]
    sides = (side or small[0],) if side or small else SIDES
    allowed = TRAINING_SHARE * budget_s * cpu_count()
    passes = PASSES_FROZEN if frozen else PASSES
    for chosen in sides:
        epoch_s = max(passes * images * _seconds_an_image(spec, chosen) for spec in specs)
        epochs = int(allowed / epoch_s)
        if epochs >= ENOUGH_EPOCHS:
            break
    return Size(chosen, min(MOST_EPOCHS, max(FEWEST_EPOCHS, epochs)))


def _seconds_an_image(spec: BackboneSpec, side: int, batch: int = 16) -> float:
    """Time a forward pass on one thread, as slots have it on CPUs."""
    import torch

    from dann_search.models.build import build_backbone
    from dann_search.training.threads import with_threads

    with with_threads(1), torch.random.fork_rng(devices=[]), torch.inference_mode():
        network, pixels = build_backbone(spec.name, None, side), torch.zeros(batch, 3, side, side)
        network(pixels)
        begun = time.perf_counter()
        network(pixels)
        return (time.perf_counter() - begun) / batch


def experiment_content(
    data: Mapping[str, Any], backbones: Sequence[str], pretrained: Sequence[str], hours: float
) -> dict[str, Any]:
    """Return the content of the experiment file that ``adapt`` launches.

    Args:
        data: its data section.
        backbones: names.
        pretrained: those with pre-trained weights, whose frozen features are tried first.
        hours: of the search.
    """
    frozen = [
        {"backbone": name, "method": method, "unfrozen_depth": 0, **ON_FROZEN_FEATURES}
        for name in pretrained
        for method in METHODS
    ]
    space: dict[str, Any] = {
        "method": {"choice": list(METHODS)},
        "learning_rate": {"loguniform": [1e-3, 3e-2]},
        "lambda_max": {"uniform": [0.1, 2.0]},
        "batch_norm": {"choice": ["separate", "domain"]},
        "backbone": {"choice": list(backbones)},
    }
    if pretrained:
        space["unfrozen_depth"] = {"int": [0, 2]}
    return {
        "data": dict(data),
        # Images as they are: what frozen stages make of them is computed once for all trials.
        "training": {"epochs": MOST_EPOCHS, "views": 1},
        "search": {
            "trials": len(frozen) or FINE_TUNED_TRIALS,
            "published_first": False,
            "start_points": frozen,
            "budget": {"hours": hours},
        },
        "space": space,
    }


def fine_tuned(best: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return start points that fine-tune recipes on frozen features: one stage, then two.

    Args:
        best: recipes on frozen features, best first.
    """
    kept = ("backbone", "method", "learning_rate", "lambda_max", "batch_norm")
    return [
        {name: recipe[name] for name in kept} | {"unfrozen_depth": depth}
        for depth in (1, 2)
        for recipe in best[:BEST_FEW]
    ]
