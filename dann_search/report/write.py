"""The report of an experiment: check, gather, draw, write."""

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.errors import InputError
from dann_search.results.reader import open_experiment
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    from dann_search.report.content import Content

NEEDED = ("plotly", "jinja2")


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        file: the page.
        bytes: its size.
        figures: files for a paper, where they were asked for.
        numbers: the key numbers it shows, as ``report --json`` prints them.
    """

    file: Path
    bytes: int
    figures: list[Path] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As ``report --json`` prints it."""
        return {
            "report": str(self.file),
            "bytes": self.bytes,
            "figures": [str(path) for path in self.figures],
            **self.numbers,
        }

    def render(self) -> Group:
        """What people read on the terminal."""
        file = Text(str(self.file), no_wrap=True, overflow="ignore")
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("size", f"{self.bytes / 1e6:.1f} MB")
        if self.figures:
            folder = self.figures[0].parent
            table.add_row("figures", f"{len(self.figures)} files in {folder}")
        table.add_row("best", f"trial {self.numbers['trial']}")
        table.add_row("macro-F1, target val", f"{self.numbers['f1_macro_val']:.3f}")
        if test := self.numbers["test"]:
            low, high = test["ci95"]["f1_macro"]
            text = f"{test['f1_macro']:.3f}, 95 % interval {low:.3f} to {high:.3f}"
            table.add_row("macro-F1, target test", text)
        notes = [Text(f"note: {note}", overflow="fold") for note in self.numbers["notes"]]
        return Group(file, table, *notes)


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
        out: the file; ``report/index.html`` in the experiment's folder by default.
        figures: a folder for the figures as PNG and SVG.
        force: replace what is there.
        progress: told what is being done, a line each.

    Raises:
        InputError: no trial has finished, a file is in the way or cannot be written, or what draws
            is not installed.
    """
    found = folder if isinstance(folder, ExperimentFolder) else open_experiment(folder)
    _check_installed()
    file = found.root / "report" / "index.html"
    if out is None:
        found.fetch(file)
    else:
        file = Path(out).expanduser().resolve()
    _check_file(file, force)
    drawn = Path(figures).expanduser().resolve() if figures else None
    if drawn:
        _check_figures(drawn, force)

    from dann_search.report.content import gather
    from dann_search.report.figures.catalog import draw
    from dann_search.report.figures.paper import export
    from dann_search.report.page import render

    content = gather(found, progress)
    progress("drawing")
    page = render(content, datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")).encode()
    pictures = export(draw(content)) if drawn else {}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page)
        written = [drawn / name for name in pictures] if drawn else []
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pictures[path.name])
    except OSError as exc:
        raise InputError(f"{exc.filename or file}: cannot be written: {exc.strerror}") from None
    if out is None:
        found.publish(file)
    return Report(file, len(page), written, _numbers(content))


def _check_installed() -> None:
    for name in NEEDED:
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


def _check_parent(folder: Path) -> None:
    """Refuse a folder that cannot be written, before time is spent on what is to lie in it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{folder}: cannot be written: {there} is a file")
    if not os.access(there, os.W_OK):
        raise InputError(f"{folder}: cannot be written: no permission in {there}")


def _check_figures(folder: Path, force: bool) -> None:
    from dann_search.report.figures.catalog import FIGURES
    from dann_search.report.figures.paper import KINDS, check_browser

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --figures names a folder")
    there = [f"{name}.{kind}" for name in FIGURES for kind in KINDS]
    there = [name for name in there if (folder / name).exists()]
    if there and not force:
        raise InputError(
            f"{folder}: holds {there[0]} already; replace its figures with --force, or name "
            "another folder"
        )
    _check_parent(folder)
    check_browser()


def _numbers(content: "Content") -> dict[str, Any]:
    """What the page's headline says."""
    inside, compared, spent = content.inside, content.compared, content.search.spent
    calibration = content.calibration
    return {
        "experiment": str(content.folder),
        "partial": content.partial,
        "notes": content.notes,
        "trial": content.best.number,
        "epoch": content.best.best_epoch,
        "f1_macro_val": content.best.f1_macro_val,
        "ci95_val": list(inside.val.ci95["f1_macro"]) if inside else None,
        "test": content.test and content.test.model_dump(
            include={"n", "accuracy", "precision_macro", "recall_macro", "f1_macro", "ci95"}
        ),
        "baselines": compared and {
            name: {"mean": one.f1_macro_test.mean, "sd": one.f1_macro_test.sd}
            for name, one in compared.methods.items()
        },
        "ece": calibration and {"split": calibration.split, "value": calibration.ece},
        "domain_shift": [
            {
                "network": one.name,
                "a_distance": _or_null(one.shift.a_distance),
                "mmd2": _or_null(one.shift.mmd2),
            }
            for one in inside.domains
        ] if inside else [],
        "trials": {
            "completed": content.status.completed,
            "pruned": content.status.pruned,
            "failed": content.status.failed,
            "running": content.status.unfinished,
        },
        "spent": {
            "hours": spent.hours,
            "cpu_hours": spent.cpu_hours,
            "gpu_hours": spent.gpu_hours,
            "epochs": spent.epochs,
            "epochs_saved": spent.saved,
            "cpu_hours_saved": spent.cpu_hours_saved,
            "gpu_hours_saved": spent.gpu_hours_saved,
        },
    }  # fmt: skip


def _or_null(distance: float) -> float | None:
    """Of too few images, or of features that are all the same, there is none."""
    return None if math.isnan(distance) else distance
