"""What each method brings on six transfers, the lower stages frozen and their output kept.

    python benchmarks/transfers.py --data FOLDER [--seeds 5] [--methods source_only,adabn,…]

FOLDER holds office_caltech_10.tar, digits_subset.tar and efficientnet_lite0.timm.safetensors. Each
transfer is a search of one trial and a comparison, as ``launch`` and ``compare`` run them: the best
epoch by macro-F1 on the target's validation labels, scored on its test split. Printed are means and
deviations over seeds, their average over the transfers, and each method minus adabn on average.
"""

import argparse
import statistics
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from accuracy import (
    BACKBONE,
    DIGITS_AUGMENTATION,
    OFFICE_AUGMENTATION,
    RECIPE,
    TRANSFERS,
    WEIGHTS,
)

import dann_search

METHODS = "source_only,adabn,lambda_0,dann,cdan_e,mcc,mdd,target_supervised"
CHANGED: dict[str, Any] = {
    "method": "dann",
    "unfrozen_depth": 1,
    "views": 4,
    "batch_norm": "domain",
}
"""What differs from the recipe of accuracy.py."""


def values_of(transfer: str, data: Path, root: Path, seeds: int, methods: list[str]) -> Any:
    """Search and compare on a transfer; return the macro-F1 of each seed, by method."""
    archive, source, target, side = TRANSFERS[transfer]
    if not (root / archive).exists():
        with tarfile.open(data / f"{archive}.tar") as tar:
            tar.extractall(root, filter="data")
    augmentation = DIGITS_AUGMENTATION if archive == "digits_subset" else OFFICE_AUGMENTATION
    weights = {"file": str(data / WEIGHTS), "mean": 0.5, "std": 0.5}
    content = {
        "name": f"{source}-{target}",
        "data": {
            "source": {"folder": str(root / archive / source)},
            "target": {"folder": str(root / archive / target)},
            "image_size": side,
        },
        "training": {**RECIPE, **augmentation, **CHANGED},
        "search": {"trials": 1, "published_first": False, "scheduler": "none"},
        "weights": {BACKBONE: weights},
        "storage": str(root / "runs"),
    }
    searched = dann_search.launch(content)
    comparison = dann_search.compare(searched.experiment, methods=methods, seeds=seeds)
    return {name: one.f1_macro_test.values for name, one in comparison.methods.items()}


def cell(values: list[float]) -> str:
    """Return mean and deviation."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--transfers", default=",".join(TRANSFERS))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for transfer in arguments.transfers.split(","):
            data = arguments.data.resolve()
            found[transfer] = values_of(transfer, data, Path(name), arguments.seeds, methods)
    print(f"| target test, macro-F1 | {' | '.join(methods)} |")
    print("|---|" + "---|" * len(methods))
    for transfer, values in found.items():
        print(f"| {transfer} | {' | '.join(cell(values[one]) for one in methods)} |")
    average = {
        one: [statistics.mean(seed) for seed in zip(*(v[one] for v in found.values()), strict=True)]
        for one in methods
    }
    print(f"| average | {' | '.join(cell(average[one]) for one in methods)} |")
    if "adabn" in average:
        lead = {
            one: [a - b for a, b in zip(average[one], average["adabn"], strict=True)]
            for one in methods
        }
        print(f"| average minus adabn | {' | '.join(cell(lead[one]) for one in methods)} |")


if __name__ == "__main__":
    main()
