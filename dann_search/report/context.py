"""Provide the names that the page's templates use."""

from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.data.domain import NO_LABEL
from dann_search.evaluation.comparison import BASE, parts, stronger
from dann_search.inference.gallery import SMALL
from dann_search.outputs.report import Spent
from dann_search.report import tables, theme
from dann_search.report.content import Content
from dann_search.report.figures.classes import MOST_CLASSES
from dann_search.report.reproduce import reproduction
from dann_search.results.lines import duration


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
        "recipe": tables.recipe(content),
        "leaderboard": tables.leaderboard(content),
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
        "seeds": tables.seeds(content),
        "splits": tables.splits(content),
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
    counted = (
        ("GPU", spent.gpu_hours, spent.gpu_hours_saved),
        ("CPU", spent.cpu_hours, spent.cpu_hours_saved),
    )
    return [(kind, hours, saved) for kind, hours, saved in counted if hours]


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
    for number, name in enumerate(content.info.class_names):
        colour, symbol = theme.class_look(number)
        legend.append((name, theme.SYMBOLS[symbol], f"c{theme.CLASSES.index(colour)}"))
    if (content.inside.target_labels == NO_LABEL).any():
        legend.append(("unlabelled target", theme.SYMBOLS["circle"], "cf"))
    return legend


def _compute(content: Content) -> list[tuple[str, str]]:
    spent = content.search.spent
    counted = [("time searched", duration(spent.hours * 3600))] if spent.hours else []
    counted += [(f"{kind}-hours of trials", f"{hours:.3g}") for kind, hours, _ in _hours(spent)]
    spared = [
        (f"{kind}-hours saved, estimated", f"{saved:.3g}")
        for kind, _, saved in _hours(spent)
        if saved is not None
    ]
    seconds = [epoch["seconds"] for epoch in content.epochs if epoch.get("seconds")]
    if seconds:
        counted.append(("seconds an epoch, best trial", f"{sum(seconds) / len(seconds):.3g}"))
    return [
        *counted,
        ("trials", str(len(content.search.rows))),
        ("epochs trained", str(spent.epochs)),
        ("epochs saved by early stopping", _saved(spent)),
        *spared,
    ]
