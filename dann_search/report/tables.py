"""Tables of the page: the text and the sort key of each cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.inference.model_card import label_use
from dann_search.report.content import Content
from dann_search.report.figures.plot import number
from dann_search.results.reader import TrialRow
from dann_search.training.result import F1_MACRO

MOST_CELLS = 20_000
"""Cells of the leaderboard: the best thousand trials of twenty columns."""


@dataclass(frozen=True)
class Cell:
    """The text of a cell and its sort key, which is None for an empty cell."""

    text: str
    key: str | None = None


@dataclass(frozen=True)
class Column:
    """A column's title, its name in filters, and whether it holds numbers."""

    title: str
    name: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Columns, rows with the state of their trial, and the number of rows left out."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]
    left_out: int


def leaderboard(content: Content) -> Table:
    """List every trial with every searched parameter, blank where it does not apply."""
    rows = content.search.rows
    objective = content.experiment.search.objective
    searched = list(content.experiment.space)
    confirmed = any(row.confirmed or row.confirms is not None for row in rows)
    columns = [Column("rank", "rank", True), Column("trial", "trial", True)]
    columns.append(Column("state", "state", False))
    if objective != F1_MACRO:
        columns.append(Column(objective, objective, True))
    labelled = content.info.target_labelled
    if labelled:
        columns.append(Column("F1 val", "f1", True))
    if confirmed:
        columns.append(Column("new seeds", "confirmed", True))
    columns += [Column("epochs", "epochs", True), Column("best epoch", "best_epoch", True)]
    columns += [Column(n, n, _numeric(rows, n)) for n in searched]
    errors = any(row.error or row.origin or row.confirms is not None for row in rows)
    if errors:
        columns.append(Column("remark", "remark", False))
    shown = rows[: MOST_CELLS // len(columns)]
    cells = []
    for rank, row in enumerate(shown, 1):
        line = [_cell(rank), _cell(row.number), _cell(_state(row))]
        line += [_score(row.score)] if objective != F1_MACRO else []
        line += [_score(row.f1_macro_val)] if labelled else []
        line += [_score(row.confirmed_mean, row.confirmed_sd)] if confirmed else []
        line += [_cell(row.epochs), _cell(row.best_epoch)]
        line += [_cell(row.params.get(name)) for name in searched]
        line += [_cell(_remark(row))] if errors else []
        cells.append((row.state, line))
    return Table(columns, cells, len(rows) - len(shown))


def _numeric(rows: Sequence[TrialRow], name: str) -> bool:
    values = [row.params[name] for row in rows if name in row.params]
    return bool(values) and all(_is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("")
    return Cell(number(value), f"{value:.6g}" if _is_number(value) else str(value))


def _score(value: float | None, spread: float | None = None) -> Cell:
    if value is None:
        return Cell("")
    return Cell(f"{value:.3f}" + (f" ± {spread:.3f}" if spread is not None else ""), f"{value:.6g}")


def _state(row: TrialRow) -> str:
    return {"running": "unfinished"}.get(row.state, row.state)


def _remark(row: TrialRow) -> str | None:
    if row.confirms is not None:
        return f"confirms trial {row.confirms}, seed {row.config.get('seed')}"
    return row.error or (None if row.origin in (None, "grid") else row.origin)


def recipe(content: Content) -> list[tuple[str, str, bool, str]]:
    """List the best trial's parameters: name, value, whether it was searched, meaning."""
    fields = TrialConfig.model_fields
    return [
        (name, number(value), name in content.best.params, fields[name].description or "")
        for name, value in content.best.config.items()
        if name in fields
    ]


def splits(content: Content) -> list[tuple[str, str, int, str, str]]:
    """List role, split, images, hash and label use of every split."""
    sizes, hashes = content.info.sizes, content.info.hashes
    oracle = content.experiment.search.objective == F1_MACRO
    used = TrialConfig(**content.best.config).uses_target_labels
    few = content.info.few_labels if used else ()
    return [
        (
            role,
            split,
            count,
            hashes.get(role, {}).get(split, ""),
            label_use(
                role,
                split,
                oracle=oracle,
                target_labelled=content.info.target_labelled,
                few=few,
            ),
        )
        for role, parts in sizes.items()
        for split, count in parts.items()
    ]


def seeds(content: Content) -> list[tuple[str, int]]:
    """List everything that is random, and its seed."""
    experiment = content.experiment
    seeds_of = [
        ("training", int(content.best.config.get("seed", 0))),
        ("search", experiment.search.seed),
        ("splits of the target", experiment.data.splits_of("target").seed),
        ("splits of the source", experiment.data.splits_of("source").seed),
    ]
    compared = content.compared.seeds if content.compared else []
    return seeds_of + [(f"comparison {index}", seed) for index, seed in enumerate(compared, 1)]
