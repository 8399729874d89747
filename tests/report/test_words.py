"""A recipe as a person would tell it."""

import pytest

from dann_search.config.trial import TrialConfig
from dann_search.report.words import in_words

STAGES = ("stem", "middle", "top")


def told(**changes: object) -> dict[str, str]:
    return dict(in_words(TrialConfig.model_validate(changes), STAGES, pretrained=True))


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (None, "All 3 stages are trained."),
        (5, "All 3 stages are trained."),
        (2, "The top 2 of 3 stages are trained (middle, top)."),
        (0, "All 3 stages stay as they are: only the heads are trained."),
    ],
)
def test_the_depth_is_told_by_its_stages(depth: int | None, words: str) -> None:
    assert words in told(unfrozen_depth=depth)["Network"]


def test_only_what_has_an_effect_is_told() -> None:
    linear = told(method="dann", lambda_schedule="linear", lambda_warmup=0.25, lambda_max=0.4)
    assert "in a straight line to 0.4 over 25 % of training" in linear["Method"]
    assert (
        "gamma" not in linear["Method"] and "discriminator has 1 hidden layer" in linear["Method"]
    )
    plain = told(method="source_only", optimizer="adamw", rotation_degrees=7, crop_scale=0.6)
    assert "lambda" not in plain["Method"] and "momentum" not in plain["Training"]
    assert plain["Augmentation"] == (
        "Rotations by up to 7°, random crops of 60 % of the area or more."
    )
    assert told()["Augmentation"] == "None."


def test_target_images_that_are_augmented_less_are_told_apart() -> None:
    words = told(horizontal_flip=0.5, target_augmentation=0.5)["Augmentation"]
    assert words == ("A horizontal flip of 50 % of the images. Target images get 50 % of that.")


def test_fixed_views_are_told() -> None:
    words = told(horizontal_flip=0.5, views=3)["Augmentation"]
    assert words.endswith("Each image has 3 fixed views, of which an epoch shows one.")
    assert told(horizontal_flip=0.5, views=1)["Augmentation"] == "None."


def test_self_training_is_told_by_its_epochs() -> None:
    both = told(epochs=6, pseudo_labels=0.34, pseudo_label_weight=0.5)["Method"]
    assert "Epochs 5 to 6 also train on target images, with weight 0.5, under the labels" in both
    assert "Epoch 6 also trains on" in told(epochs=6, pseudo_labels=0.1)["Method"]
    for without in ({}, {"pseudo_labels": 0.1, "method": "source_only"}):
        assert "also train" not in told(**without)["Method"]
