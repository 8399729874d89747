"""Export a model into a new folder, which gets its name once it was compared with the model."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from dann_search.errors import InputError, RunError, in_one_line, nearest
from dann_search.inference.export import programs, safetensors_folder
from dann_search.inference.export.verification import images_for, verify
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_card import model_card
from dann_search.inference.model_files import (
    CARD,
    HASHES,
    PLACE,
    RECORD,
    WEIGHTS,
    check_place,
    read_evaluation,
    sha256_of,
)
from dann_search.outputs.models import Export, Verification


@dataclass
class Format:
    """A format of exports.

    Attributes:
        files: names of the files it writes, besides model.json and README.md.
        write: write the files of a model, which is on the CPU, into a folder.
        open_written: load what was written; return a function from images to probabilities.
        loading: return the card's text on how to load it.
        check: refuse a backbone that this format cannot hold.
    """

    files: tuple[str, ...]
    write: Callable[[DannModel, Path], None]
    open_written: Callable[[Path], programs.Run]
    loading: Callable[[DannModel], str]
    check: Callable[[str], None] = lambda backbone: None


FORMATS = {
    "safetensors": Format(
        safetensors_folder.FILES,
        safetensors_folder.write,
        safetensors_folder.open_written,
        safetensors_folder.loading,
        safetensors_folder.check,
    ),
    "onnx": Format(
        (programs.ONNX, programs.READER),
        programs.write_onnx,
        programs.open_onnx,
        programs.onnx_loading,
        programs.check_onnx,
    ),
    "torch": Format(
        (programs.PROGRAM, programs.READER),
        programs.write_torch,
        programs.open_torch,
        programs.torch_loading,
    ),
    "hf": Format(
        (*safetensors_folder.FILES, safetensors_folder.CONFIG),
        safetensors_folder.write_hub,
        safetensors_folder.open_written,
        safetensors_folder.hub_loading,
        safetensors_folder.check,
    ),
}


def export_model(
    target: str | Path,
    format: str,
    *,
    out: str | Path | None = None,
    force: bool = False,
    images: str | Path | None = None,
    trust_extensions: bool = False,
) -> Export:
    """Write a model for use without dann-search; compare it with the original on images.

    Args:
        target: an experiment, whose best model is exported, or the folder of a model.
        format: safetensors, onnx, torch or hf (a folder for the Hugging Face Hub).
        out: folder to write; by default ``export/FORMAT`` in the model's.
        force: replace an existing export.
        images: folder of images to compare on; by default the target's validation images, or
            synthetic ones if the model's experiment is not found.
        trust_extensions: as in ``load_model``, of a model folder; an export needs none.

    Raises:
        InputError: there is no model or no such format, a package is missing, or ``out`` exists.
        RunError: the export's probabilities differ from the model's; nothing was written.
    """
    if format not in FORMATS:
        wrong = f"unknown '{format}'" if format else "missing"
        raise InputError(f"--format: {wrong}; {nearest(format, FORMATS)}")
    kind, found = FORMATS[format], find_model(target, trust_extensions)
    kind.check(found.record["backbone"])
    place = found.folder / "export" / format if out is None else Path(out).expanduser().resolve()
    check_place(place, "export", force)
    begun = time.perf_counter()
    model = load_model(found.folder, found.trusted).requires_grad_(False)
    with tempfile.TemporaryDirectory() as odd, _new_folder(place) as folder:
        store = found.store if images is None else None
        pictures = images_for(model, store, None if images is None else Path(images), Path(odd))
        try:
            kind.write(model, folder)
            run = kind.open_written(folder)
        except OSError as exc:
            raise RunError(f"{place}: cannot be written: {exc}") from None
        # torch, its compilers and ONNX raise exceptions of any class.
        except Exception as exc:
            raise RunError(
                f"{model.record['backbone']} cannot be exported: {in_one_line(exc)}"
            ) from exc
        verification = verify(model, run, pictures)
        _describe(kind, format, model, found, verification, folder)
    found.publish(place)
    return Export(
        export=place,
        model=found.folder,
        trial=found.record["trial"],
        format=cast(Literal["safetensors", "onnx", "torch", "hf"], format),
        files=[place / name for name in (*kind.files, RECORD, CARD)],
        verification=verification,
        elapsed_s=round(time.perf_counter() - begun, 2),
    )


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """Yield a folder that is renamed to ``place`` at the end, and deleted after an error."""
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
    # An export is passed on to others: it does not say where the experiment lies.
    record = {name: value for name, value in model.record.items() if name != PLACE} | {
        HASHES: {name: sha256_of(folder / name) for name in kind.files},
        "export": {
            "format": format,
            "files": list(kind.files),
            "weights_sha256": sha256_of(found.folder / WEIGHTS),
            "torch": torch.__version__,
            "verification": verification.model_dump(),
        },
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    loading = f"{kind.loading(model).strip()}\n\nThis export was {verification}."
    evaluation = read_evaluation(found.folder)
    card = model_card(record, evaluation, loading)
    if format == "hf":
        card = safetensors_folder.hub_metadata(record, evaluation) + card
    (folder / CARD).write_text(card, encoding="utf-8")
