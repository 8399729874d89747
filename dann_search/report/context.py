"""Provide the names that the page's templates use: texts, and tables with their sort keys."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.data.domain import NO_LABEL
from dann_search.evaluation.comparison import BASE, parts, stronger
from dann_search.inference.gallery import SMALL
from dann_search.inference.model_card import label_use
from dann_search.outputs.report import Spent
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.classes import MOST_CLASSES
from dann_search.report.figures.plot import number
from dann_search.report.reproduce import reproduction
from dann_search.results.lines import duration
from dann_search.results.rows import TrialRow
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


def context(content: Content) -> dict[str, Any]:
    """Return every name of the templates except plots and assets."""
    inside, status, compared = content.inside, content.status, content.compared
    methods = compared.methods if compared else {}
    base = stronger(BASE, methods) if BASE in methods else BASE
    applies = [set(content.experiment.space) <= set(row.params) for row in content.search.rows]
    return {
        **vars(content),
        "name": content.experiment.name,
        "objective": content.experiment.search.objective,
        "partial": content.partial,
        "trials": status.completed + status.pruned + status.failed + status.running,
        "base": base,
        "gain": methods[base].lead if base in methods else None,
        "parts": parts(methods),
        "intervals": any(one.lead for one in methods.values()),
        "cost": _cost(content.search.spent),
        "choice": _choice(content),
        "recipe": recipe(content),
        "leaderboard": leaderboard(content),
        "how": _how(content),
        "blanks": not all(applies),
        "adversarial": TrialConfig(**content.best.config).adversarial,
        "measured": content.measured,
        "split_name": "test" if content.test else "validation",
        "most_classes": MOST_CLASSES,
        "shift": inside.domains if inside else [],
        "legend": _legend(content),
        "pixels": content.info.image_size <= SMALL,
        "plain_training": inside is not None
        and all(set(one.variants) == {one.original} for one in inside.augmented["source"]),
        "again": reproduction(content.experiment, content.best, status.total),
        "compute": _compute(content),
        "seeds": seeds(content),
        "splits": splits(content),
    }


def _cost(spent: Spent) -> dict[str, str]:
    detail = f"{spent.epochs} epochs; early stopping saved {_saved(spent)}"
    if not (counted := _hours(spent)):
        return {"value": f"{spent.epochs}", "unit": "epochs", "detail": detail}
    kind, hours, saved = counted[0]
    if saved:
        detail += f", an estimated {' '.join(_scaled(kind, saved))}"
    value, unit = _scaled(kind, hours)
    return {"value": value, "unit": unit, "detail": detail}


def _hours(spent: Spent) -> list[tuple[str, float, float | None]]:
    """Return what was counted: GPU or CPU, its hours, and the hours saved."""
    gpu, cpu = spent.gpu_hours, spent.cpu_hours
    counted = [("GPU", gpu, spent.gpu_hours_saved)] if gpu else []
    return counted + ([("CPU", cpu, spent.cpu_hours_saved)] if cpu else [])


def _scaled(kind: str, hours: float) -> tuple[str, str]:
    """Return hours as a number and its unit."""
    value, unit = (hours, "hours") if hours >= 1 else (60 * hours, "minutes")
    return f"{value:.3g}", f"{kind}-{unit}"


def _saved(spent: Spent) -> str:
    share = spent.epochs_saved / max(spent.epochs + spent.epochs_saved, 1)
    return f"{spent.epochs_saved} ({100 * share:.0f}\u202f%)"


def _choice(content: Content) -> str:
    experiment, best = content.experiment, content.best
    of = f"Epoch {best.best_epoch} of trial {best.number}"
    labels = content.info.sizes["target"]["val"]
    if experiment.search.objective == "f1_macro":
        by = f"the highest macro-F1 on {labels} labelled target images"
    else:
        by = f"the highest {experiment.search.objective}, which needs no target label"
    sentences = [f"{of}: {by}."]
    if best.is_confirmed:
        sentences.append(
            f"Trained again with {len(best.confirmed)} new seeds it reached "
            f"{best.confirmed_mean:.3f} on average, the best of all finalists."
        )
    if (confirmation := content.status.confirmation) and not confirmation.is_whole:
        sentences.append(
            f"The confirmation is incomplete, {confirmation.done} of {confirmation.of} trainings: "
            "new seeds do not choose yet, and this trial is the best by the search alone."
        )
    if best.state == "pruned":
        sentences.append("No trial was completed; this one was pruned.")
    return " ".join(sentences)


def _how(content: Content) -> str:
    search = content.experiment.search
    stopping = f"{search.scheduler} stops those early that are behind."
    if search.scheduler == "none":
        stopping = "each has all its epochs."
    return f"{len(content.search.rows)} trials proposed by {search.sampler}; {stopping}"


def _legend(content: Content) -> list[tuple[str, str, str]]:
    """Return label, symbol and style of each class on the planes."""
    if content.inside is None:
        return []
    legend = []
    for label, name in enumerate(content.info.class_names):
        colour, symbol = theme.class_look(label)
        legend.append((name, theme.SYMBOLS[symbol], f"c{theme.CLASSES.index(colour)}"))
    if (content.inside.target_labels == NO_LABEL).any():
        legend.append(("unlabelled target", theme.SYMBOLS["circle"], "cf"))
    return legend


def _compute(content: Content) -> list[tuple[str, str]]:
    spent = content.search.spent
    rows = [("time searched", duration(spent.hours * 3600))] if spent.hours else []
    rows += [(f"{kind}-hours of trials", f"{hours:.3g}") for kind, hours, _ in _hours(spent)]
    if seconds := [epoch["seconds"] for epoch in content.epochs if epoch.get("seconds")]:
        rows.append(("seconds an epoch, best trial", f"{statistics.fmean(seconds):.3g}"))
    rows.append(("trials", str(len(content.search.rows))))
    rows.append(("epochs trained", str(spent.epochs)))
    rows.append(("epochs saved by early stopping", _saved(spent)))
    for kind, _, saved in _hours(spent):
        if saved is not None:
            rows.append((f"{kind}-hours saved, estimated", f"{saved:.3g}"))
    return rows


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
    columns += [_searched(name, rows) for name in content.experiment.space]
    if remarks:
        columns.append(Column("remark", "remark", lambda row: _cell(_remark(row)), numeric=False))
    shown = rows[: MOST_CELLS // len(columns)]
    cells = [(row.state, [column.cell(row) for column in columns]) for row in shown]
    return Table(columns, cells, len(rows) - len(shown))


def _searched(name: str, rows: Sequence[TrialRow]) -> Column:
    values = [row.params[name] for row in rows if name in row.params]
    numeric = bool(values) and all(_is_number(value) for value in values)
    return Column(name, name, lambda row: _cell(row.params.get(name)), numeric)


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
