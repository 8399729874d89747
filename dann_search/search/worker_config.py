"""What the driver tells workers before they train: of the search, of their run, of their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.extension_files import ExtensionFile, extensions_in_use
from dann_search.data.node_store import StoreSpec
from dann_search.search.messages import ActorCalls, Slot
from dann_search.search.resources import Plan

if TYPE_CHECKING:
    import torch

    from dann_search.training.ranks import Ranks


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers of a search need to know.

    Attributes:
        weights: files of pre-trained weights.
        objective: that chooses epochs.
        store: the packed images.
        extensions: files of the experiment; other entries of the driver's process are ``own``.
        own: see ``own_entries``.
        storage_timeout_s: how long a trial waits for storage to come back.
        stall_timeout_s: after how long without progress a worker is ended.
    """

    weights: Mapping[str, WeightsFile]
    objective: str
    store: StoreSpec
    extensions: tuple[ExtensionFile, ...] = ()
    own: bytes = b""
    storage_timeout_s: float = 3600.0
    stall_timeout_s: float = 600.0

    @classmethod
    def of(cls, experiment: ExperimentConfig, store: StoreSpec, own: bytes = b"") -> Self:
        """Of an experiment, with the extensions that this process uses."""
        resources = experiment.resources
        return cls(
            *(experiment.weights, experiment.search.objective, store, extensions_in_use(), own),
            *(resources.storage_timeout_s, resources.stall_timeout_s),
        )


@dataclass(frozen=True)
class GroupSpec:
    """What all groups of a search share."""

    dispatcher: ActorCalls
    worker: WorkerConfig
    logs: Path


@dataclass(frozen=True)
class GroupConfig:
    """What all workers of a run need to know."""

    run: str
    dispatcher: ActorCalls
    plan: Plan
    worker: WorkerConfig


@dataclass(frozen=True)
class Seat:
    """A worker's place.

    Attributes:
        slot: in which it trains.
        ranks: the slot's workers, as they sum gradients.
        control: the same, as they agree on what to do.
        device: of the network and the batches.
        node: on which it runs.
    """

    slot: Slot
    ranks: "Ranks"
    control: "Ranks"
    device: "torch.device"
    node: str
