"""Exporting a model: into a new folder, compared with the original before it gets its name."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dann_search.errors import InputError, RunError, in_one_line, nearest
from dann_search.inference.export import onnx_file, program, safetensors_folder
from dann_search.inference.export.verification import Verification, images_for, verify
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_card import model_card
from dann_search.inference.model_files import (
    CARD,
    PLACE,
    RECORD,
    WEIGHTS,
    check_place,
    read_evaluation,
)


class Format(Protocol):
    """A kind of export: a module of this room."""

    @property
    def FILES(self) -> tuple[str, ...]:
        """What it writes, besides model.json and README.md."""

    def check(self, backbone: str) -> None:
        """Refuse, before anything is done, what cannot be exported so."""

    def write(self, model: DannModel, folder: Path) -> None:
        """Write the files of a model, on the CPU, into a folder."""

    def open_written(self, folder: Path) -> Callable[[Tensor], Tensor]:
        """A function from uint8 images to probabilities, from what was written."""

    def loading(self, model: DannModel) -> str:
        """How the card says to load it."""


FORMATS: dict[str, Format] = {
    "safetensors": safetensors_folder,
    "onnx": onnx_file,
    "torch": program,
}


@dataclass(frozen=True)
class Export:
    """An export of a trial's ``model`` written to ``folder``, and how the two compared."""

    folder: Path
    model: Path
    trial: int
    format: str
    files: tuple[str, ...]
    verification: Verification
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        """As ``export --json`` prints it."""
        return {
            "export": str(self.folder),
            "model": str(self.model),
            "trial": self.trial,
            "format": self.format,
            "files": [str(self.folder / name) for name in self.files],
            "verification": self.verification.to_json(),
            "elapsed_s": round(self.elapsed_s, 2),
        }

    def lines(self) -> list[str]:
        """What people read."""
        sizes = ((name, (self.folder / name).stat().st_size / 2**20) for name in self.files)
        return [
            f"{self.folder}, of trial {self.trial} ({self.model}), in {self.elapsed_s:.1f} s:",
            *(
                f"    {name}, {size:.1f} MiB" if size >= 0.1 else f"    {name}"
                for name, size in sizes
            ),
            self.verification.line(),
        ]


def export_model(
    target: str | Path,
    format: str,
    *,
    out: str | Path | None = None,
    force: bool = False,
    images: str | Path | None = None,
) -> Export:
    """Write a model for use without dann-search, compared with the original on real images.

    Args:
        target: an experiment, whose best model is exported, or a model's folder.
        format: safetensors, onnx or torch.
        out: the folder to write; ``export/FORMAT`` in the model's by default.
        force: replace an export that is there.
        images: a folder of images to compare on; by default the target's validation images, or
            synthetic ones where the model's experiment is not to be found.

    Raises:
        InputError: no model, no such format, a missing package, a folder that exists.
        RunError: the export says something else than its model; nothing is left of it.
    """
    if format not in FORMATS:
        raise InputError(f"--format: unknown '{format}'; {nearest(format, FORMATS)}")
    kind, found = FORMATS[format], find_model(target)
    kind.check(found.record["backbone"])
    place = found.folder / "export" / format if out is None else Path(out).expanduser().resolve()
    check_place(place, "export", force)
    begun = time.perf_counter()
    model = load_model(found.folder).requires_grad_(False)
    if images is None:
        pictures = images_for(model, found.store, None)
    else:
        pictures = images_for(model, None, Path(images))
    with _new_folder(place) as folder:
        try:
            kind.write(model, folder)
            run = kind.open_written(folder)
        except OSError as exc:
            raise RunError(f"{place}: cannot be written: {exc}") from None
        # What torch, its compilers and ONNX raise is theirs to choose.
        except Exception as exc:
            raise RunError(
                f"{model.record['backbone']} cannot be exported: {in_one_line(exc)}"
            ) from exc
        verification = verify(model, run, pictures)
        _describe(kind, format, model, found, verification, folder)
    found.publish(place)
    return Export(
        folder=place,
        model=found.folder,
        trial=found.record["trial"],
        format=format,
        files=(*kind.FILES, RECORD, CARD),
        verification=verification,
        elapsed_s=time.perf_counter() - begun,
    )


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """A folder that gets its name when the block has ended well, and is gone otherwise."""
    folder = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as exc:
        raise InputError(f"{place}: cannot be written: {exc.strerror}") from None
    try:
        yield folder
        if place.exists():
            shutil.rmtree(place)
        os.replace(folder, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _describe(
    kind: Format,
    format: str,
    model: DannModel,
    found: FoundModel,
    verification: Verification,
    folder: Path,
) -> None:
    """Write model.json, which the loader reads, and the card."""
    digest = hashlib.sha256((found.folder / WEIGHTS).read_bytes()).hexdigest()
    # For use elsewhere: where the experiment lies is nobody's business there.
    record = {name: value for name, value in model.record.items() if name != PLACE} | {
        "export": {
            "format": format,
            "files": list(kind.FILES),
            "weights_sha256": digest,
            "torch": torch.__version__,
            "verification": verification.to_json(),
        }
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    loading = f"{kind.loading(model).strip()}\n\nThis export was {verification.line()}."
    card = model_card(record, read_evaluation(found.folder), loading)
    (folder / CARD).write_text(card, encoding="utf-8")
