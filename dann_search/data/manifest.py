"""A domain from a table of images: CSV or Parquet with the columns path, label and split.

CSV is read as spreadsheets write it, Parquet as pandas does.
"""

import codecs
import csv
import io
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dann_search.data.class_names import changed_names, class_name
from dann_search.data.decode import AS_IT_IS, EXTENSIONS, Preparation
from dann_search.data.domain import Domain
from dann_search.data.labelled_files import LabelledFile, domain_of_files
from dann_search.data.split_names import how_read, split_of
from dann_search.data.walk import is_dangling, is_image
from dann_search.errors import InputError

COLUMNS = ("path", "label", "split")
LIKE = {
    "path": ("path", "file", "filename", "filepath", "image", "image_path", "img"),
    "label": ("label", "class", "category", "target"),
}
"""A column of such a name may hold the paths, or the labels."""
MISSING = {"nan", "<na>", "n/a", "na", "none", "null", "nat"}
"""What may stand for a missing label, in any case."""
SHOWN = 20

Row = tuple[str, dict[str, str]]
"""Where a row stands, for messages, and its cells by column."""


def load_manifest_domain(
    manifest: Path,
    labelled: bool = True,
    how: Preparation = AS_IT_IS,
    training_alone: bool = False,
) -> Domain:
    """Read a manifest and hash the bytes of its images; nothing is decoded yet.

    Paths are relative to the manifest's folder. The label may be empty for images of the training
    split; without a column ``split`` an image without a label belongs to the training split and the
    others are divided by ratio. Unless ``labelled``, a column of labels is not read; with
    ``training_alone``, no image but those of the training split needs one.

    Raises:
        InputError: with the line of the first row at fault.
    """
    needed = ("path", "label") if labelled else ("path",)
    names, rows = _read_table(manifest, needed)
    if not rows:
        raise InputError(f"{manifest}: no rows")
    rows, remarks = _with_labels(manifest, rows)
    rows, changed = _with_paths_of_here(manifest, rows)
    remarks += changed
    _check_there(manifest, rows)
    files = _files(manifest, rows, measured=labelled and not training_alone)
    given = {item.split for item in files}
    if given != {None} and (lacking := {"train", "test"} - given):
        raise InputError(f"{manifest}: no row of the {' and '.join(sorted(lacking))} split")
    if labelled and not any(item.label for item in files):
        raise InputError(f"{manifest}: no row has a label")
    written = {cells["split"] for _, cells in rows if "split" in cells}
    if read := how_read({name: split_of(name) for name in sorted(written)}):
        remarks.append(f"{manifest}: read as splits: {read}")
    # pandas writes its index into a column without a name.
    unread = [name or "(no name)" for name in names if _plain(name) not in (*needed, "split")]
    if unread:
        remarks.append(f"{manifest}: columns that are not read: {', '.join(unread)}")
    return domain_of_files(manifest.stem, files, tuple(remarks), how=how)


def lacks_labels(manifest: Path) -> bool:
    """Whether a manifest has no column of labels; False where it cannot be read.

    Raises:
        InputError: it has none of that name, but one that may be meant.
    """
    try:
        names, _ = _read_table(manifest, ("path",), rows=False)
    except InputError:
        return False  # said when it is loaded
    by_plain = {_plain(name): name for name in names}
    if "label" in by_plain:
        return False
    for column, name in by_plain.items():
        if column not in COLUMNS and get_close_matches(column, LIKE["label"], cutoff=0.75):
            raise InputError(
                f"{manifest}: no column 'label', but '{name}'; rename it to 'label' if it has the "
                "labels; if the images have none, say so: data.target.labelled: false"
            )
    return True


def _with_labels(manifest: Path, rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows with their labels as classes are called, and remarks on how they were read.

    pandas turns whole numbers into floats where one is missing: a column of nothing but numbers,
    one of them with ``.0``, has whole ones; what stands for a missing one there is missing.
    """
    written = {cells.get("label", "") for _, cells in rows} - {""}
    missing = {label for label in written if label.casefold() in MISSING}
    numbers, remarks = written - missing, list[str]()
    if numbers and all(map(_whole, numbers)) and any("." in label for label in numbers):
        index = {label: label.partition(".")[0] for label in numbers}
        remarks.append(f"{manifest}: labels such as {min(numbers)} are read as whole numbers")
    else:
        index = {label: class_name(label) for label in written}
        remarks += [f"{manifest}: {remark}" for remark in changed_names(written)]
        if numbers and missing and not all(map(_whole, numbers)):
            remarks.append(
                f"{manifest}: {', '.join(sorted(missing))} is read as a class; leave the cells of "
                "missing labels empty"
            )
        elif numbers and missing:
            remarks.append(
                f"{manifest}: labels such as {min(missing)} are read as missing, beside numbers"
            )
            index |= dict.fromkeys(missing, "")
    return [
        (where, cells | {"label": index.get(cells["label"], "")} if "label" in cells else cells)
        for where, cells in rows
    ], remarks


def _whole(label: str) -> bool:
    """Whether a label is a whole number, maybe written as a float."""
    whole, _, rest = label.partition(".")
    return whole.removeprefix("-").isdecimal() and not rest.strip("0")


def _with_paths_of_here(manifest: Path, rows: list[Row]) -> tuple[list[Row], list[str]]:
    r"""Return the rows with ``a\b.jpg`` as ``a/b.jpg``, where only that is a file, and a remark."""
    changed, found = list[Row](), list[str]()
    for where, cells in rows:
        path = cells["path"]
        if "\\" in path and not _is_there(manifest.parent / path):
            other = path.replace("\\", "/")
            if _is_there(manifest.parent / other):
                cells = cells | {"path": other}
                found.append(path)
        changed.append((where, cells))
    remark = f"{manifest}: paths such as {min(found, default='')} are read with / for each \\"
    return changed, [remark] if found else []


def _is_there(file: Path) -> bool:
    try:
        return file.is_file() or is_dangling(file)
    except (OSError, ValueError):
        return False


def _check_there(manifest: Path, rows: Sequence[Row]) -> None:
    """Refuse rows whose file is not there; links that lead nowhere are told when they are read."""
    missing = []
    for where, cells in rows:
        if not cells["path"]:
            raise InputError(f"{where}: the path is empty")
        file = manifest.parent / cells["path"]
        if not _is_there(file):
            missing.append(f"{where}: no such file: {file}")
    if len(missing) > 1:
        shown = "".join(f"\n    {line}" for line in missing[1:SHOWN])
        more = f"\n    … {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        missing[0] += (
            f"; of {len(rows)} files {len(missing)} are missing; paths are relative to "
            f"{manifest.parent}:{shown}{more}"
        )
    if missing:
        raise InputError(missing[0])


def _files(manifest: Path, rows: Sequence[Row], measured: bool) -> list[LabelledFile]:
    """Return the image of each row; with ``measured``, those of val and test need labels."""
    files: dict[str, tuple[str, LabelledFile]] = {}
    for where, cells in rows:
        file = manifest.parent / cells["path"]
        if not is_image(file):
            raise InputError(f"{where}: {file.name} is no image ({', '.join(sorted(EXTENSIONS))})")
        label, split = cells.get("label") or None, cells.get("split")
        try:
            meant = None if split is None else split_of(split)
        except InputError as exc:
            raise InputError(f"{where}: {exc}") from None
        if measured and label is None and meant not in (None, "train"):
            raise InputError(f"{where}: an image of the {split} split needs a label")
        first, _ = files.setdefault(
            os.path.realpath(file), (where, LabelledFile(file, label, meant))
        )
        if first != where:
            raise InputError(f"{where}: {file} stands already at {first}")
    return [item for _, item in files.values()]


def _read_table(
    manifest: Path, needed: Sequence[str], rows: bool = True
) -> tuple[Sequence[str], list[Row]]:
    """Return the names of all columns, and the rows with the cells of those that are read.

    Raises:
        InputError: it cannot be read, or lacks a column that is ``needed``.
    """
    kind = manifest.suffix.lower()
    if kind not in (".csv", ".tsv", ".parquet"):
        raise InputError(f"{manifest}: a manifest is a .csv, a .tsv or a .parquet file")
    read = _parquet_table if kind == ".parquet" else _csv_table
    try:
        return read(manifest, needed, rows)
    except OSError as exc:
        raise InputError(f"{manifest}: cannot be read: {exc.strerror or exc}") from None


def _csv_table(
    manifest: Path, needed: Sequence[str], rows: bool
) -> tuple[Sequence[str], list[Row]]:
    found = []
    try:
        text = _decoded(manifest, manifest.read_bytes())
        delimiter = _delimiter(text.partition("\n")[0], needed)
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
        names = list(reader.fieldnames or [])
        columns = _columns(manifest, names, needed)
        for cells in reader if rows else ():
            where = f"{manifest}:{reader.line_num}"
            if None in cells or None in cells.values():
                raise InputError(f"{where}: expected {len(names)} cells")
            found.append((where, {column: cells[name].strip() for column, name in columns}))
    except csv.Error as exc:
        raise InputError(f"{manifest}: not a valid CSV file: {exc}") from None
    return names, found


def _decoded(manifest: Path, content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a mark, as Excel writes it."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and b"\0" in content:
        raise InputError(
            f"{manifest}: not a valid CSV file: it holds zero bytes, as UTF-16 without a mark "
            "does; save it as UTF-8 (iconv -f UTF-16LE -t UTF-8)"
        )
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as exc:
        if utf16:
            raise InputError(f"{manifest}: not a valid CSV file in UTF-16: {exc}") from None
        line = content.count(b"\n", 0, exc.start) + 1
        latin = content.split(b"\n")[line - 1].decode("latin-1").strip()
        raise InputError(
            f"{manifest}:{line}: not in UTF-8: byte 0x{content[exc.start]:02x}, in Latin-1 "
            f"'{latin[:80]}'; save the file as UTF-8 (Excel: CSV UTF-8; iconv -f LATIN1 -t UTF-8)"
        ) from None


def _delimiter(head: str, needed: Sequence[str]) -> str:
    """Return what parts the cells: a comma, or what Excel takes instead of it."""
    for delimiter in ",;\t":
        if set(needed) <= {_plain(name.strip(' "\r')) for name in head.split(delimiter)}:
            return delimiter
    return max(",;\t", key=head.count)


def _parquet_table(
    manifest: Path, needed: Sequence[str], rows: bool
) -> tuple[Sequence[str], list[Row]]:
    """Missing values are empty."""
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(manifest).names
        columns = _columns(manifest, names, needed)
        if not rows:
            return names, []
        table = parquet.read_table(manifest, columns=[name for _, name in columns])
    except pyarrow.ArrowException as exc:
        raise InputError(f"{manifest}: not a valid Parquet file: {exc}") from None
    return names, [
        (f"{manifest}: row {number}", {column: _text(cells[name]) for column, name in columns})
        for number, cells in enumerate(table.to_pylist())
    ]


def _text(value: object) -> str:
    if value is None or value != value:  # NaN, pandas' missing value, is not equal to itself
        return ""
    if isinstance(value, bytes):
        return os.fsdecode(value).strip()
    return str(value).strip()


def _plain(name: str) -> str:
    """Return a column's name as it is compared: a blank or a capital is no other column."""
    return name.strip().casefold()


def _columns(manifest: Path, names: Sequence[str], needed: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns that are read, each with its name in the file."""
    read = (*needed, "split")
    found = [(_plain(name), name) for name in names if _plain(name) in read]
    for column in read:
        own = [name for short, name in found if short == column]
        if len(own) > 1:
            raise InputError(f"{manifest}: {len(own)} columns are '{column}'; leave one of them")
        if not own and column != "split":
            raise InputError(
                f"{manifest}: no column '{column}'; it has {', '.join(names) or 'none'}"
                f"{_remedy(column, names)}"
            )
    return found


def _remedy(column: str, names: Sequence[str]) -> str:
    """Say what to do about a column that a table lacks."""
    if any(is_image(Path(name)) for name in names):
        return "; name the columns in the first line: path,label"
    if len(names) == 1:
        return "; cells are separated by commas, semicolons or tabs"
    meant = [name for name in names if get_close_matches(_plain(name), LIKE[column], cutoff=0.75)]
    return f"; rename '{meant[0]}' to '{column}' if that is what it has" if meant else ""
