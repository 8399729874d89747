"""Read the tables that manifests are: CSV as spreadsheets write it, Parquet as pandas does."""

import codecs
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from dann_search.errors import InputError

Row = tuple[str, dict[str, str]]
"""Where a row stands, for messages, and its cells by column."""


def read_table(
    manifest: Path, needed: Sequence[str], rows: bool = True
) -> tuple[Sequence[str], list[Row]]:
    """Return the names of all columns, and the rows with the cells of those that are read.

    Raises:
        InputError: it cannot be read, or lacks a column that is ``needed``.
    """
    kind = manifest.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{manifest}: a manifest is a .csv or a .parquet file")
    read = _csv_table if kind == ".csv" else _parquet_table
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
        if set(needed) <= {plain(name.strip(' "\r')) for name in head.split(delimiter)}:
            return delimiter
    return ","


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


def plain(name: str) -> str:
    """Return a column's name as it is compared: a blank or a capital is no other column."""
    return name.strip().casefold()


def _columns(manifest: Path, names: Sequence[str], needed: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns that are read, each with its name in the file."""
    read = (*needed, "split")
    found = [(plain(name), name) for name in names if plain(name) in read]
    for column in read:
        own = [name for short, name in found if short == column]
        if len(own) > 1:
            raise InputError(f"{manifest}: {len(own)} columns are '{column}'; leave one of them")
        if not own and column != "split":
            hint = "; cells are separated by commas, semicolons or tabs" * (len(names) == 1)
            raise InputError(
                f"{manifest}: no column '{column}'; it has {', '.join(names) or 'none'}{hint}"
            )
    return found
