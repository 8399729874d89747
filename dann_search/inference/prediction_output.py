"""Write predictions as CSV, JSON, JSON lines or Parquet, to a file or to standard output."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dann_search.errors import InputError
from dann_search.outputs.models import FilePrediction

Write = Callable[[FilePrediction], None]
"""Takes one prediction."""

SUFFIXES = {
    ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
}  # fmt: skip
FORMATS = ("csv", "json", "jsonl", "parquet")
ROW_GROUP = 10_000
"""Rows of a Parquet file that are in memory at once."""


def output_format(out: Path | None, name: str | None) -> str:
    """Return the format asked for, else that of the file's suffix; CSV on standard output.

    Raises:
        InputError: there is no such format, or the suffix names none.
    """
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"--format: expected {', '.join(FORMATS)}, got '{name}'")
        if name == "parquet" and out is None:
            raise InputError("--format parquet: such a file is no text; name it with --out")
        return name
    if out is None:
        return "csv"
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"--out {out}: the suffix names no format; use {', '.join(SUFFIXES)}, or add --format"
        )
    return SUFFIXES[out.suffix.lower()]


def check_out(out: Path | None, force: bool, option: str = "--out") -> None:
    """Check that the file that an option names can be written.

    Raises:
        InputError: the file exists, or its folder does not.
    """
    if out is None:
        return
    if out.is_dir():
        raise InputError(f"{option} {out}: is a folder; name a file in it")
    if out.exists() and not force:
        raise InputError(f"{option} {out}: exists; choose another name, or replace it with --force")
    if not out.parent.is_dir():
        raise InputError(f"{option} {out}: there is no folder {out.parent}")


@contextmanager
def writer(
    out: Path | None,
    format_: str,
    top: int,
    collected: list[FilePrediction] | None = None,
    refusing: bool = False,
) -> Iterator[Write]:
    """Yield a function that writes one prediction.

    Args:
        out: the file, which appears once the block has ended without an error; None for standard
            output.
        format_: one of ``FORMATS``.
        top: classes per prediction.
        collected: a list to append the predictions to, instead of writing any file.
        refusing: whether tables have a column that says which labels are refused.

    Raises:
        InputError: the file cannot be written.
    """
    if collected is not None:
        yield collected.append
    elif out is None:
        with _row_writer(sys.stdout, format_, top, refusing) as write:
            yield write
    else:
        temporary = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            if format_ == "parquet":
                with _parquet_writer(temporary, top, refusing) as write:
                    yield write
            else:
                with (
                    open(temporary, "w", encoding="utf-8", newline="") as file,
                    _row_writer(file, format_, top, refusing) as write,
                ):
                    yield write
            os.replace(temporary, out)
        except OSError as exc:
            raise InputError(f"--out {out}: cannot be written: {exc.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _row_writer(file: TextIO, format_: str, top: int, refusing: bool) -> Iterator[Write]:
    rows = csv.writer(file, lineterminator="\n")
    # Not before the first row: bad input must leave nothing on standard output.
    heads = iter([_columns(top, refusing)])
    before = iter(["[\n"])

    def write(prediction: FilePrediction) -> None:
        if format_ == "csv":
            rows.writerows(heads)
            cells = _cells(prediction, top, refusing)
            rows.writerow([f"{one:.6g}" if type(one) is float else one for one in cells])
            return
        sign = next(before, ",\n") if format_ == "json" else ""
        end = "" if format_ == "json" else "\n"
        print(f"{sign}{json.dumps(prediction.model_dump())}", end=end, file=file)

    yield write
    if format_ == "json":
        print(next(before, "") + "\n]", file=file)


@contextmanager
def _parquet_writer(file: Path, top: int, refusing: bool) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = {"probability": pa.float64(), "refused": pa.bool_()}
    columns = _columns(top, refusing)
    schema = pa.schema([(name, kinds.get(name.split("_")[0], pa.string())) for name in columns])
    rows: list[dict[str, Any]] = []
    with ParquetWriter(file, schema) as table:

        def flush() -> None:
            table.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def write(prediction: FilePrediction) -> None:
            rows.append(dict(zip(columns, _cells(prediction, top, refusing), strict=True)))
            if len(rows) == ROW_GROUP:
                flush()

        yield write
        flush()


def _columns(top: int, refusing: bool) -> list[str]:
    others = [name for n in range(2, top + 1) for name in (f"label_{n}", f"probability_{n}")]
    return ["path", "label", "probability", *others, "error", *["refused"] * refusing]


def _cells(prediction: FilePrediction, top: int, refusing: bool) -> list[str | float | None]:
    cells: list[str | float | None] = [prediction.path]
    for one in prediction.top:
        cells += [one.label, one.probability]
    cells += [None] * (1 + 2 * top - len(cells))
    return [*cells, prediction.error, *[prediction.refused] * refusing]
