"""Every backbone by name: those of the catalogue, of users, and of timm."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from dann_search.config.entries import Registry
from dann_search.config.experiment import WeightsFile
from dann_search.config.extensions import REGISTRIES
from dann_search.errors import InputError
from dann_search.models.catalog import CATALOG, BackboneSpec

TIMM = "timm/"

Build = Callable[[Mapping[str, Any] | None], Any]
"""Builds a ``models.backbone.Backbone`` from a state dict, or from None with random weights."""

BACKBONES: Registry[BackboneSpec] = Registry("backbone")
"""Users' backbones; those of ours are in the catalogue."""
REGISTRIES[BACKBONES.kind] = BACKBONES


def register_backbone(spec: BackboneSpec) -> Callable[[Build], Build]:
    """Add a backbone of your own.

    ::

        @register_backbone(BackboneSpec(name="tiny", stages=("stem", "top"), image_size=32,
                                        smallest=8))
        def build(state):
            backbone = StagedBackbone({"stem": ..., "top": ...}, feature_size=64)
            if state is not None:
                backbone.load_state_dict(state)
            return backbone

    Worker processes get it as they get a method: see ``register_method``. The group of its entry
    points is ``dann_search.backbones``.

    Raises:
        ValueError: the name is taken.
    """
    if spec.name in CATALOG or spec.name.startswith(TIMM):
        raise ValueError(f"the name {spec.name} is taken by a backbone of dann-search")
    return BACKBONES.register(spec)


def registered(name: str) -> Build | None:
    """Return how a user's backbone is built; None where ``name`` is not one of them."""
    return BACKBONES.code(name) if name in BACKBONES else None


def is_backbone(name: str) -> bool:
    """Return whether there is such a backbone here; of timm's any name is one."""
    return name in CATALOG or name.startswith(TIMM) or name in BACKBONES


def spec_of(name: str, weights: Mapping[str, WeightsFile] | None = None) -> BackboneSpec:
    """Return the description of a backbone, with the normalization of its weights file.

    Raises:
        InputError: timm is not installed, or does not know the name.
        KeyError: there is no such backbone.
    """
    spec = CATALOG.get(name) or (_timm_spec(name) if name.startswith(TIMM) else BACKBONES[name])
    file = (weights or {}).get(name)
    return replace(spec, mean=file.mean or spec.mean, std=file.std or spec.std) if file else spec


@cache
def _timm_spec(name: str) -> BackboneSpec:
    try:
        from dann_search.models.timm_models import describe
    except ModuleNotFoundError:
        raise InputError(
            f"backbone {name} needs timm, which is not installed: pip install 'dann-search[timm]'"
        ) from None
    return describe(name)


def licences_of(backbones: list[str]) -> dict[str, str]:
    """Return the licences of backbones' pre-trained weights, of those where it is known."""
    return {name: spec.licence for name in backbones if (spec := spec_of(name)).licence}


def largest_native_size(backbones: list[str]) -> int:
    """Return the largest native input side in pixels, at which images are packed by default."""
    return max(spec_of(name).image_size for name in backbones)


class StageCounts(Mapping[str, int]):
    """Number of stages by name of backbone; those of timm are looked up on demand."""

    def __getitem__(self, name: str) -> int:
        return len(spec_of(name).stages)

    def __iter__(self) -> Iterator[str]:
        return iter([*CATALOG, *BACKBONES])

    def __len__(self) -> int:
        return len(list(iter(self)))


def stage_counts() -> StageCounts:
    """Return the number of stages of every backbone by name."""
    return StageCounts()
