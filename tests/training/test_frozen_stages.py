"""Features of frozen stages: kept or computed in every step, they train the same network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dann_search.config.trial import TrialConfig
from dann_search.data.batches import paired_batches
from dann_search.data.feature_folder import FeatureFolder
from dann_search.data.training_data import FewLabels, TrainingData
from dann_search.data.views import View
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of
from dann_search.training import frozen_stages
from dann_search.training.epoch_steps import Batches, EpochSteps
from dann_search.training.frozen_stages import FrozenOutput, FrozenStages, are_kept, cost_of
from tests.training.recipes import metrics, recipe, run, tiny_data

ROOM = 10**9


@pytest.fixture(autouse=True)
def always_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep features of tiny networks, too, which are computed as fast as they are read."""
    monkeypatch.setattr(frozen_stages, "WORTH", 0)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many images each run of frozen stages was given."""
    batches: list[int] = []
    own = FrozenStages.run

    def counted(self: FrozenStages, images: torch.Tensor) -> torch.Tensor:
        batches.append(len(images))
        return own(self, images)

    monkeypatch.setattr(FrozenStages, "run", counted)
    yield batches


def keeping(data: TrainingData, folder: Path, limit: int = ROOM) -> TrainingData:
    return replace(data, features=FeatureFolder(folder, limit))


def larger(data: TrainingData, side: int) -> TrainingData:
    def scaled(images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(images[:24].float(), size=(side, side)).to(torch.uint8)

    assert data.val_labels is not None
    return replace(
        data,
        info=replace(data.info, image_size=side),
        source_images=scaled(data.source_images),
        source_labels=data.source_labels[:24],
        target_images=scaled(data.target_images),
        val_images=scaled(data.val_images[:6]),
        val_labels=data.val_labels[:6],
        source_val_images=scaled(data.source_val_images[:6]),
        source_val_labels=data.source_val_labels[:6],
    )


@pytest.mark.parametrize(
    ("depth", "batch_norm", "views", "others"),
    [
        (0, "separate", 1, {"method": "source_only", "head_init": "class_means"}),
        (1, "joint", 3, {"method": "dann", "ema_decay": 0.9}),
        (1, "domain", 3, {"method": "fixmatch", "pseudo_labels": 0.6}),
        (2, "frozen", 1, {"method": "fixmatch", "gradual_unfreezing": 1}),
        (0, "separate", 3, {"method": "adabn", "linear_probe_epochs": 1}),
        (1, "domain", 1, {"method": "mme", "fine_tuning": "lora"}),
        (2, "separate", 2, {"precision": "bf16"}),
    ],
)
def test_kept_features_train_the_same_network_to_the_last_digit(
    tmp_path: Path, depth: int, batch_norm: str, views: int, others: dict[str, Any]
) -> None:
    config = recipe(
        unfrozen_depth=depth,
        views=views,
        batch_norm=batch_norm,
        epochs=2,
        colour_jitter=0.3,
        **others,
    )
    data = replace(tiny_data(), few=FewLabels(torch.arange(6), torch.arange(6) % 3))
    anew = run(config, data, tmp_path / "anew")
    kept = keeping(data, tmp_path / "features")
    assert metrics(run(config, kept, tmp_path / "first")) == metrics(anew)
    assert metrics(run(config, kept, tmp_path / "again")) == metrics(anew)


@pytest.mark.parametrize(
    ("batch_norm", "depth"), [("separate", 2), ("joint", 1), ("domain", 2), ("frozen", 0)]
)
def test_frozen_stages_apart_are_those_of_the_whole_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_norm: str, depth: int
) -> None:
    """With batches of as many images as pass the frozen stages at once."""
    settings = {"unfrozen_depth": depth, "batch_norm": batch_norm, "views": 2, "epochs": 2}
    config, data = recipe(batch_size=frozen_stages.AT_ONCE, **settings), tiny_data()
    apart = run(config, data, tmp_path / "apart")
    monkeypatch.setattr(frozen_stages, "WORTH", 1e99)
    assert metrics(run(config, data, tmp_path / "whole")) == metrics(apart)


@pytest.mark.parametrize("name", ["squeezenet1_1", "timm/efficientnet_lite0"])
def test_any_backbone_divides_at_its_top_stage(tmp_path: Path, name: str) -> None:
    check_top_stage(name, tmp_path)


def check_top_stage(name: str, folder: Path) -> None:
    """Train the top stage of a backbone with features kept and computed anew: the same network."""
    spec = spec_of(name)
    side = 32 if name.startswith("timm/") else spec.smallest
    depth = 0 if cost_of(name, len(spec.stages) - 1, side) is None else 1
    assert depth or name == "timm/regnety_002"
    shared = {"backbone": name, "batch_size": 4, "epochs": 1, "method": "source_only"}
    config = recipe(**shared, unfrozen_depth=depth, views=3)
    data = larger(tiny_data(), side)
    anew = run(config, data, folder / "anew")
    kept = run(config, keeping(data, folder / "features"), folder / "kept")
    assert metrics(kept) == metrics(anew)
    assert len(list((folder / "features").glob("*.npy"))) == 3  # of the target only val is seen


def test_the_features_of_an_image_do_not_depend_on_what_is_beside_it() -> None:
    data, backbone = tiny_data(), recipe(unfrozen_depth=1, views=3)
    batches = Batches(backbone, data, torch.device("cpu"))
    network, cost = build_network(backbone, 3).eval(), cost_of("dann_cnn", 2, 16)
    assert cost
    batches.frozen = FrozenStages(network, cost, backbone, data)
    output = batches.seen("source", "train", View(1, 2, backbone))
    assert isinstance(output, FrozenOutput)
    whole = torch.cat([part for part in output.in_parts(lambda: None)])
    for rows in ([5], [47, 5, 5, 0], list(range(40, 3, -1))):
        assert torch.equal(
            output.rows(torch.tensor(rows)).permute(0, 2, 3, 1), whole[torch.tensor(rows)]
        )


def test_all_trials_of_the_same_frozen_stages_share_them(
    tmp_path: Path, computed: list[int]
) -> None:
    """Whatever differs above them, and with other seeds where the weights are the same."""
    data = keeping(tiny_data(), tmp_path / "features")
    run(recipe(unfrozen_depth=1, views=2, epochs=2), data, tmp_path / "one")
    seen = 2 * (48 + 40) + 24 + 21
    assert sum(computed) == seen
    others = {"batch_size": 8, "method": "mcc", "batch_norm": "domain", "learning_rate": 0.1}
    run(recipe(unfrozen_depth=1, views=2, epochs=2, **others), data, tmp_path / "two")
    assert sum(computed) == seen
    run(recipe(unfrozen_depth=1, views=2, epochs=1, rotation_degrees=20.0), data, tmp_path / "3")
    assert sum(computed) == seen + 48 + 40  # the other augmentation, not the validation again


def test_other_weights_images_or_depths_share_nothing(tmp_path: Path, computed: list[int]) -> None:
    data = keeping(tiny_data(), tmp_path / "features")
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"unfrozen_depth": 0}, {"precision": "bf16"}]
    for number, change in enumerate(changes):
        run(recipe(**{"unfrozen_depth": 1, "views": 1, "epochs": 1} | change), data, tmp_path / "t")
        assert sum(computed) == (number + 1) * (48 + 40 + 24 + 21)
    hashes = {"source": {"train": "x", "val": "x"}, "target": {"train": "x", "val": "x"}}
    other = replace(data, info=replace(data.info, hashes=hashes))
    run(recipe(unfrozen_depth=1, views=1, epochs=1), other, tmp_path / "other")
    assert sum(computed) == 5 * (48 + 40 + 24 + 21)


def test_a_training_is_resumed_and_paused_with_the_same_result(tmp_path: Path) -> None:
    config = recipe(unfrozen_depth=1, views=3, epochs=4)
    data = keeping(tiny_data(), tmp_path / "features")
    whole = run(config, data, tmp_path / "whole")
    run(config, data, tmp_path / "cut", stop_after=2)
    assert metrics(run(config, tiny_data(), tmp_path / "cut")) == metrics(whole)
    paused = iter([False, True])
    run(config, data, tmp_path / "paused", pause=lambda: next(paused, False))
    assert metrics(run(config, data, tmp_path / "paused")) == metrics(whole)


def test_where_they_find_no_room_training_goes_on_without(
    tmp_path: Path, computed: list[int]
) -> None:
    config = recipe(unfrozen_depth=1, views=1, epochs=2)
    free = run(config, tiny_data(), tmp_path / "free")
    small = keeping(tiny_data(), tmp_path / "features", limit=10_000)
    assert metrics(run(config, small, tmp_path / "small")) == metrics(free)
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize(
    "changes",
    [{"views": 0}, {"unfrozen_depth": None}, {"unfrozen_depth": 3}, {"method": "from_scratch"}],
)
def test_nothing_is_kept_where_nothing_stays_the_same(changes: dict[str, Any]) -> None:
    config = recipe(**{"unfrozen_depth": 1, "views": 1} | changes)
    assert are_kept(config, 16, 3) is None


def test_features_larger_than_the_work_they_save_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    depths = range(5)
    recipes = [TrialConfig(backbone="resnet50", unfrozen_depth=d, views=1) for d in depths]
    kept = [are_kept(one, 224, 5) is not None for one in recipes]
    assert kept == [True, True, True, False, False]
    top = cost_of("resnet50", 5, 224)
    assert top and top.numbers == 2048
    # torchvision's documentation says 4.09 billion multiplications with an addition each.
    assert top.operations == pytest.approx(2 * 4.09e9, rel=0.01)


def test_views_are_fixed_distinct_and_shared_by_all_seeds(tmp_path: Path) -> None:
    data = tiny_data()

    def seen(epoch: int, **changes: Any) -> dict[int, np.ndarray[Any, Any]]:
        config = recipe(views=3, **changes)
        batches = Batches(config, data, torch.device("cpu"))
        pairs = paired_batches(48, 40, 16, config.seed, epoch)
        steps = EpochSteps(batches, epoch)
        return {
            int(row): image.numpy()
            for (rows, _), step in zip(pairs, steps, strict=True)
            for row, image in zip(rows, step.source, strict=True)
        }

    first = seen(1)
    for row, image in seen(4, seed=7).items():  # three epochs on, and another seed
        assert np.array_equal(image, first[row])
    second = seen(2)
    assert not any(np.array_equal(second[row], first[row]) for row in first)
