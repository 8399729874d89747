"""Write a comparison for programs, spreadsheets, pages and papers: JSON, CSV, Markdown, LaTeX.

pandas could write the tables too, but its ``to_markdown`` needs tabulate, its ``to_latex`` needs
Jinja, and neither escapes a row that begins with ``[``.
"""

import json
from collections.abc import Callable

from dann_search.evaluation.comparison import notes
from dann_search.inference.markup import escape_latex, escape_markdown, one_line
from dann_search.outputs.comparison import Comparison
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder

JSON = "comparison.json"
Rows = list[list[str]]
MOST_CLASSES = 40
"""Classes in the tables of Markdown and LaTeX, which are for pages; JSON and CSV hold them all."""


def write_comparison(comparison: Comparison, folder: ExperimentFolder) -> None:
    """Write comparison.json, .csv, .md and .tex, each whole or not at all.

    JSON comes first, because it holds all that the others show.
    """
    paths = []
    for suffix, text in (
        (".json", json.dumps(comparison.model_dump(mode="json"), indent=1)),
        (".csv", to_csv(comparison)),
        (".md", to_markdown(comparison)),
        (".tex", to_latex(comparison)),
    ):
        paths.append((folder.compare / JSON).with_suffix(suffix))
        write_atomically(paths[-1], text.encode())
    folder.publish(*paths)


def to_csv(comparison: Comparison) -> str:
    """Return a row for each method; a cell is blank where there is no value."""
    text: str = comparison.to_frame().to_csv(lineterminator="\n")
    return text


def to_markdown(comparison: Comparison) -> str:
    """Return both tables, the verdict and the notes."""
    main, classes = _main(comparison, escape_markdown), _classes(comparison, escape_markdown)
    lines = [f"- {escape_markdown(note)}" for note in notes(comparison)]
    head, verdict = f"{_head(comparison)}.", f"{escape_markdown(comparison.verdict)}."
    parts = [head, _pipes(main), verdict, "\n".join(lines)]
    return "\n\n".join([*parts, f"F1 by class{_shown(comparison)}:", _pipes(classes)]) + "\n"


def to_latex(comparison: Comparison) -> str:
    r"""Return both tables as plain tabulars for ``\input``, which need no package."""
    lines = (f"{_head(comparison)}.", comparison.verdict, *notes(comparison))
    main, classes = _main(comparison, escape_latex), _classes(comparison, escape_latex)
    below = f"% F1 by class{_shown(comparison)}"
    comments = [f"% {one_line(line)}" for line in lines]
    return "\n".join([*comments, _tabular(main), "", below, _tabular(classes)]) + "\n"


def _head(comparison: Comparison) -> str:
    seeds = len(comparison.seeds)
    images = f"Target test, {comparison.n_test} images"
    return f"{images}; mean ± standard deviation over {seeds} seeds"


def _main(comparison: Comparison, escape: Callable[[str], str]) -> Rows:
    """Return a row for each method, the head first."""
    head = ["method", "macro-F1", "accuracy", "macro precision", "macro recall"]
    rows = [[*head, f"{comparison.winner} minus it, macro-F1 (95 % interval)", "p"]]
    for name, one in comparison.methods.items():
        scores = (one.f1_macro_test, one.accuracy_test, one.precision_macro_test)
        lead = [str(one.lead), f"{one.lead.p_value:.3f}"] if one.lead else ["", ""]
        rows.append([name, *map(str, scores), str(one.recall_macro_test), *lead])
    return [[escape(cell) for cell in row] for row in rows]


def _classes(comparison: Comparison, escape: Callable[[str], str]) -> Rows:
    """Return F1 with a row for each class and a column for each method.

    Of many classes only the lowest are shown, the lowest first.
    """
    classes = list(zip(*(one.per_class for one in comparison.methods.values()), strict=True))
    if len(classes) > MOST_CLASSES:
        classes = sorted(classes, key=lambda same: sum(one.f1 for one in same))[:MOST_CLASSES]
    rows = [["class", "images", *comparison.methods]]
    for same in classes:
        rows.append(
            [same[0].name, str(same[0].n), *(f"{one.f1:.3f} ± {one.f1_sd:.3f}" for one in same)]
        )
    return [[escape(cell) for cell in row] for row in rows]


def _shown(comparison: Comparison) -> str:
    """Say which classes the tables for pages show, if not all."""
    count = len(next(iter(comparison.methods.values())).per_class)
    if count <= MOST_CLASSES:
        return ""
    return (
        f" (the {MOST_CLASSES} of {count} classes with the lowest F1 over all methods; all are in "
        "comparison.csv and comparison.json)"
    )


def _pipes(rows: Rows) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _tabular(rows: Rows) -> str:
    lines = [" & ".join(row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])
