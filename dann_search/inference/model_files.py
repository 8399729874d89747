"""The folder of a model: names of its files; write and read them. Reading needs no torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dann_search.config.extension_files import ExtensionFile, write_copies
from dann_search.errors import InputError
from dann_search.inference.model_card import loading_of, model_card
from dann_search.storage.atomic_file import remove_left, write_atomically
from dann_search.storage.layout import EXTENSIONS, MODEL_RECORD

FORMAT = 5
"""2 added temperature, validation_ci95, chosen_by and refit, 3 preprocessing.stored_size, 4
preprocessing.crop_size, 5 preprocessing.grey_bits and transparency; models of earlier formats are
read too."""

WEIGHTS, RECORD, CARD = "model.safetensors", MODEL_RECORD, "README.md"
EVALUATION, CONFUSION = "evaluation.json", "confusion.png"
NEEDED = ("class_names", "preprocessing", "backbone", "config", "data")
PLACE = "experiment_place"
"""Key of the experiment's path or URL in a record; only needed for test and validation images."""

HASHES = "sha256"
"""Key of the SHA-256 of the files beside a record, by name; older versions wrote none."""


def check_whole(folder: Path, record: Mapping[str, Any]) -> None:
    """Check that the weights are those that the record was written with.

    Raises:
        InputError: they were changed or damaged since.
    """
    path, expected = folder / WEIGHTS, record.get(HASHES, {}).get(WEIGHTS)
    if expected is not None and (found := sha256_of(path)) != expected:
        raise InputError(
            f"{path}: damaged or replaced: its SHA-256 is {found[:12]}…, and {RECORD} says "
            f"{expected[:12]}…; write the model again with: dann-search best"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_place(place: Path, kind: Literal["model", "export"], force: bool) -> None:
    """Check that a folder can be written: it is new or empty, or of the same kind and ``force``.

    Raises:
        InputError: the folder holds something else, or ``force`` is not given.
    """
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if _kind(place) != kind:
        article = "an" if kind == "export" else "a"
        raise InputError(
            f"{place}: exists and is not {article} {kind} that dann-search wrote; choose another "
            "folder with --out"
        )
    if not force:
        raise InputError(
            f"{place}: exists; replace it with --force, or choose another folder with --out"
        )


def _kind(place: Path) -> str | None:
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not {"format", *NEEDED} <= record.keys():
        return None
    return "export" if "export" in record else "model"


def write_model(
    folder: Path,
    state: Mapping[str, Any],
    record: dict[str, Any],
    extensions: Sequence[ExtensionFile] = (),
) -> None:
    """Write weights, record, card and extensions; delete what was measured of another model.

    If the folder holds the same weights already, their evaluation and temperature are kept.

    Raises:
        InputError: the folder cannot be written.
    """
    from safetensors.torch import save

    weights = save(dict(state))
    record[HASHES] = {WEIGHTS: hashlib.sha256(weights).hexdigest()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_left(folder)
        path = folder / WEIGHTS
        if not path.is_file() or path.read_bytes() != weights:
            for name in (EVALUATION, CONFUSION, RECORD):
                (folder / name).unlink(missing_ok=True)
            # The weights first: a record must never describe a file that does not exist yet.
            write_atomically(path, weights)
        else:
            with suppress(InputError, KeyError):
                record["temperature"] = read_record_of_model(folder)["temperature"]
        write_copies(folder / EXTENSIONS, extensions)
        write_record(folder, record)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be written: {exc.strerror}") from exc


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write model.json and the card."""
    write_atomically(folder / RECORD, json.dumps(record, indent=1).encode())
    card = model_card(record, read_evaluation(folder), loading_of(record))
    write_atomically(folder / CARD, card.encode())


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Read what ``evaluate`` measured on the target's test split; None if it did not run."""
    try:
        content: dict[str, Any] = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def read_record_of_model(folder: Path) -> dict[str, Any]:
    """Read and check model.json.

    Raises:
        InputError: there is no model, or it is damaged, an export, or of a newer version.
    """
    path = folder / RECORD
    record = _read(path) if path.is_file() else {}
    if export := record.get("export"):
        raise InputError(
            f"{folder}: an export ({export['format']}), for use without dann-search; name the "
            "model that it was made from"
        )
    for name in (RECORD, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: no model ({name} is missing); write one with: dann-search best"
            )
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        newer = int(record["format"]) > FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        problem = f"{type(exc).__name__}: {exc}"
        raise InputError(f"{path}: not a model's record: {problem}") from None
    if newer:
        raise InputError(
            f"{path}: written by a newer dann-search (format {record['format']}, this one reads "
            f"up to {FORMAT}); upgrade dann-search"
        )
    if missing := [name for name in NEEDED if name not in record]:
        raise InputError(f"{path}: not a model's record: it has no {', '.join(missing)}")
    return record
