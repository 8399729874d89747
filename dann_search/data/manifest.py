"""A domain from a table of images: CSV or Parquet with the columns path, label and split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dann_search.data.decode import EXTENSIONS
from dann_search.data.domain import SPLITS, Domain
from dann_search.data.folder import SPLIT_NAMES, LabelledFile, domain_of_files
from dann_search.errors import InputError, nearest

COLUMNS = ("path", "label", "split")
Row = tuple[str, dict[str, str]]
"""Where a row stands, for messages, and its cells by column."""


def load_manifest_domain(manifest: Path) -> Domain:
    """Read a manifest and hash the bytes of its images; nothing is decoded yet.

    Paths are relative to the manifest's folder. The label may be empty for images of the training
    split; without a column ``split`` an image without a label belongs to the training split and the
    others are divided by ratio.

    Raises:
        InputError: with the line of the first row at fault.
    """
    kind = manifest.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{manifest}: a manifest is a .csv or a .parquet file")
    rows = list(_csv_rows(manifest) if kind == ".csv" else _parquet_rows(manifest))
    if not rows:
        raise InputError(f"{manifest}: no rows")
    files = [_entry(where, cells, manifest) for where, cells in rows]
    _check_unique(rows, files)
    _check_splits(manifest, rows, files)
    if not any(item.label for item in files):
        raise InputError(f"{manifest}: no row has a label")
    return domain_of_files(manifest.stem, files)


def _csv_rows(manifest: Path) -> Iterator[Row]:
    import csv

    try:
        # Excel begins UTF-8 files with a byte-order mark.
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(manifest, reader.fieldnames or [])
            for cells in reader:
                where = f"{manifest}:{reader.line_num}"
                if None in cells or None in cells.values():
                    raise InputError(f"{where}: expected {len(reader.fieldnames or [])} cells")
                yield where, {name: value.strip() for name, value in cells.items()}
    except OSError as exc:
        raise InputError(f"{manifest}: cannot be read: {exc.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{manifest}: not a valid CSV file: {exc}") from None


def _parquet_rows(manifest: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(manifest).names
        _check_columns(manifest, names)
        table = parquet.read_table(manifest, columns=[n for n in COLUMNS if n in names])
    except OSError as exc:
        raise InputError(f"{manifest}: cannot be read: {exc.strerror or exc}") from None
    except pyarrow.ArrowException as exc:
        raise InputError(f"{manifest}: not a valid Parquet file: {exc}") from None
    for number, cells in enumerate(table.to_pylist()):
        yield (
            f"{manifest}: row {number}",
            {name: "" if value is None else str(value).strip() for name, value in cells.items()},
        )


def _check_columns(manifest: Path, names: Sequence[str]) -> None:
    for column in ("path", "label"):
        if column not in names:
            hint = "; cells are separated by commas" if len(names) == 1 else ""
            raise InputError(
                f"{manifest}: no column '{column}'; it has {', '.join(names) or 'none'}{hint}"
            )


def _entry(where: str, cells: dict[str, str], manifest: Path) -> LabelledFile:
    if not cells["path"]:
        raise InputError(f"{where}: the path is empty")
    file = manifest.parent / cells["path"]
    try:
        exists = file.is_file()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise InputError(f"{where}: no such file: {file}")
    if file.suffix.lower() not in EXTENSIONS:
        raise InputError(f"{where}: {file.name} is no image ({', '.join(sorted(EXTENSIONS))})")
    label, split = cells["label"] or None, cells.get("split")
    if split is None:
        return LabelledFile(file, label)
    if split not in SPLIT_NAMES:
        raise InputError(f"{where}: unknown split '{split}'; {nearest(split, SPLITS)}")
    if label is None and split != "train":
        raise InputError(f"{where}: an image of the {split} split needs a label")
    return LabelledFile(file, label, SPLIT_NAMES[split])


def _check_unique(rows: list[Row], files: list[LabelledFile]) -> None:
    first: dict[Path, str] = {}
    for (where, _), item in zip(rows, files, strict=True):
        path = item.file.resolve()
        if path in first:
            raise InputError(f"{where}: {item.file} stands already at {first[path]}")
        first[path] = where


def _check_splits(manifest: Path, rows: list[Row], files: list[LabelledFile]) -> None:
    given = {item.split for item in files}
    if given != {None} and not {"train", "test"} <= given:
        lacking = " and ".join(sorted({"train", "test"} - {str(split) for split in given}))
        raise InputError(f"{manifest}: no row of the {lacking} split")
