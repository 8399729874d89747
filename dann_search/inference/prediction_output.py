"""Write predictions as CSV or JSON lines, to a file or to standard output."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dann_search.errors import InputError
from dann_search.outputs.models import FilePrediction

Write = Callable[[FilePrediction], None]
"""Takes one prediction."""

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
FORMATS = ("csv", "jsonl")


def output_format(out: Path | None, name: str | None) -> str:
    """Return the format asked for, else that of the file's suffix; CSV on standard output.

    Raises:
        InputError: there is no such format, or the suffix names none.
    """
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"--format: expected csv or jsonl, got '{name}'")
        return name
    if out is None:
        return "csv"
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"--out {out}: the suffix names no format; use .csv or .jsonl, or add --format"
        )
    return SUFFIXES[out.suffix.lower()]


def check_out(out: Path | None, force: bool) -> None:
    """Check that the file can be written.

    Raises:
        InputError: the file exists, or its folder does not.
    """
    if out is None:
        return
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file in it")
    if out.exists() and not force:
        raise InputError(f"--out {out}: exists; choose another name, or replace it with --force")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")


@contextmanager
def writer(
    out: Path | None, format_: str, top: int, collected: list[FilePrediction] | None = None
) -> Iterator[Write]:
    """Yield a function that writes one prediction.

    Args:
        out: the file, which appears once the block has ended without an error; None for standard
            output.
        format_: csv or jsonl.
        top: classes per prediction.
        collected: a list to append the predictions to, instead of writing any file.

    Raises:
        InputError: the file cannot be written.
    """
    if collected is not None:
        yield collected.append
    elif out is None:
        yield _row_writer(sys.stdout, format_, top)
    else:
        temporary = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                yield _row_writer(file, format_, top)
            os.replace(temporary, out)
        except OSError as exc:
            raise InputError(f"--out {out}: cannot be written: {exc.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)


def _row_writer(file: TextIO, format_: str, top: int) -> Write:
    if format_ == "jsonl":
        return lambda prediction: print(json.dumps(prediction.model_dump()), file=file)
    rows = csv.writer(file, lineterminator="\n")
    others = [name for n in range(2, top + 1) for name in (f"label_{n}", f"probability_{n}")]
    heads = iter([["path", "label", "probability", *others, "error"]])

    def write(prediction: FilePrediction) -> None:
        # Not before the first row: bad input must leave nothing on standard output.
        rows.writerows(heads)
        cells: list[str] = []
        for one in prediction.top:
            cells += [one.label, f"{one.probability:.6g}"]
        cells += [""] * (2 * top - len(cells))
        rows.writerow([prediction.path, *cells, prediction.error or ""])

    return write
