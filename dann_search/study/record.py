"""The record of an experiment: all it takes to run it again, and to see that nothing changed."""

import importlib.metadata
import platform
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import yaml

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extension_files import extensions_in_use, write_copies
from dann_search.config.extensions import registered_here
from dann_search.config.space import Space
from dann_search.config.trial import AUTO
from dann_search.data.node_store import differing
from dann_search.data.store import INFO, StoreInfo, read_info
from dann_search.errors import InputError
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder

PRECISIONS = "precisions"
"""Key of what ``auto`` stands for, by backbone."""
VERSIONS = ("dann-search", "ray", "torch", "torchvision", "optuna", "scikit-learn", "numpy")


@dataclass(frozen=True)
class SettledPrecision:
    """What the precision ``auto`` stands for with a backbone, and why."""

    precision: str
    why: str


def write_record(
    experiment: ExperimentConfig,
    folder: ExperimentFolder,
    info: StoreInfo,
    precisions: Mapping[str, SettledPrecision] = MappingProxyType({}),
) -> None:
    """Write it, with the hashes of the packed images and of the extensions, which are copied.

    ``precisions`` are those of an experiment whose precision is ``auto``, by backbone: its trials
    keep them, wherever they are resumed.
    """
    write_copies(folder.extensions, extensions_in_use())
    record = {
        "experiment": experiment.model_dump(mode="json"),
        "versions": {
            **{name: importlib.metadata.version(name) for name in VERSIONS},
            "python": platform.python_version(),
        },
        "data": asdict(info),
        PRECISIONS: {name: asdict(one) for name, one in precisions.items()},
        "extensions": {file.name: file.sha256 for file in extensions_in_use()},
        "registered": registered_here(),
        "id": uuid.uuid4().hex,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write_yaml(record, folder)


def recorded_store(folder: ExperimentFolder) -> StoreInfo:
    """Return what was packed when the search began."""
    return StoreInfo(**yaml.safe_load(folder.record.read_text(encoding="utf-8"))["data"])


def recorded_precisions(folder: ExperimentFolder) -> dict[str, SettledPrecision]:
    """Return what ``auto`` stands for in an experiment, by backbone; empty where it has none."""
    content = yaml.safe_load(folder.record.read_text(encoding="utf-8")).get(PRECISIONS, {})
    return {name: SettledPrecision(**one) for name, one in content.items()}


def with_recorded_precisions(space: Space, folder: ExperimentFolder) -> Space:
    """Return a space whose recipes have the precisions that the experiment began with."""
    if space.fixed.precision != AUTO:
        return space
    return with_precisions(space, recorded_precisions(folder))


def with_precisions(space: Space, settled: Mapping[str, SettledPrecision]) -> Space:
    """Return a space whose recipes have these precisions where the file says ``auto``."""
    return replace(space, precisions={name: one.precision for name, one in settled.items()})


def check_unchanged(folder: ExperimentFolder) -> None:
    """Bring back the images that a resumed search began with; pack those that are not here.

    Raises:
        InputError: the packed store is another one, with the splits that differ.
    """
    recorded = recorded_store(folder)
    if not (folder.data / INFO).exists():
        return
    try:
        info = read_info(folder.data)
    except (OSError, ValueError) as exc:
        raise InputError(f"{folder.data}: the packed images cannot be read: {exc}") from None
    if info.hashes != recorded.hashes:
        parts = ", ".join(differing(recorded.hashes, info.hashes))
        raise InputError(
            f"{folder.data}: these are not the images the search began with, in: {parts}"
        )


def rewrite_record(experiment: ExperimentConfig, folder: ExperimentFolder) -> None:
    """Put a changed experiment into its record."""
    record = yaml.safe_load(folder.record.read_text(encoding="utf-8"))
    before, record["experiment"] = record["experiment"], experiment.model_dump(mode="json")
    if record["experiment"] != before:
        _write_yaml(record, folder)


def _write_yaml(record: dict[str, Any], folder: ExperimentFolder) -> None:
    write_atomically(folder.record, yaml.safe_dump(record, sort_keys=False).encode())
