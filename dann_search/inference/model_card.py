"""The card of a model: its use, its data, its metrics and its limits."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dann_search.config.extensions import METHODS
from dann_search.inference.markup import escape_markdown
from dann_search.training.result import F1_MACRO

SHOWN_CLASSES, WEAKEST = 30, 3
METRICS = ("f1_macro", "accuracy", "precision_macro", "recall_macro")

LOADING = """\
Needs dann-search.

```python
from dann_search import load_model

model = load_model("THIS_FOLDER")
for prediction in model.predict(["photo.jpg"]):
    print(prediction.label, prediction.probability)
```
"""


def loading_of(record: dict[str, Any]) -> str:
    """Return the card's text on how to load a model that is not exported."""
    if not record.get("extensions"):
        return LOADING
    call = 'load_model("THIS_FOLDER"'
    files = ", ".join(escape_markdown(f"extensions/{name}") for name in record["extensions"])
    return LOADING.replace(f"{call})", f"{call}, trust_extensions=True)") + (
        f"\nLoading executes Python code that comes with the model: {files}.\n"
    )


def model_card(record: dict[str, Any], evaluation: dict[str, Any] | None, loading: str) -> str:
    """Return a README.md in Markdown.

    Args:
        record: the content of model.json.
        evaluation: the content of evaluation.json, if the model was evaluated on the target's test
            split. One from before the model was calibrated is not shown.
        loading: the text on how to load the files beside the card.
    """
    outdated = evaluation is not None and not is_current(evaluation, record)
    evaluation = None if outdated else evaluation
    experiment, backbone = map(escape_markdown, (record["experiment"], record["backbone"]))
    sections = {
        f"{experiment}: {backbone}, {record['config']['method']}": _about(record),
        "Intended use": _use(record),
        "Data": "\n".join(_data(record)),
        "Metrics": "\n".join(_metrics(record, evaluation, outdated)),
        "Limits": "\n".join(f"- {line}" for line in _limits(record, evaluation)),
        "Loading": loading.strip(),
        "Recipe": _recipe(record),
        "Licence": "Unknown. It depends on the licences of the images and of the pre-trained "
        "weights; whoever publishes this model has to state it.",
    }
    titles = [f"{'#' if number == 0 else '##'} {title}" for number, title in enumerate(sections)]
    texts = zip(titles, sections.values(), strict=True)
    return "\n\n".join(f"{title}\n\n{text}" for title, text in texts) + "\n"


def _domains(record: dict[str, Any]) -> dict[str, str]:
    """Return the names of both domains, escaped for Markdown."""
    return {role: escape_markdown(name) for role, name in record["domains"].items()}


def is_current(evaluation: dict[str, Any], record: dict[str, Any]) -> bool:
    """Return whether an evaluation is of the model at its present temperature."""
    return bool(evaluation.get("temperature", 1.0) == record.get("temperature", 1.0))


def _about(record: dict[str, Any]) -> str:
    domains, method = _domains(record), record["config"]["method"]
    spec = METHODS.get(method)  # None where the package that brought it is not installed here
    adapted = "trained on" if spec and not spec.adapts else "adapted from"
    ways = "" if adapted == "trained on" else f" to {domains['target']}"
    if not ways and record["data"].get("few_labels"):
        ways = f" and labelled images of {domains['target']}"
    return (
        f"An image classifier of {len(record['class_names'])} classes, {adapted} "
        f"{domains['source']}{ways}, made by dann-search {record['versions']['dann-search']}."
    )


def _use(record: dict[str, Any]) -> str:
    names = record["class_names"]
    shown = ", ".join(map(escape_markdown, names[:SHOWN_CLASSES]))
    more = f", … ({len(names)} in all, listed in model.json)" if len(names) > SHOWN_CLASSES else ""
    return (
        f"Tells which of its classes an RGB image like those of {_domains(record)['target']} "
        f"shows: {shown}{more}."
    )


def _data(record: dict[str, Any]) -> Iterator[str]:
    data, domains = record["data"], _domains(record)
    used = partial(
        label_use,
        oracle=_chosen_by_labels(record),
        refit="refit" in record,
        calibrated=record.get("temperature", 1.0) != 1.0,
        target_labelled=_has_target_labels(record),
        few=data.get("few_labels", ()),
    )
    yield "| domain | split | images | labels | hash |"
    yield "|---|---|---|---|---|"
    for role in ("source", "target"):
        for split, count in data["sizes"][role].items():
            digest = data["hashes"][role][split][:12]
            labels = used(role, split)
            yield f"| {domains[role]} ({role}) | {split} | {count:,} | {labels} | `{digest}` |"


def _has_target_labels(record: dict[str, Any]) -> bool:
    return bool(record["data"].get("target_labelled", True))


def _chosen_by_labels(record: dict[str, Any]) -> bool:
    """Return whether the target's validation labels chose the epoch or the trial."""
    chosen = record.get("chosen_by", {}).get("objective", record["objective"])
    return F1_MACRO in (chosen, record["objective"])


def _metrics(
    record: dict[str, Any], evaluation: dict[str, Any] | None, outdated: bool
) -> Iterator[str]:
    if not _has_target_labels(record):
        chosen = record["chosen_by"]
        lacks = "no other labels" if record["data"].get("few_labels") else "no labels"
        yield (
            f"None: the target has {lacks}, so nothing was measured on it. The model was chosen "
            f"by {chosen['objective']} ({chosen['value']:.4g}), which needs none and is no share "
            "of right answers. Measure it on labelled images: `dann-search evaluate --data FOLDER`."
        )
        return
    yield "On the target domain, with 95 % intervals over its images.\n"
    yield "| split | images | macro-F1 | accuracy | macro precision | macro recall |"
    yield "|---|---|---|---|---|---|"
    ends = record.get("validation_ci95", {})
    cells = [_with_interval(record["validation"][f"{m}_val"], ends.get(m)) for m in METRICS]
    yield f"| val | {record['data']['sizes']['target']['val']:,} | {' | '.join(cells)} |"
    if evaluation:
        cells = [_with_interval(evaluation[m], evaluation["ci95"].get(m)) for m in METRICS]
        yield f"| test | {evaluation['n']:,} | {' | '.join(cells)} |"
    yield ""
    if "refit" in record:
        yield (
            "The row val is of the model that the search chose, before it was trained again on "
            "training and validation images together: this one has seen them."
        )
    elif _chosen_by_labels(record):
        yield "The model was chosen among others by its row val, which therefore flatters it."
    else:
        yield "The model was chosen by a score that needs no target label; these only measured it."
    if outdated:
        yield "It was calibrated since it was evaluated on the test split: `dann-search evaluate`."
    elif not evaluation:
        yield "It was not evaluated on the test split yet: `dann-search evaluate`."
    elif "ece" in evaluation:
        error, temperature = evaluation["ece"], evaluation["temperature"]
        yield (
            f"Expected calibration error on test: {error:.3f}, at temperature {temperature:.2f}."
        )


def _with_interval(value: float, ends: list[float] | None) -> str:
    return f"{value:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def _limits(record: dict[str, Any], evaluation: dict[str, Any] | None) -> Iterator[str]:
    target, sizes = _domains(record)["target"], record["preprocessing"]
    if _has_target_labels(record):
        yield (
            f"Measured on images of {target} alone; on others it may do worse, and will not say so."
        )
    else:
        lacks = "no labels to measure by" if record["data"].get("few_labels") else "no labels"
        yield f"Not measured on any image of {target}, which has {lacks}."
    yield "Every image gets one of the classes, also one that shows none of them."
    side, crop = sizes["image_size"], sizes.get("crop_size")
    square = f"{sizes['stored_size']} x {sizes['stored_size']}, of it the centre {side} x {side}"
    yield (
        f"It sees the centre square of an image at {square if crop else f'{side} x {side}'} pixels."
    )
    if record.get("temperature", 1.0) == 1.0 and _has_target_labels(record):
        yield "Its probabilities are not calibrated: `dann-search evaluate --calibrated`."
    if _has_target_labels(record):
        yield (
            "Intervals say how much depends on which images were drawn, not on the training's seed."
        )
    if evaluation:
        worst = sorted((c for c in evaluation["per_class"] if c["n"]), key=lambda c: c["f1"])
        shown = ", ".join(
            f"{escape_markdown(c['class'])} (F1 {c['f1']:.2f}, {c['n']})" for c in worst[:WEAKEST]
        )
        yield f"Weakest classes on test, with their images: {shown}."


def _recipe(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    text = (
        f"Trial {record['trial']} of experiment {escape_markdown(record['experiment'])}, "
        f"epoch {record['epoch']}, seed {record['seeds']['training']}; "
        f"splits of seed {record['seeds']['splits']}."
    )
    if refit := record.get("refit"):
        text += f" Trained again for {refit['epochs']} epochs on {', '.join(refit['trained_on'])}."
    if values := [f"{escape_markdown(n)} {_number(v)}" for n, v in record["searched"].items()]:
        text += f" Searched: {', '.join(values)}."
    return f"{text} The whole recipe is in model.json. Versions: {versions}."


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else escape_markdown(str(value))


def of_each(counts: Sequence[int]) -> str:
    """Say how many labelled images there are of each class."""
    low, high = min(counts), max(counts)
    return f"{low} a class" if low == high else f"{low} to {high} a class"


def label_use(
    role: str,
    split: str,
    *,
    oracle: bool,
    refit: bool = False,
    calibrated: bool = False,
    target_labelled: bool = True,
    few: Sequence[int] = (),
) -> str:
    """Say what labels of a split were used for, in one wording for the card and the report.

    ``oracle``: labels of the target's validation split chose the epoch or the trial. ``few``:
    labelled training images of the target that were trained on, by class.
    """
    if (role, split) == ("target", "train") and few:
        return f"{sum(few)} trained on ({of_each(few)}), the others never read"
    if role == "target" and not target_labelled:
        return "none"
    if role == "source":
        scored = "only read by scores that need no target label"
        return {"train": "trained on", "val": "trained on" if refit else scored}.get(
            split, "not used"
        )
    if split == "train":
        return "never read"
    if split == "test":
        return "only read by evaluate and compare"
    chose = "chose the model" if oracle else "only measured it"
    return f"{chose} and set its temperature" if calibrated else chose
