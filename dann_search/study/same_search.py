"""A resumed search must be the one that was begun: what may differ, and what is said otherwise."""

import hashlib
from typing import Any

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.source import KeyPath, SettingError
from dann_search.config.space import Space

RANGES = ("uniform", "loguniform", "int")


def what_is_searched(experiment: ExperimentConfig, space: Space) -> dict[str, dict[str, Any]]:
    """All that makes values of two trials comparable, as JSON holds it."""
    return {
        "search": {"objective": experiment.search.objective},
        "training": space.fixed.model_dump(mode="json"),
        "space": {
            name: parameter.model_dump(mode="json", exclude_defaults=True)
            for name, parameter in space.parameters.items()
        },
        "weights": {
            backbone: _weights(experiment.weights[backbone])
            for backbone in space.backbones
            if backbone in experiment.weights
        },
    }


def _weights(entry: WeightsFile) -> dict[str, Any]:
    """Return what identifies a file's content, wherever it lies."""
    with open(entry.file, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    normalization = entry.model_dump(mode="json", include={"mean", "std"}, exclude_none=True)
    return {"sha256": digest[:16], **normalization}


def check_same(
    before: dict[str, dict[str, Any]],
    now: dict[str, dict[str, Any]],
    allow_wider: bool,
) -> None:
    """Refuse to go on with another search.

    Raises:
        SettingError: at the first difference, with all of them; those that ``allow_wider`` would
            let pass are said to be.
    """
    differences: list[str] = []
    first: KeyPath = ()
    all_wider = True
    for section in ("search", "training", "space", "weights"):
        if section not in before:  # an older version did not note it
            continue
        old, new = before.get(section, {}), now.get(section, {})
        for name in [*old, *(name for name in new if name not in old)]:
            if old.get(name) == new.get(name):
                continue
            # A field that an older version of this program did not know has its default.
            if section == "training" and name not in old:
                continue
            was, is_now = _shown(old.get(name)), _shown(new.get(name))
            differences.append(f"{section}.{name} was {was}, is {is_now}")
            first = first or (section, name)
            all_wider &= section == "space" and _grew(old.get(name), new.get(name))
    if not differences or (allow_wider and all_wider):
        return
    remedy = "undo that, or launch it under another name (search.warm_start learns from this one)"
    if all_wider:
        remedy = "ranges that only grew are accepted with --allow-wider-space"
    text = "; ".join(differences)
    raise SettingError(first, f"not the search that was begun: {text}; {remedy}")


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)


def _grew(old: Any, new: Any) -> bool:
    """Whether a range has become wider and is otherwise the same.

    Choices cannot grow: to a study a choice of three and one of four are different parameters.
    """
    if not (isinstance(old, dict) and isinstance(new, dict)) or old.keys() != new.keys():
        return False
    kind = next((one for one in RANGES if one in old), None)
    if kind is None or any(old[k] != new[k] for k in old if k not in (kind, "per_backbone")):
        return False
    before = {"": old[kind], **old.get("per_backbone", {})}
    now = {"": new[kind], **new.get("per_backbone", {})}
    step = old.get("step")
    return before.keys() == now.keys() and all(
        now[name][0] <= low
        and high <= now[name][1]
        and (step is None or _meets(low - now[name][0], step))
        for name, (low, high) in before.items()
    )


def _meets(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < 1e-6
