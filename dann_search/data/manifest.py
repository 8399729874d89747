"""A domain from a table of images: CSV or Parquet with the columns path, label and split."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dann_search.data.decode import EXTENSIONS
from dann_search.data.domain import Domain
from dann_search.data.folder import LabelledFile, domain_of_files
from dann_search.data.split_names import how_read, split_of
from dann_search.errors import InputError

COLUMNS = ("path", "label", "split")
LIKE_LABELS = ("label", "class", "category", "target")
"""A column of such a name may hold the labels."""
Row = tuple[str, dict[str, str]]
"""Where a row stands, for messages, and its cells by column."""


def load_manifest_domain(
    manifest: Path, labelled: bool = True, training_alone: bool = False
) -> Domain:
    """Read a manifest and hash the bytes of its images; nothing is decoded yet.

    Paths are relative to the manifest's folder. The label may be empty for images of the training
    split; without a column ``split`` an image without a label belongs to the training split and the
    others are divided by ratio.

    Args:
        manifest: the file.
        labelled: whether its images have labels; otherwise a column of them is not read.
        training_alone: whether only those of the training split need to have any.

    Raises:
        InputError: with the line of the first row at fault.
    """
    needed = ("path", "label") if labelled else ("path",)
    kind = manifest.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{manifest}: a manifest is a .csv or a .parquet file")
    table = _csv_table if kind == ".csv" else _parquet_table
    names, rows = table(manifest, needed)
    if not rows:
        raise InputError(f"{manifest}: no rows")
    measured = labelled and not training_alone
    files = [_entry(where, cells, manifest, measured) for where, cells in rows]
    _check_unique(rows, files)
    _check_splits(manifest, rows, files)
    domain = domain_of_files(manifest.stem, files, _remarks(manifest, names, rows, needed))
    if labelled and not any(item.label for item in files):
        raise InputError(f"{manifest}: no row has a label")
    return domain


def lacks_labels(manifest: Path) -> bool:
    """Whether a manifest has no column of labels; False where it cannot be read.

    Raises:
        InputError: it has none of that name, but one that may be meant.
    """
    try:
        table = _csv_table if manifest.suffix.lower() == ".csv" else _parquet_table
        names, _ = table(manifest, ("path",), rows=False)
    except InputError:
        return False  # said when it is loaded
    plain = {_plain(name): name for name in names}
    if "label" in plain:
        return False
    for column, name in plain.items():
        if column not in COLUMNS and get_close_matches(column, LIKE_LABELS, cutoff=0.75):
            raise InputError(
                f"{manifest}: no column 'label', but '{name}'; rename it to 'label' if it has the "
                "labels; if the images have none, say so: data.target.labelled: false"
            )
    return True


def _remarks(
    manifest: Path, names: Sequence[str], rows: Sequence[Row], needed: Sequence[str]
) -> tuple[str, ...]:
    """Return what was made of names, and which columns nobody looks at."""
    remarks = []
    written = {cells["split"] for _, cells in rows if "split" in cells}
    if how := how_read({name: split_of(name) for name in sorted(written)}):
        remarks.append(f"{manifest}: read as splits: {how}")
    # pandas writes its index into a column without a name.
    read = (*needed, "split")
    if unread := [name or "(no name)" for name in names if _plain(name) not in read]:
        remarks.append(f"{manifest}: columns that are not read: {', '.join(unread)}")
    return tuple(remarks)


def _csv_table(
    manifest: Path, needed: Sequence[str], rows: bool = True
) -> tuple[Sequence[str], list[Row]]:
    """Return the names of all columns, and the rows with the cells of those that are read."""
    import csv

    found = []
    try:
        # Excel begins UTF-8 files with a byte-order mark.
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or [])
            columns = _columns(manifest, names, needed)
            for cells in reader if rows else ():
                where = f"{manifest}:{reader.line_num}"
                if None in cells or None in cells.values():
                    raise InputError(f"{where}: expected {len(names)} cells")
                found.append((where, {column: cells[name].strip() for column, name in columns}))
    except OSError as exc:
        raise InputError(f"{manifest}: cannot be read: {exc.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{manifest}: not a valid CSV file: {exc}") from None
    return names, found


def _parquet_table(
    manifest: Path, needed: Sequence[str], rows: bool = True
) -> tuple[Sequence[str], list[Row]]:
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(manifest).names
        columns = _columns(manifest, names, needed)
        if not rows:
            return names, []
        table = parquet.read_table(manifest, columns=[name for _, name in columns])
    except OSError as exc:
        raise InputError(f"{manifest}: cannot be read: {exc.strerror or exc}") from None
    except pyarrow.ArrowException as exc:
        raise InputError(f"{manifest}: not a valid Parquet file: {exc}") from None
    return names, [
        (f"{manifest}: row {number}", {column: _text(cells[name]) for column, name in columns})
        for number, cells in enumerate(table.to_pylist())
    ]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _plain(name: str) -> str:
    """Return a column's name as it is compared: a blank or a capital is no other column."""
    return name.strip().casefold()


def _columns(manifest: Path, names: Sequence[str], needed: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns that are read, each with its name in the file.

    Raises:
        InputError: one is missing or there twice.
    """
    read = (*needed, "split")
    found = [(_plain(name), name) for name in names if _plain(name) in read]
    for column in read:
        own = [name for plain, name in found if plain == column]
        if len(own) > 1:
            raise InputError(f"{manifest}: {len(own)} columns are '{column}'; leave one of them")
        if not own and column != "split":
            hint = "; cells are separated by commas" if len(names) == 1 else ""
            raise InputError(
                f"{manifest}: no column '{column}'; it has {', '.join(names) or 'none'}{hint}"
            )
    return found


def _entry(where: str, cells: dict[str, str], manifest: Path, measured: bool) -> LabelledFile:
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
    label, split = cells.get("label") or None, cells.get("split")
    if split is None:
        return LabelledFile(file, label)
    try:
        meant = split_of(split)
    except InputError as exc:
        raise InputError(f"{where}: {exc}") from None
    if measured and label is None and meant != "train":
        raise InputError(f"{where}: an image of the {split} split needs a label")
    return LabelledFile(file, label, meant)


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
