"""What the frozen stages of a network make of images whose views are fixed, computed once.

Frozen stages are in evaluation mode, so that their output for an image never changes. All trials of
a machine whose frozen stages are the same share it (``data/feature_folder.py``). It is computed for
``AT_ONCE`` images at a time, whatever the batch size and whoever needs it: a kept output and one
that is computed anew, where there is no room to keep it, are equal to the last digit.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dann_search.config.extensions import AUGMENTATIONS
from dann_search.config.trial import TrialConfig
from dann_search.data.image_pixels import VERSION
from dann_search.data.training_data import TrainingData
from dann_search.data.views import Seen, View
from dann_search.models.build import build_backbone
from dann_search.models.network import DannNetwork
from dann_search.models.registry import registered
from dann_search.training.checkpoint import weights_hash
from dann_search.training.precision import DTYPES, autocast

AT_ONCE = 32
WORTH = 500
"""Floating-point operations that a byte of features must save. A core of a CPU makes some 20 a
nanosecond and copies some 2 bytes; a GPU makes 10,000 and is sent 20 bytes."""


@dataclass(frozen=True)
class StageCost:
    """What the first stages of a backbone cost for one image."""

    operations: int
    """Floating-point operations of all of them."""
    numbers: int
    """That the last of them returns; of the pooled features after the top stage."""

    @property
    def is_worth_keeping(self) -> bool:
        """Whether reading the output, in fp32, is much cheaper than computing it."""
        return self.operations >= WORTH * 4 * self.numbers


@cache
def cost_of(backbone: str, frozen: int, side: int) -> StageCost | None:
    """Return the cost of the first ``frozen`` stages; None where they cannot be run apart."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build_backbone(backbone, None, side).eval()
            network.freeze_below(len(network.stage_names) - frozen)
            if not network.divides:
                return None
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                maps = network.frozen_stages(torch.empty(1, 3, side, side))
    except Exception:  # a user's backbone may need data
        return None
    return StageCost(counter.get_total_flops(), maps.numel())


def are_kept(config: TrialConfig, side: int, stages: int) -> StageCost | None:
    """Return the cost of a recipe's frozen stages if their output is computed once, else None.

    Depends on nothing but the recipe, the side in pixels at which the network sees images, and the
    number of the backbone's stages, so that a recipe has one result everywhere.
    """
    depth = config.unfrozen_depth if config.fine_tunes else None
    if not config.views or depth is None or depth >= stages:
        return None
    cost = cost_of(config.backbone, stages - depth, side)
    return cost if cost and cost.is_worth_keeping else None


class FrozenStages:
    """The frozen stages of a trial's network, and what they make of its images.

    The network, as built and moved to its device, is given features from now on.
    """

    def __init__(
        self, network: DannNetwork, cost: StageCost, config: TrialConfig, data: TrainingData
    ):
        self.network, self.config, self.data = network, config, data
        self._opened: dict[tuple[str, str, int], tuple[View | None, Tensor | None]] = {}
        validated = len(data.val_images) + len(data.source_val_images)
        splits = len(data.source_images), len(data.target_images), validated
        needed = 4 * cost.numbers * images_seen(config, *splits)
        self._code = own_code(config)
        fits = data.features is not None and needed <= data.features.limit
        self._folder = data.features if fits and self._code is not None else None
        self._stages = weights_hash(network.backbone.frozen_state()) if self._folder else ""
        network.begins_after_frozen = True

    def of(self, seen: Seen, role: str, split: str, beat: Callable[[], None]) -> "FrozenOutput":
        """Return what they make of a split in a view.

        Where a folder keeps it and nobody has written it yet, all of it is computed now.
        """
        output = FrozenOutput(**vars(seen), stages=self)
        if self._folder is None:
            return output
        place = role, split, seen.view.stream if seen.view else -1
        known, kept = self._opened.get(place, (None, None))
        if place not in self._opened or known != seen.view:
            key = self._key(seen, role, split)
            parts = partial(output.in_parts, beat)
            dtype = DTYPES[self.config.precision]
            kept = self._folder.of(key, len(seen.images), dtype, parts, beat)
            self._opened[place] = seen.view, kept
        return replace(output, kept=kept)

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        """Compute the output for at most ``AT_ONCE`` images, maps as (n, h, w, channels)."""
        training = self.network.training
        self.network.eval()
        missing = AT_ONCE - len(images)
        whole = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
        with autocast(images.device, self.config.precision):
            maps = self.network.backbone.frozen_stages(whole)[: len(images)]
        self.network.train(training)
        maps = maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps
        return maps.to(DTYPES[self.config.precision]).contiguous()

    def _key(self, seen: Seen, role: str, split: str) -> str:
        info, frozen = self.data.info, self.network.backbone.frozen
        decides = {
            "stages": [self._stages, self._code, self.config.backbone, frozen],
            "computed": [torch.__version__, seen.device.type, self.config.precision, AT_ONCE],
            "images": [role, split, info.hashes.get(role, {}).get(split), info.image_size],
            "prepared": [VERSION, info.pixels, info.grey_bits, info.transparency],
            "seen": [seen.side, seen.crop_size, *seen.normalization],
            "view": seen.view.record if seen.view else None,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class FrozenOutput(Seen):
    """What frozen stages make of a split in one view.

    Attributes:
        stages: whose output it is.
        kept: the output, (n, …); None where it is computed whenever it is asked for.
    """

    stages: FrozenStages
    kept: Tensor | None = None

    def rows(self, rows: Tensor) -> Tensor:
        """Return the output for images by their numbers (m,), as the other stages want it."""
        if self.kept is None:
            maps = torch.cat([self._run(some) for some in torch.split(rows, AT_ONCE)])
        else:
            maps = self.kept.index_select(0, rows).to(self.device)
        return maps.permute(0, 3, 1, 2) if maps.ndim == 4 else maps

    def in_parts(self, beat: Callable[[], None]) -> Iterator[Tensor]:
        """Yield the output for all images, some at a time, on the CPU."""
        for rows in torch.split(torch.arange(len(self.images)), AT_ONCE):
            yield self._run(rows).cpu()
            beat()

    def _run(self, rows: Tensor) -> Tensor:
        return self.stages.run(super().rows(rows))


def images_seen(config: TrialConfig, source: int, target: int, validated: int) -> int:
    """Return how many images, each view counted, a training sees at most.

    Of so many training images of the source and of the target, and all that it validates on.
    """
    seen = config.views * (source + target * (config.adapts + config.strong_views))
    plain = source * (config.head_init == "class_means") + target * (config.pseudo_labels > 0)
    return seen + plain + validated


def own_code(config: TrialConfig) -> str | None:
    """Return the source of what users wrote that decides the output; None if it cannot be had.

    That is the backbone and the active augmentations, unless they are ours.
    """
    build = registered(config.backbone)
    active = [n for n, one in AUGMENTATIONS.items() if getattr(config, n) != one.neutral]
    used = [*map(AUGMENTATIONS.code, active), *([build] if build else [])]
    own = [code for code in used if not code.__module__.startswith("dann_search.")]
    try:
        return "".join(inspect.getsource(sys.modules[code.__module__]) for code in own)
    except (OSError, TypeError, KeyError):  # written in a notebook
        return None
