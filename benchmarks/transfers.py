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

import dann_search

BACKBONE = "timm/efficientnet_lite0"
TRANSFERS = {
    "amazon→webcam": ("office_caltech_10", "amazon", "webcam", 96),
    "webcam→amazon": ("office_caltech_10", "webcam", "amazon", 96),
    "amazon→dslr": ("office_caltech_10", "amazon", "dslr", 96),
    "caltech10→webcam": ("office_caltech_10", "caltech10", "webcam", 96),
    "mnist→usps": ("digits_subset", "mnist", "usps", 64),
    "usps→mnist": ("digits_subset", "usps", "mnist", 64),
}
METHODS = "source_only,adabn,lambda_0,dann,cdan_e,mcc,mdd,target_supervised"
RECIPE: dict[str, Any] = {
    "method": "dann",
    "backbone": BACKBONE,
    "epochs": 6,
    "batch_size": 32,
    "unfrozen_depth": 1,
    "views": 4,
    "learning_rate": 0.001,
    "head_lr_factor": 10,
    "lr_schedule": "ganin",
    "weight_decay": 0.001,
    "bottleneck": 256,
    "batch_norm": "domain",
    "lambda_schedule": "ganin",
    "lambda_gamma": 10,
    "crop_scale": 0.6,
}


def values_of(transfer: str, data: Path, root: Path, seeds: int, methods: list[str]) -> Any:
    """Search and compare on a transfer; return the macro-F1 of each seed, by method."""
    archive, source, target, side = TRANSFERS[transfer]
    if not (root / archive).exists():
        with tarfile.open(data / f"{archive}.tar") as tar:
            tar.extractall(root, filter="data")
    flip = 0.5 if archive == "office_caltech_10" else 0.0  # a turned digit is another one
    weights = {"file": str(data / "efficientnet_lite0.timm.safetensors"), "mean": 0.5, "std": 0.5}
    content = {
        "name": f"{source}-{target}",
        "data": {
            "source": {"folder": str(root / archive / source)},
            "target": {"folder": str(root / archive / target)},
            "image_size": side,
        },
        "training": {**RECIPE, "horizontal_flip": flip},
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
