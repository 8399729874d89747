"""What labels of each split were used for, in one wording for a model's card and the report."""

from collections.abc import Sequence


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
    """Say what labels of a split were used for.

    Args:
        role: source or target.
        split: train, val or test.
        oracle: whether labels of the target's validation split chose the epoch or the trial.
        refit: whether the model was trained again, on training and validation images.
        calibrated: whether it has a temperature.
        target_labelled: whether the target has labels.
        few: labelled training images of the target that were trained on, by class.
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
