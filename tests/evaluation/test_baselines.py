"""Every method's recipe, and which recipes come to the same."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import normalize, to_float
from dann_search.data.batches import paired_batches
from dann_search.errors import InputError
from dann_search.evaluation.baselines import (
    SUPERVISED,
    checked,
    default_methods,
    effective,
    recipe,
)
from dann_search.models.build import build_backbone, build_network
from dann_search.models.registry import spec_of
from dann_search.training.checkpoint import LAST, load_checkpoint
from dann_search.training.loop import train
from tests.experiments import without_timings
from tests.training.recipes import run, tiny_data

WINNER = TrialConfig(
    backbone="resnet18", unfrozen_depth=2, batch_size=48, epochs=7, learning_rate=0.004,
    batch_norm="joint", ema_decay=0.9, gradual_unfreezing=1, seed=3, **{"crop_scale": 0.5},
)  # fmt: skip
FILES: dict[str, WeightsFile] = {}
STEPS = 150


def test_a_baseline_has_the_winners_recipe_but_for_what_it_is() -> None:
    def changes(method: str) -> dict[str, Any]:
        mine, other = WINNER.model_dump(), recipe(WINNER, method, 4, FILES, STEPS).model_dump()
        return {name: value for name, value in other.items() if value != mine[name]}

    assert changes("dann") == {"seed": 4}
    assert changes("source_only") == {"seed": 4, "method": "source_only"}
    assert changes("cdan") == {"seed": 4, "method": "cdan"}
    assert changes(SUPERVISED) == changes("source_only")
    assert changes("adabn") == {"seed": 4, "method": "adabn"}
    assert changes("lambda_0") == {"seed": 4, "lambda_max": 0}
    heads_alone = {"unfrozen_depth": 0, "batch_norm": "frozen"}
    assert changes("frozen_features") == changes("source_only") | heads_alone


def test_baselines_without_adaptation_do_not_train_on_pseudo_labels() -> None:
    winner = WINNER.model_copy(update={"pseudo_labels": 0.3})
    found = {
        name: effective(recipe(winner, name, 4, FILES, STEPS), FILES).pseudo_labels
        for name in ("dann", "mcc", "adabn", "lambda_0", "source_only", "from_scratch")
    }
    assert found == {
        "dann": 0.3, "mcc": 0.3, "adabn": 0, "lambda_0": 0, "source_only": 0, "from_scratch": 0
    }  # fmt: skip
    itself = winner.model_copy(update={"method": "adabn"})
    assert recipe(itself, "adabn", 4, FILES, STEPS).pseudo_labels == 0.3


def test_tllibs_recipe_is_its_defaults_within_the_winners_budget() -> None:
    """tllib c4aa59e, examples/domain_adaptation/image_classification/dann.py."""
    config = recipe(WINNER, "tllib_dann", 4, FILES, STEPS)
    budget = {"backbone": "resnet18", "epochs": 7, "batch_size": 48, "seed": 4}
    stated = {
        "method": "dann", "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3,
        "learning_rate": 0.001, "head_lr_factor": 10, "lr_schedule": "ganin",  # 0.1 x 0.01, 0.01
        "bottleneck": 256, "discriminator_width": 1024, "discriminator_depth": 2,
        "discriminator_norm": "batch",
        "batch_norm": "joint", "lambda_schedule": "ganin", "lambda_max": 1,
        "lambda_gamma": 0.15, "lr_gamma": 0.15,  # its max_iters of 1,000, its --lr-gamma of 0.001
        "horizontal_flip": 0.5, "crop_scale": 0.08, "unfrozen_depth": 1000,
    }  # fmt: skip
    found = config.model_dump()
    assert {name: found[name] for name in stated} == stated
    assert {name: found[name] for name in budget} == budget
    # What it does not have does nothing here.
    idle = {
        "class_balanced": False, "stage_lr_decay": 1, "gradual_unfreezing": 0, "ema_decay": 0,
        "gradient_clipping": 0, "label_smoothing": 0, "precision": "fp32", "lambda_delay": 0,
        "discriminator_dropout": 0, "rotation_degrees": 0, "translation": 0, "vertical_flip": 0,
        "colour_jitter": 0, "grayscale": 0, "erasing": 0, "policy_strength": 0,
        "target_augmentation": 1, "pretrained": True, "discriminator_gradient_penalty": 0,
        "discriminator_lr_factor": 1, "extra": "none", "pseudo_labels": 0,
        "fine_tuning": "stages", "linear_probe_epochs": 0, "head_init": "random",
        "views": 0,
    }  # fmt: skip
    assert {name: found[name] for name in idle} == idle
    assert set(found) == {
        *stated, *budget, *idle, "lambda_warmup", "extra_weight", "afn_delta", "mdd_margin",
        "pseudo_label_weight", "fixmatch_threshold", "lora_rank",
    }  # fmt: skip
    scratch = recipe(WINNER.model_copy(update={"pretrained": False}), "tllib_dann", 4, FILES, STEPS)
    assert (scratch.pretrained, scratch.learning_rate, scratch.head_lr_factor) == (False, 0.01, 1)


def test_tllibs_recipe_trains_as_its_loop_does(tmp_path: Path) -> None:
    """The loop of its dann.py, written down here: the weights are the same after two epochs.

    One optimizer with 0.1 of the rate for the backbone, both domains in one batch, the mean of the
    two domain losses, and schedules that count steps. Without augmentation: draws would differ.
    """
    data = tiny_data()
    winner = TrialConfig(backbone="dann_cnn", pretrained=True, epochs=2, batch_size=16)
    steps = 2 * (48 // 16)
    files = {"dann_cnn": WeightsFile(file=tmp_path / "weights.safetensors")}
    torch.manual_seed(0)  # other weights spread rounding further than what is allowed below
    save_file(build_backbone("dann_cnn", None).state_dict(), tmp_path / "weights.safetensors")
    plain = {"crop_scale": 1.0, "horizontal_flip": 0.0}
    config = recipe(winner, "tllib_dann", 4, files, steps).model_copy(update=plain)
    network = build_network(config, 3, files).train()
    optimizer = torch.optim.SGD(
        [
            {"params": network.backbone.parameters(), "lr": 0.1},
            {"params": network.bottleneck.parameters(), "lr": 1.0},
            {"params": network.classifier.parameters(), "lr": 1.0},
            {"params": network.discriminator.parameters(), "lr": 1.0},  # type: ignore[union-attr]
        ],
        lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True,
    )  # fmt: skip
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: 0.01 * (1.0 + 0.001 * i) ** -0.75
    )
    spec, number = spec_of("dann_cnn", files), 0
    for epoch in (1, 2):
        for source, target in paired_batches(48, 40, 16, 4, epoch):
            images = torch.cat([data.source_images[source], data.target_images[target]])
            features = network.features(normalize(to_float(images, 16), spec.mean, spec.std))
            coefficient = 2.0 / (1.0 + math.exp(-1.0 * number / 1000)) - 1.0
            seen = features.detach().requires_grad_()
            domain = network.discriminator(seen).squeeze(1).sigmoid()  # type: ignore[misc]
            loss = 0.5 * (
                F.binary_cross_entropy(domain[:16], torch.zeros(16))
                + F.binary_cross_entropy(domain[16:], torch.ones(16))
            )
            labels = data.source_labels[source]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            own = F.cross_entropy(network.classifier(features)[:16], labels)
            assert seen.grad is not None
            (own - coefficient * (features * seen.grad).sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
            number += 1
    run(config, data, tmp_path / "ours", weights=files)
    ours = load_checkpoint(tmp_path / "ours" / LAST).model
    far = [
        ~torch.isclose(ours[name], value, atol=3e-4, rtol=1e-4).flatten()
        for name, value in network.state_dict().items()
    ]
    # Sums in another order may turn single weights; a stretched schedule turns 7 % of them.
    assert torch.cat(far).double().mean() < 0.005


def test_frozen_features_are_compared_where_there_are_pretrained_weights() -> None:
    names = [
        "dann", "source_only", "adabn", "lambda_0", "frozen_features", "from_scratch", "tllib_dann",
    ]  # fmt: skip
    assert default_methods(WINNER, FILES) == names
    own = WINNER.model_copy(update={"backbone": "dann_cnn"})
    assert "frozen_features" not in default_methods(own, FILES)
    files = {"dann_cnn": WeightsFile(file=Path("own.safetensors"))}
    assert default_methods(own, files) == names
    plain = own.model_copy(update={"method": "source_only"})
    assert default_methods(plain, FILES) == ["source_only", "adabn", "from_scratch", "tllib_dann"]
    adabn = own.model_copy(update={"method": "adabn"})
    assert default_methods(adabn, FILES)[:3] == ["adabn", "source_only", "from_scratch"]


def test_names_are_read_as_people_write_them_and_unknown_ones_refused() -> None:
    assert checked(["dann", " cdan", "dann", ""]) == ["dann", "cdan"]
    with pytest.raises(InputError, match="'tlib_dann'; did you mean 'tllib_dann'"):
        checked(["tlib_dann"])
    assert checked(["target_few"], few=True) == ["target_few"]
    for name in ("target_few", "source_plus_few"):
        with pytest.raises(InputError, match=f"{name} needs labelled training images"):
            checked([name])


def test_with_a_few_labels_the_recipe_without_adaptation_keeps_them() -> None:
    config = SMALL.model_copy(update={"batch_norm": "domain", "target_augmentation": 0.5})
    plain, few = (
        effective(config.model_copy(update={"method": name}), FILES, few=True)
        for name in ("source_only", "source_plus_few")
    )
    assert (plain.target_augmentation, few.target_augmentation) == (1, 0.5)
    assert few.batch_norm == effective(few.model_copy(update={"batch_norm": "separate"}), FILES,
                                       few=True).batch_norm == "separate"  # fmt: skip
    # Without batch norm to adapt, nothing but the labels is left of adabn.
    still = {"bottleneck": 0, "batch_norm": "frozen", "method": "adabn"}
    for known, name in ((True, "source_plus_few"), (False, "source_only")):
        assert effective(config.model_copy(update=still), FILES, few=known).method == name
    # A classifier by cosines and a strong view of each image are more than batch norm by domain.
    for name in ("mme", "fixmatch"):
        off = config.model_copy(update={"method": name, "lambda_max": 0.0})
        assert effective(off, FILES, few=True).method == name


SMALL = TrialConfig(
    backbone="dann_cnn", epochs=2, batch_size=16, bottleneck=8, discriminator_width=8,
    learning_rate=0.03, **{"crop_scale": 0.8},
)  # fmt: skip
OF_THE_TERM = ("domain_loss", "domain_accuracy", "lambda_")
"""What is told of a discriminator from which nothing reaches the network at lambda 0."""
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "from scratch without pre-trained weights": (
        {"method": "from_scratch", "batch_norm": "frozen", "unfrozen_depth": 1},
        {"method": "source_only", "batch_norm": "joint", "pretrained": False},
    ),
    "frozen features": (
        {"method": "source_only", "unfrozen_depth": 0, "batch_norm": "frozen"},
        {"method": "source_only", "unfrozen_depth": 0, "batch_norm": "joint",
         "gradual_unfreezing": 1, "stage_lr_decay": 0.5},
    ),
    "no target": (
        {"method": "source_only", "lambda_max": 0.3, "discriminator_depth": 3},
        {"method": "source_only", "target_augmentation": 0.1, "unfrozen_depth": 9},
    ),
    "no discriminator": (
        {"method": "mcc", "discriminator_width": 99, "lambda_schedule": "linear"},
        {"method": "mcc", "lambda_schedule": "linear", "lambda_gamma": 3.0, "afn_delta": 9.0,
         "discriminator_norm": "batch", "extra_weight": 0.3},
    ),
    "each domain by itself without lambda": (
        {"method": "dann", "batch_norm": "domain", "lambda_max": 0.0},
        {"method": "adabn", "batch_norm": "joint", "lambda_gamma": 3.0},
    ),
    "heads alone, each domain by itself": (
        {"method": "cdan", "batch_norm": "domain", "unfrozen_depth": 0, "lambda_max": 0.0},
        {"method": "adabn", "batch_norm": "frozen", "unfrozen_depth": 0},
    ),
    "no statistics of the backbone": (
        {"unfrozen_depth": 0, "batch_norm": "frozen"},
        {"unfrozen_depth": 0, "batch_norm": "separate"},
    ),
    "no adapters": (
        {"method": "from_scratch", "fine_tuning": "lora", "head_init": "class_means"},
        {"method": "from_scratch", "linear_probe_epochs": 1, "lora_rank": 3},
    ),
    "nothing to adapt": (
        {"unfrozen_depth": 0, "fine_tuning": "lora", "linear_probe_epochs": 1},
        {"unfrozen_depth": 0, "lora_rank": 3},
    ),
    "no momentum": (
        {"optimizer": "adamw", "momentum": 0.1, "learning_rate": 0.001},
        {"optimizer": "adamw", "momentum": 0.9, "learning_rate": 0.001, "lambda_warmup": 0.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_recipes_that_come_to_the_same_train_the_same_to_the_last_digit(
    tmp_path: Path, changes: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    one, other = (SMALL.model_copy(update=change) for change in changes)
    assert one != other
    assert effective(one, FILES) == effective(other, FILES)
    data = tiny_data()
    histories: list[list[dict[str, Any]]] = []
    for config in (one, other):
        folder = tmp_path / str(len(histories))
        folder.mkdir()
        *_, history = train(config, data, folder)
        epochs = [without_timings(asdict(epoch)) for epoch in history]
        histories.append([{k: v for k, v in one.items() if k not in OF_THE_TERM} for one in epochs])
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    "changes",
    [{"backbone": "squeezenet1_1"}, {"unfrozen_depth": 0}, {"batch_norm": "frozen"}],
    ids=["no batch norm", "all frozen", "statistics frozen"],
)
def test_where_no_batch_norm_moves_adabn_is_source_only(changes: dict[str, Any]) -> None:
    config = SMALL.model_copy(update={"bottleneck": 0, **changes})
    adabn, plain, domain, separate = (
        effective(config.model_copy(update=one), FILES)
        for one in ({"method": "adabn"}, {"method": "source_only"},
                    {"batch_norm": "domain"}, {"batch_norm": "separate"})
    )  # fmt: skip
    assert adabn == plain
    assert (domain == separate) == ("batch_norm" not in changes)


def test_lambda_0_is_adabn_only_where_the_term_leaves_no_trace() -> None:
    config = SMALL.model_copy(update={"batch_norm": "domain", "lambda_max": 0.0})
    adabn = effective(config.model_copy(update={"method": "adabn"}), FILES)
    for change in (
        {"gradient_clipping": 1.0}, {"precision": "fp16"}, {"discriminator_dropout": 0.1},
        {"batch_norm": "separate"},
    ):  # fmt: skip
        assert effective(config.model_copy(update=change), FILES) != adabn
    assert effective(config.model_copy(update={"method": "mcc"}), FILES) == adabn


@pytest.mark.parametrize(
    "change",
    [
        {"method": "source_only", "batch_norm": "frozen"},
        {"method": "source_only", "unfrozen_depth": 2},
        {"method": "source_only", "gradual_unfreezing": 1},
        {"method": "source_only", "linear_probe_epochs": 1},
        {"method": "source_only", "fine_tuning": "lora"},
        {"method": "source_only", "head_init": "class_means"},
        {"method": "dann", "batch_norm": "joint"},
        {"method": "dann", "lambda_gamma": 3.0},
        {"method": "cdan"},
        {"method": "dann", "batch_norm": "domain"},
        {"method": "dann", "lambda_max": 0.0},
        {"method": "adabn", "batch_norm": "frozen"},
    ],
)
def test_recipes_that_differ_are_not_taken_for_one(change: dict[str, Any]) -> None:
    base = SMALL.model_copy(update={"method": change["method"]} if len(change) > 1 else {})
    assert effective(base.model_copy(update=change), FILES) != effective(base, FILES)
