"""The images that a model classifies wrongly: a page of the most confident, a table of all."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.errors import InputError, printable
from dann_search.evaluation.evaluation_set import EvaluationSet
from dann_search.inference.gallery import Card, data_uri, write_gallery
from dann_search.inference.markup import for_sheet
from dann_search.storage.atomic_file import write_atomically

PAGE, TABLE = "errors.html", "errors.csv"
PICTURED = 500
"""Images on the page: 2 MB, and more than anyone looks through."""
COLUMNS = ("image", "true", "predicted", "confidence", "probability_of_true")


def check_errors_folder(folder: str | Path) -> Path:
    """Make the folder, before anything expensive; return its path.

    Raises:
        InputError: it cannot be made.
    """
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InputError(f"--errors {path}: cannot be made: {exc.strerror}") from None
    return path


def write_mistakes(
    folder: Path,
    tested: EvaluationSet,
    probabilities: NDArray[np.float64],
    class_names: Sequence[str],
) -> str:
    """Write errors.html and errors.csv, the most confident mistakes first; return a remark.

    Args:
        folder: exists.
        tested: n images; those on the page are read once more.
        probabilities: shape (n, classes).
        class_names: one a column of ``probabilities``.

    Raises:
        InputError: a file cannot be written.
    """
    labels, predicted, sure = tested.labels, probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-sure[wrong], kind="stable")]
    rows = [
        (tested.places[n], class_names[labels[n]], class_names[predicted[n]], sure[n],
         probabilities[n, labels[n]])
        for n in map(int, order)
    ]  # fmt: skip
    _write_table(folder / TABLE, rows)
    cards = [
        Card(
            data_uri(tested.read(int(number))),
            f"{true} → {guess}",
            (f"{sure:.1%}; {true}: {chance:.1%}", place),
        )
        for number, (place, true, guess, sure, chance) in zip(order[:PICTURED], rows, strict=False)
    ]
    count = f"{len(order):,} of {len(labels):,} images are predicted wrongly"
    lead = [
        f"{count}; {len(cards):,} are shown, the most confident first: true class → predicted "
        "class, the confidence in the prediction, the probability of the true class, and the "
        f"image. {TABLE} lists all."
    ]
    write_gallery(folder / PAGE, "Wrong predictions", lead, [("", cards)])
    return f"{count}: {folder / PAGE} shows {len(cards):,}, {folder / TABLE} lists all"


def _write_table(file: Path, rows: Sequence[tuple[str, str, str, float, float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for *names, confidence, chance in rows:
        cells = [for_sheet(printable(str(name))) for name in names]
        writer.writerow([*cells, f"{confidence:.6g}", f"{chance:.6g}"])
    try:
        write_atomically(file, text.getvalue().encode())
    except OSError as exc:
        raise InputError(f"{file}: cannot be written: {exc.strerror}") from None
