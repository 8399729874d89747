"""Tables of the page: the text and the sort key of each cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.inference.label_use import label_use
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
    """A column's title, its name in filters, its cell of a trial, and whether it holds numbers."""

    title: str
    name: str
    cell: Callable[[TrialRow], Cell]
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Columns, rows with the state of their trial, and the number of rows left out."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]
    left_out: int


def leaderboard(content: Content) -> Table:
    """List every trial with every searched parameter, blank where it does not apply."""
    rows, objective = content.search.rows, content.experiment.search.objective
    ranks = {row.number: rank for rank, row in enumerate(rows, 1)}
    confirmations = any(row.confirmed or row.confirms is not None for row in rows)
    remarks = any(row.error or row.origin or row.confirms is not None for row in rows)
    columns = [
        Column("rank", "rank", lambda row: _cell(ranks[row.number])),
        Column("trial", "trial", lambda row: _cell(row.number)),
        Column(
            "state",
            "state",
            lambda row: _cell(row.state.replace("running", "unfinished")),
            numeric=False,
        ),
    ]
    if objective != F1_MACRO:
        columns.append(Column(objective, objective, lambda row: _score(row.score)))
    if content.info.target_labelled:
        columns.append(Column("F1 val", "f1", lambda row: _score(row.f1_macro_val)))
    if confirmations:
        mean = Column(
            "new seeds", "confirmed", lambda row: _score(row.confirmed_mean, row.confirmed_sd)
        )
        columns.append(mean)
    columns.append(Column("epochs", "epochs", lambda row: _cell(row.epochs)))
    columns.append(Column("best epoch", "best_epoch", lambda row: _cell(row.best_epoch)))
    columns += [
        Column(name, name, lambda row, name=name: _cell(row.params.get(name)), _numeric(rows, name))
        for name in content.experiment.space
    ]
    if remarks:
        columns.append(Column("remark", "remark", lambda row: _cell(_remark(row)), numeric=False))
    shown = rows[: MOST_CELLS // len(columns)]
    cells = [(row.state, [column.cell(row) for column in columns]) for row in shown]
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
    labelled = content.info.target_labelled

    def labels(role: str, split: str) -> str:
        return label_use(role, split, oracle=oracle, target_labelled=labelled, few=few)

    return [
        (role, split, count, hashes.get(role, {}).get(split, ""), labels(role, split))
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
