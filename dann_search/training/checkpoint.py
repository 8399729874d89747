"""A trial's checkpoints: ``last`` to continue from, ``best`` to keep.

One safetensors file each, written atomically. The record (format, history) lies in the file's own
header, so that weights and record are never of different epochs. So does a digest of both, which
tells a file that was damaged since. Weights of frozen stages are not written: the seed or the
pre-trained file gives them again, and a hash in the record tells if not.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.errors import RunError
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
from dann_search.storage.atomic_file import write_atomically
from dann_search.training.result import EpochResult, History

FORMAT = 3
LAST, BEST = "last.safetensors", "best.safetensors"
PREVIOUS = "previous.safetensors"
"""``last`` of the epoch before, for the day that a power cut leaves ``last`` in pieces."""
DIGEST = "sha256"
"""Of a file's tensors and record, in its header."""
KINDS = ("model", "optimizer", "average", "within")
"""Fields of a checkpoint that hold tensors; its file has them under these prefixes."""
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""As safetensors calls them."""


class TornCheckpointError(RunError):
    """A file that is no whole checkpoint, or not as it was written."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
        history: every epoch so far, the checkpoint's own last.
        frozen_hash: of the frozen stages' weights.
        model: trained weights by state-dict name.
        optimizer: its state by parameter and kind; empty in ``best``.
        average: moving average of the trained weights; empty in ``best`` and without one.
        within: where in the epoch after the history it was taken; empty at an epoch's end.
        recipe: hash of the configuration; empty where an older version wrote it.
    """

    history: History
    frozen_hash: str
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    within: dict[str, Tensor] = field(default_factory=dict)
    recipe: str = field(default="", kw_only=True)


def recipe_hash(config: TrialConfig) -> str:
    """Hash a recipe; options that newer versions add do not change the hash."""
    stated = config.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def trained_state(network: DannNetwork) -> dict[str, Tensor]:
    """Return the state dict without the frozen stages."""
    frozen = _frozen_names(network)
    return {name: value for name, value in network.state_dict().items() if name not in frozen}


def frozen_hash(network: DannNetwork) -> str:
    """Hash the weights of the frozen stages; an empty hash where all stages are trained."""
    frozen = _frozen_names(network)
    return weights_hash({n: value for n, value in network.state_dict().items() if n in frozen})


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Hash tensors by name and content."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(_bytes_of(value.detach().cpu().contiguous()))
    return digest.hexdigest()


def _frozen_names(network: DannNetwork) -> set[str]:
    return {f"backbone.{name}" for name in network.backbone.frozen_names}


def checkpoint_bytes(config: TrialConfig, classes: int) -> tuple[int, int]:
    """Return about how many bytes ``best`` and ``last`` of a recipe take, without its weights."""
    with torch.device("meta"):
        network = build_network(config, classes, bare=True)
    model = sum(value.nbytes for value in trained_state(network).values())
    trained = sum(p.nbytes for p in network.parameters() if p.requires_grad)
    moments = 2 if config.optimizer == "adamw" else int(config.momentum > 0)
    return model, model + moments * trained + (model if config.ema_decay else 0)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write under a temporary name, flush to disk, rename: readers see the old file or the new."""
    tensors = {
        f"{kind}.{name}": value.detach().cpu().contiguous()
        for kind in KINDS
        for name, value in getattr(checkpoint, kind).items()
    }
    record = {
        "format": FORMAT,
        "torch": torch.__version__,
        "frozen_hash": checkpoint.frozen_hash,
        "recipe": checkpoint.recipe,
        "history": [asdict(result) for result in checkpoint.history],
    }
    said = json.dumps(record)
    header = {"record": said, DIGEST: _digest(tensors, said)}
    write_atomically(path, _safetensors(tensors, header))


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, where training does not change them; a GPU's to pinned memory."""
    copies = {
        name: torch.empty(
            value.shape, dtype=value.dtype, device="cpu", pin_memory=value.is_cuda
        ).copy_(value.detach(), non_blocking=True)
        for name, value in tensors.items()
    }
    if any(value.is_cuda for value in tensors.values()):
        torch.cuda.current_stream().synchronize()
    return copies


def _safetensors(
    tensors: Mapping[str, Tensor], metadata: dict[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield a safetensors file in pieces: its header, then the tensors' own memory.

    The library's ``save`` copies every tensor twice, and its ``save_file`` hides why a disk refuses
    to be written. Format: https://huggingface.co/docs/safetensors#format. Large items come first,
    so that all are aligned.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        place = {"shape": list(tensor.shape), "data_offsets": [begin, end]}
        header[name] = {"dtype": DTYPES[tensor.dtype], **place}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield _bytes_of(tensor)


def _digest(tensors: Mapping[str, Tensor], record: str) -> str:
    """Hash tensors of the CPU by name, type, shape and content, and what the header says of them.

    SHA-256 takes 0.05 s for 100 MiB where the processor has instructions for it.
    """
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor of the CPU."""
    return tensor.flatten().view(torch.uint8).numpy().data


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        TornCheckpointError: the file is no checkpoint, or was damaged since it was written.
        RunError: it was written by a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            record = json.loads(header["record"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if record["format"] > FORMAT:
            raise RunError(
                f"{path}: written by a newer dann-search (format {record['format']}, "
                f"this one reads {FORMAT})"
            )
        # Files of older versions have no digest.
        if DIGEST in header and header[DIGEST] != _digest(tensors, header["record"]):
            raise TornCheckpointError(
                f"{path}: damaged: its content is not what was written; look at the disk, or copy "
                "the file back from where it is whole"
            )
        return Checkpoint(
            history=tuple(EpochResult(**result) for result in record["history"]),
            frozen_hash=record["frozen_hash"],
            **{kind: with_prefix(tensors, f"{kind}.") for kind in KINDS},
            recipe=record.get("recipe", ""),
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as exc:
        raise TornCheckpointError(f"{path}: not a readable checkpoint: {exc}") from None


def load_last(folder: Path, recipe: str | None = None) -> tuple[Checkpoint, Path] | None:
    """Load the last whole checkpoint of a recipe; None if training begins anew.

    What was passed over is said on standard error.

    Raises:
        RunError: it was written by a newer version.
    """
    torn: list[str] = []
    found = None
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            checkpoint = load_checkpoint(path) if path.exists() else None
        except TornCheckpointError as exc:
            torn.append(str(exc))
            continue
        if checkpoint and (recipe is None or checkpoint.recipe in ("", recipe)):
            found = checkpoint, path
            break
    if torn:
        goes_on = f"after epoch {len(found[0].history)}, from {found[1]}" if found else "anew"
        print(f"{'; '.join(torn)}: training continues {goes_on}", file=sys.stderr)
    return found


def save_last(folder: Path, checkpoint: Checkpoint, *, final: bool) -> None:
    """Write ``last``; the one before it stays until the trial's final epoch."""
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)
    save_checkpoint(folder / LAST, checkpoint)
    if final:
        (folder / PREVIOUS).unlink(missing_ok=True)


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select tensors whose names begin with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def restore_network(network: DannNetwork, checkpoint: Checkpoint, path: Path) -> None:
    """Put the trained weights back into a network built from the same configuration.

    Raises:
        RunError: the frozen weights are not those it was trained on, or the weights do not fit.
    """
    if frozen_hash(network) != checkpoint.frozen_hash:
        raise RunError(
            f"{path}: the frozen stages differ from those it was trained on; "
            "use the same pre-trained weights file and torch version"
        )
    expected, found = set(trained_state(network)), set(checkpoint.model)
    if expected != found:
        shown = ", ".join(sorted(expected ^ found)[:3])
        raise RunError(f"{path}: weights do not fit the configuration, first differences: {shown}")
    try:
        network.load_state_dict(checkpoint.model, strict=False)
    except RuntimeError as exc:  # shapes
        problem = " ".join(str(exc).split())[:200]
        raise RunError(f"{path}: weights do not fit the configuration: {problem}") from None
