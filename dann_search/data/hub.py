"""A domain from a data set of Hugging Face's ``datasets``: saved in a folder, or on the Hub.

It is copied once, as ``write_domain`` writes it, and read as any other manifest.
"""

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dann_search.config.data import HuggingFaceSet
from dann_search.data.remote import local_copy
from dann_search.data.split_names import splits_by_name
from dann_search.data.write_domain import write_domain
from dann_search.errors import InputError, in_one_line, nearest

SHOWN = 20
"""Values of a column that a message lists, at most."""


def local_dataset(config: HuggingFaceSet, cache: Path) -> Path:
    """Return the manifest of a data set's copy in ``cache``; write it if it is not there yet.

    Raises:
        InputError: ``datasets`` is not installed, the data set is not to be had, or it has no such
            split, column or value.
    """
    if importlib.util.find_spec("datasets") is None:
        raise InputError(
            f"{config}: needs the package datasets, which is not installed: "
            "pip install 'dann-search[hf]'"
        )
    loaded = _loaded(config, cache)
    several = loaded if isinstance(loaded, dict) else {"": loaded}
    prints = {name: rows._fingerprint for name, rows in several.items()}
    made_of = json.dumps([config.model_dump(mode="json"), prints], sort_keys=True)
    folder = cache / f"hf-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    manifest = folder / f"{folder.name}.csv"
    if not manifest.is_file():  # written whole or not at all
        try:
            write_domain(_chosen(config, loaded), folder)
        except InputError as exc:
            raise InputError(f"{config}: {exc}") from exc
    return manifest


def _loaded(config: HuggingFaceSet, cache: Path) -> Any:
    """Return a ``datasets.Dataset``, or a dict of them by split. No code of the data set is run."""
    import datasets

    try:
        if config.folder is None:
            return datasets.load_dataset(config.name, config.subset, revision=config.revision)
        place = config.folder
        place = place if isinstance(place, Path) else local_copy(place, cache)
        return datasets.load_from_disk(str(place))
    except InputError:
        raise
    # The package's errors, those of its client of the Hub, of Arrow and of the file system.
    except Exception as exc:
        hint = "; 'folder' is one that save_to_disk wrote" if config.folder else ""
        raise InputError(f"{config}: cannot be loaded: {in_one_line(exc)}{hint}") from exc


def _chosen(config: HuggingFaceSet, loaded: Any) -> Any:
    """Keep the splits, rows and labels that the config names."""
    if config.split is not None:
        loaded = _splits(config.split, loaded)
    elif isinstance(loaded, dict) and len(loaded) == 1:
        (loaded,) = loaded.values()
    elif isinstance(loaded, dict):
        _check_splits(loaded)
    several = loaded if isinstance(loaded, dict) else {"": loaded}
    for column, wanted in config.where.items():
        values = {name: _values(rows, column, "where") for name, rows in several.items()}
        if wanted not in (known := {one for column in values.values() for one in column}):
            many = len(known) > SHOWN
            hint = f"it has {len(known):,} values" if many else nearest(wanted, known)
            raise InputError(f"where: no '{wanted}' in {column}; {hint}")
        several = {
            name: rows.select([n for n, value in enumerate(values[name]) if value == wanted])
            for name, rows in several.items()
        }
    if config.label is not None:
        several = {name: _labelled(rows, config.label) for name, rows in several.items()}
    return several if isinstance(loaded, dict) else several[""]


def _check_splits(names: Iterable[str]) -> None:
    with contextlib.suppress(InputError):
        if {"train", "test"} <= set(splits_by_name(names).values()):
            return
    raise InputError(
        f"its splits are {', '.join(names)}, not train, test and maybe validation; name those to "
        f"divide anew, as in split: {'+'.join(names)}"
    )


def _splits(names: str, loaded: Any) -> Any:
    import datasets

    if not isinstance(loaded, dict):
        raise InputError(f"split: it has no splits, got '{names}'")
    parts = []
    for name in map(str.strip, names.split("+")):
        if name not in loaded:
            raise InputError(f"split: no '{name}'; {nearest(name, loaded)}")
        parts.append(loaded[name])
    return datasets.concatenate_datasets(parts)


def _values(rows: Any, column: str, key: str) -> list[str]:
    """Return a column as text, classes by their names."""
    _check_column(rows, column, key)
    names = getattr(rows.features[column], "names", None)
    values = rows.with_format(None).select_columns([column])[:][column]
    return [names[one] if names and one is not None else str(one) for one in values]


def _check_column(rows: Any, column: str, key: str) -> None:
    import datasets

    if column not in rows.features:
        raise InputError(f"{key}: no column '{column}'; {nearest(column, rows.features)}")
    if isinstance(rows.features[column], datasets.Image):
        raise InputError(f"{key}: the column '{column}' holds images")


def _labelled(rows: Any, label: str) -> Any:
    """Keep the images and one column of labels, under the name that says so."""
    import datasets

    _check_column(rows, label, "label")
    images = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    rows = rows.select_columns([*images, label])
    return rows if label == "label" else rows.rename_column(label, "label")
