"""Write the report of an experiment: check, gather, draw, write."""

import importlib.util
import math
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_search.errors import InputError
from dann_search.outputs.base import Output
from dann_search.outputs.report import (
    AllTrialCounts,
    CalibrationOn,
    MeanAndSd,
    OnTest,
    Report,
    Shift,
)
from dann_search.results.reader import open_experiment, use_recorded_extensions
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    from dann_search.report.content import Content


def write_report(
    folder: ExperimentFolder | str | Path,
    out: str | Path | None = None,
    figures: str | Path | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Write one self-contained HTML file about an experiment and its best trial.

    Args:
        folder: the experiment: its folder, or its name under ``runs``.
        out: the file; by default ``report/index.html`` in the experiment's folder, which is
            replaced.
        figures: a folder for the figures as PNG and SVG.
        force: replace an existing ``out`` and existing figures.
        progress: called with a line for each step.

    Raises:
        InputError: no trial has finished, a file is in the way or cannot be written, or what draws
            is not installed.
    """
    experiment = folder if isinstance(folder, ExperimentFolder) else open_experiment(folder)
    use_recorded_extensions(experiment)
    check_installed()
    file = experiment.root / "report" / "index.html"
    if out is None:
        experiment.fetch(file)
    else:
        file = Path(out).expanduser().resolve()
    _check_file(file, force or out is None)
    drawn = Path(figures or "").expanduser().resolve()
    if figures:
        _check_figures(drawn, force)

    from dann_search.report.content import gather
    from dann_search.report.figures.catalog import draw
    from dann_search.report.figures.paper import export
    from dann_search.report.page import render

    content = gather(experiment, progress)
    progress("drawing")
    page = render(content, datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")).encode()
    pictures = export(draw(content)) if figures else {}
    written = {drawn / name: picture for name, picture in pictures.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page)
        for path, picture in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    except OSError as exc:
        raise InputError(f"{exc.filename or file}: cannot be written: {exc.strerror}") from None
    if out is None:
        experiment.publish(file)
    report = summarize(content, file, len(page))
    return report.model_copy(update={"figures": list(map(str, written))})


def check_installed() -> None:
    """Check that what draws a report is there.

    Raises:
        InputError: it is not.
    """
    for name in ("plotly", "jinja2"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name} is missing: pip install 'dann-search[report]'")


def _check_file(file: Path, force: bool) -> None:
    if file.is_dir():
        raise InputError(f"{file}: is a folder; name a file in it: --out {file / 'index.html'}")
    if file.exists() and not force:
        raise InputError(
            f"{file}: exists already; replace it with --force, or name another file with --out"
        )
    _check_parent(file.parent)


def _check_figures(folder: Path, force: bool) -> None:
    from dann_search.report.figures.catalog import FIGURES
    from dann_search.report.figures.paper import KINDS, check_browser

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --figures names a folder")
    names = [f"{name}.{kind}" for name in FIGURES for kind in KINDS]
    there = next((name for name in names if (folder / name).exists()), None)
    if there and not force:
        raise InputError(
            f"{folder}: holds {there} already; replace its figures with --force, or name "
            "another folder"
        )
    _check_parent(folder)
    check_browser()


def _check_parent(folder: Path) -> None:
    """Refuse a folder that cannot be written before spending time on its files."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{folder}: cannot be written: {there} is a file")
    if not os.access(there, os.W_OK):
        raise InputError(f"{folder}: cannot be written: no permission in {there}")


def summarize(content: "Content", file: Path, size: int) -> Report:
    """Return the key numbers of a page of ``size`` bytes that shows ``content`` and lies there."""
    best, inside, measured = content.best, content.inside, content.measured
    test, compared, val = content.test, content.compared, inside.val if inside else None
    assert best.best_epoch is not None  # it was chosen by its score there
    return Report(
        report=str(file),
        bytes=size,
        figures=[],
        experiment=str(content.folder),
        partial=content.partial,
        notes=content.notes,
        trial=best.number,
        epoch=best.best_epoch,
        f1_macro_val=best.f1_macro_val,
        ci95_val=val.ci95.f1_macro if val else None,
        test=OnTest(**_fields(OnTest, test)) if test else None,
        baselines={
            name: MeanAndSd(**_fields(MeanAndSd, one.f1_macro_test))
            for name, one in compared.methods.items()
        }
        if compared
        else None,
        ece=CalibrationOn(split="test" if test else "val", value=measured.ece)
        if measured
        else None,
        domain_shift=[
            Shift(
                network=one.name,
                a_distance=_or_none(one.shift.a_distance),
                mmd2=_or_none(one.shift.mmd2),
            )
            for one in (inside.domains if inside else [])
        ],
        trials=AllTrialCounts(**_fields(AllTrialCounts, content.status)),
        spent=content.search.spent,
    )


def _fields(kind: type[Output], result: Output) -> dict[str, Any]:
    """Return the fields of a result that another kind of result has too."""
    return {name: getattr(result, name) for name in kind.model_fields}


def _or_none(distance: float) -> float | None:
    """Return None for nan: too few images, or features that are all the same."""
    return None if math.isnan(distance) else distance
