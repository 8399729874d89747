"""How much memory a worker of a trial takes at its peak, found out without training it.

One step's forward pass and one batch of validation are run on tensors that have shapes and no data:
on torch's meta device, or on fake tensors in half precision, which autocast knows. What is alive at
the same time is counted as it is made and freed: weights, what autograd keeps for backward (nothing
of frozen stages), and what an operation holds for a moment. Gradients, the optimizer's state and an
average of the weights are added by their sizes. docs/benchmarks.md compares with measured steps.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dann_search.config.trial import TrialConfig
from dann_search.data.torch_compiler import without_compiler
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
from dann_search.models.registry import registered
from dann_search.training.precision import autocast
from dann_search.training.predict import batch_size_for

CPU = torch.device("cpu")
MAPPED = 32 * 2**20
"""From this size on, in bytes, the C library maps a block of its own and gives it back at once."""
FRAGMENTATION = 1.25
"""Bytes of the heap for each byte of smaller blocks, which it keeps after they are freed."""
PROCESS = 0.45 * 2**30
"""A worker before its network: Python, torch, torchvision and Ray. Pages of libraries, which
workers share, are 0.15 of it."""
CUDA_PROCESS = 3 * 2**30
"""The same with CUDA's libraries and the context of a GPU: in the machine's memory."""
CUDA_CONTEXT = 2**30
"""Of a GPU's memory: its context, and what cuDNN and the caching allocator take besides."""


@dataclass(frozen=True)
class Peak:
    """Bytes that a worker takes at most of its machine's memory, and of its GPU's if it has one."""

    machine: int
    gpu: int = 0


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors made within the block, as long as they are alive.

    Attributes:
        small, mapped: bytes now, in blocks below and above ``MAPPED``.
        most: (small, mapped) when together they were most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.small = self.mapped = 0
        self.most = (0, 0)
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it returns."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def forget(_: Any) -> None:
            del self._known[key]
            self._add(-size)

        self._known[key] = weakref.ref(storage, forget)
        self._add(size)
        if self.small + self.mapped > sum(self.most):
            self.most = self.small, self.mapped

    def _add(self, size: int) -> None:
        if abs(size) < MAPPED:
            self.small += size
        else:
            self.mapped += size


def peak_of(
    config: TrialConfig,
    *,
    classes: int,
    side: int,
    workers: int = 1,
    gpu: bool = False,
    few: bool = False,
) -> Peak:
    """Estimate what one of a trial's ``workers`` takes at its peak, in training or validation.

    Recipes that differ in what takes no memory, such as rates, share one calculation, which takes
    about a second. ``side`` is in pixels, as the network sees images; with ``few``, some of the
    target's training images have labels to train on.
    """
    matters = {name: getattr(config, name) for name in MATTERS}
    rows = -(-config.batch_size // workers)
    sizes = _sizes(TrialConfig(**{**matters, "batch_size": rows}), classes, side, few)
    gradients = 1 if workers == 1 else 2  # sent in one piece
    kept = sizes.weights + sizes.trained * (gradients + sizes.copies)
    step, validation = sizes.step, sizes.validation
    if gpu:  # weights are copied from the machine's memory; batches and activations are not there
        machine = CUDA_PROCESS + 2 * sizes.weights + sizes.snapshot
        return Peak(int(machine), int(CUDA_CONTEXT + kept + max(sum(step), sum(validation))))
    # What the heap has grown to in training it still has in validation.
    heap = FRAGMENTATION * max(step[0], validation[0])
    mapped = max(step[1] + sizes.snapshot, validation[1])
    return Peak(int(PROCESS + kept + heap + mapped))


MATTERS = (
    "method", "backbone", "unfrozen_depth", "fine_tuning", "lora_rank", "batch_size", "optimizer",
    "momentum", "ema_decay", "precision", "batch_norm", "bottleneck", "discriminator_width",
    "discriminator_depth",
)  # fmt: skip
"""Fields of a recipe that memory depends on."""


@dataclass(frozen=True)
class _Sizes:
    """Bytes of a worker's tensors: (small, mapped) of what a step and a validation hold."""

    weights: int
    trained: int
    copies: int
    """Of the trained weights: momentum and the like, and the average."""
    snapshot: int
    """Of a checkpoint that is written while the next epoch begins."""
    step: tuple[int, int]
    validation: tuple[int, int]


@contextmanager
def _without_data(network: DannNetwork, precision: str) -> Iterator[LiveBytes]:
    """Make the tensors of the block, and those of a network, such that they have no data."""
    if precision == "fp32":
        with torch.device("meta"), LiveBytes() as live:
            yield live
        return
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), LiveBytes() as live:
        for module in network.modules():  # nn.Module.to knows no way from meta to fake tensors
            for name, p in module.named_parameters(recurse=False):
                fake = torch.empty(p.shape, dtype=p.dtype)
                module._parameters[name] = nn.Parameter(fake, p.requires_grad)
            for name, b in module.named_buffers(recurse=False):
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype)
        yield live


@lru_cache(maxsize=1024)
def _sizes(config: TrialConfig, classes: int, side: int, few: bool) -> _Sizes:
    if config.precision == "fp16":  # of the same size, and a CPU's autocast knows it better
        config = config.model_copy(update={"precision": "bf16"})
    with torch.device("meta"):
        network = build_network(config, classes, side=side, bare=True).train()
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    # Fake tensors need the compiler, and a user's backbone may.
    compiles = config.precision != "fp32" or registered(config.backbone)
    compiler = nullcontext() if compiles else without_compiler()
    with compiler, _without_data(network, config.precision) as live:
        before = (live.small, live.mapped)
        step = _step(network, config, side, live, few and config.uses_target_labels)
        live.most = before
        validation = _validation(network, config, side, live)
        trained = sum(p.nbytes for p in network.parameters() if p.requires_grad)
    momentum = 2 if config.optimizer == "adamw" else int(config.momentum > 0)
    return _Sizes(
        weights=weights,
        trained=trained,
        copies=momentum + (2 if config.ema_decay else 0),  # in validation there are two
        snapshot=trained * (1 + momentum + bool(config.ema_decay)),
        step=(step[0] - before[0], step[1] - before[1]),
        validation=(validation[0] - before[0], validation[1] - before[1]),
    )


def _step(
    network: DannNetwork, config: TrialConfig, side: int, live: LiveBytes, few: bool
) -> tuple[int, int]:
    """Run a forward pass; what it leaves for backward is most of what a step ever holds."""
    n = config.batch_size
    source, labels = torch.empty(n, 3, side, side), torch.zeros(n, dtype=torch.long)
    sets = config.adapts + config.strong_views + few  # of target images
    with autocast(CPU, config.precision):
        if sets:
            target = torch.empty(sets * n, 3, side, side)
            features = torch.cat(network.features_of_both(source, target))
        else:
            features = network.features(source)
        loss = F.cross_entropy(network.classifier(features)[:n], labels)
        if network.discriminator is not None:
            # Its own input, whatever the method shows it: methods may look at values.
            seen = next(network.discriminator.parameters()).shape[1]
            loss = loss + network.discriminator(features.new_zeros(len(features), seen)).sum()
    return live.most


@torch.no_grad()
def _validation(
    network: DannNetwork, config: TrialConfig, side: int, live: LiveBytes
) -> tuple[int, int]:
    network.eval()
    with autocast(CPU, config.precision):
        network(torch.empty(batch_size_for(side), 3, side, side))
    return live.most
