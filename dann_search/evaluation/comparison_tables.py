"""A comparison for spreadsheets, pages and papers: CSV, Markdown, LaTeX."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from dann_search.evaluation.comparison import JSON, Comparison, shown_p
from dann_search.evaluation.method_scores import ClassScores, Scores
from dann_search.inference.markup import escape_latex, escape_markdown, one_line
from dann_search.storage.atomic_file import write_atomically

METRICS = ("f1_macro", "accuracy", "precision_macro", "recall_macro")
Rows = list[list[str]]
MOST_CLASSES = 40
"""In the tables of Markdown and LaTeX, which are for pages: JSON and CSV hold every class."""


def write_comparison(comparison: Comparison) -> None:
    """Write comparison.json, .csv, .md and .tex, each whole or not at all.

    JSON first: the others are made of what it holds.
    """
    folder = comparison.folder
    paths = []
    for suffix, text in (
        (".json", json.dumps(comparison.to_json(), indent=1)),
        (".csv", to_csv(comparison)),
        (".md", to_markdown(comparison)),
        (".tex", to_latex(comparison)),
    ):
        paths.append((folder.compare / JSON).with_suffix(suffix))
        write_atomically(paths[-1], text.encode())
    folder.publish(*paths)


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a method: means, deviations, interval ends, differences, F1 of every class."""
    return [
        {"method": name, "same_as": scores.same_as, "n_test": comparison.n_test}
        | {"seeds": len(comparison.seeds)}
        | _flat_scores(scores)
        for name, scores in comparison.methods.items()
    ]


def _flat_scores(scores: Scores) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in METRICS:
        value = getattr(scores, name)
        row |= {name: value.mean, f"{name}_sd": value.sd}
    for name in ("f1_macro", "accuracy"):
        interval = getattr(scores, name).ci95
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name in ("f1_macro", "accuracy"):
        gap, key = scores.difference.get(name), f"difference_{name}"
        ends = gap.ci95 if gap else None
        row |= {
            key: gap and gap.mean,
            f"{key}_low": ends and ends.low,
            f"{key}_high": ends and ends.high,
            f"{key}_p": gap and gap.p,
        }
    return row | {f"f1 {one.name}": one.f1.mean for one in scores.per_class}


def to_csv(comparison: Comparison) -> str:
    """``flat_rows``, blank where there is no value."""
    rows = flat_rows(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(comparison: Comparison) -> str:
    """Both tables, the verdict and the notes."""
    main, classes = _main(comparison, escape_markdown), _classes(comparison, escape_markdown)
    notes = [f"- {escape_markdown(note)}" for note in comparison.notes()]
    head = f"Target test, {comparison.n_test} images; {_seeds(comparison)}."
    parts = [head, _pipes(main), escape_markdown(comparison.verdict()) + ".", "\n".join(notes)]
    return "\n\n".join([*parts, f"F1 by class{_shown(comparison)}:", _pipes(classes)]) + "\n"


def to_latex(comparison: Comparison) -> str:
    r"""Both tables as plain tabulars for ``\input``; needs no package."""
    head = [
        f"% Target test, {comparison.n_test} images; {_seeds(comparison)}.",
        *(f"% {one_line(line)}" for line in (comparison.verdict(), *comparison.notes())),
    ]
    main, classes = _main(comparison, escape_latex), _classes(comparison, escape_latex)
    below = f"% F1 by class{_shown(comparison)}"
    return "\n".join([*head, _tabular(main), "", below, _tabular(classes)]) + "\n"


def _seeds(comparison: Comparison) -> str:
    return f"mean ± standard deviation over {len(comparison.seeds)} seeds"


def _main(comparison: Comparison, escape: Callable[[str], str]) -> Rows:
    """A row a method, the head first."""
    head = ["method", "macro-F1", "accuracy", "macro precision", "macro recall"]
    rows = [[*head, f"{comparison.winner} minus it, macro-F1 (95 % interval)", "p"]]
    for name, scores in comparison.methods.items():
        gap = scores.difference.get("f1_macro")
        cells = [str(getattr(scores, metric)) for metric in METRICS]
        rows.append([name, *cells, str(gap) if gap else "", shown_p(gap.p) if gap else ""])
    return [[escape(cell) for cell in row] for row in rows]


def _classes(comparison: Comparison, escape: Callable[[str], str]) -> Rows:
    """F1, a row a class and a column a method; of many classes the lowest, the lowest first."""
    tables = [scores.per_class for scores in comparison.methods.values()]
    classes = list(zip(*tables, strict=True))
    if len(classes) > MOST_CLASSES:
        classes = sorted(classes, key=_mean_f1)[:MOST_CLASSES]
    rows = [["class", "images", *comparison.methods]]
    for same in classes:
        rows.append([same[0].name, str(same[0].n), *(str(one.f1) for one in same)])
    return [[escape(cell) for cell in row] for row in rows]


def _mean_f1(of_methods: tuple[ClassScores, ...]) -> float:
    return sum(one.f1.mean for one in of_methods) / len(of_methods)


def _shown(comparison: Comparison) -> str:
    """Which classes the tables for pages have, where these are not all."""
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
