"""Each label-free score against a closed form or a plain computation of its definition."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from dann_search.config.extensions import VALIDATORS
from dann_search.training.validators import WORST, validate
from dann_search.training.validators.density import TEMPERATURE
from dann_search.training.validators.view import MOST_ROWS, ValidationView

CLASSES, SIZE = 4, 6


def view_of(
    seed: int = 0, source: int = 60, target: int = 80, shift: float = 0.0
) -> ValidationView:
    """Features of two domains a ``shift`` apart, and a linear classifier's logits of them."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(SIZE, CLASSES))
    source_features = rng.normal(size=(source, SIZE))
    target_features = rng.normal(size=(target, SIZE)) + shift
    return ValidationView(
        source_logits=source_features @ weights,
        source_features=source_features,
        source_labels=rng.integers(0, CLASSES, source),
        target_logits=target_features @ weights,
        target_features=target_features,
    )


def with_predictions(classes: NDArray[np.int64], certainty: float) -> ValidationView:
    logits = np.where(np.eye(CLASSES)[classes] == 1, certainty, 0.0)
    return replace(view_of(target=len(classes)), target_logits=logits)


BALANCED = np.arange(80) % CLASSES


def test_no_validator_can_see_a_label_of_the_target() -> None:
    assert {field.name for field in fields(ValidationView)} == {
        "source_logits", "source_features", "source_labels", "target_logits", "target_features",
    }  # fmt: skip


def test_source_accuracy_is_the_share_of_right_answers() -> None:
    view = view_of()
    right = view.source_logits.argmax(1)
    assert VALIDATORS.code("source_accuracy")(replace(view, source_labels=right)) == 1
    half = np.where(np.arange(60) < 30, right, (right + 1) % CLASSES)
    assert VALIDATORS.code("source_accuracy")(replace(view, source_labels=half)) == 0.5


def test_entropy_is_that_of_known_distributions() -> None:
    assert VALIDATORS.code("entropy")(with_predictions(BALANCED, 0.0)) == pytest.approx(
        -np.log(CLASSES)
    )
    assert VALIDATORS.code("entropy")(with_predictions(BALANCED, 1e3)) == pytest.approx(0)
    # One class at odds e : 1 : 1 : 1.
    p = np.array([np.e, 1, 1, 1]) / (np.e + 3)
    expected = (p * np.log(p)).sum()
    assert VALIDATORS.code("entropy")(with_predictions(BALANCED, 1.0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("classes", "certainty", "expected"),
    [
        (BALANCED, 1e3, np.log(CLASSES)),  # sure of each, diverse over all
        (BALANCED, 0.0, 0.0),
        (BALANCED * 0, 1e3, 0.0),  # sure, and always the same
    ],
)
def test_info_max_rewards_sure_and_diverse_predictions(
    classes: NDArray[np.int64], certainty: float, expected: float
) -> None:
    view = with_predictions(classes, certainty)
    assert VALIDATORS.code("info_max")(view) == pytest.approx(expected, abs=1e-9)


def test_bnm_is_1_for_sure_balanced_predictions_and_less_for_collapsed_ones() -> None:
    assert VALIDATORS.code("bnm")(with_predictions(BALANCED, 1e3)) == pytest.approx(1)
    # One singular value, sqrt(n): a share 1 / sqrt(classes) of the bound.
    assert VALIDATORS.code("bnm")(with_predictions(BALANCED * 0, 1e3)) == pytest.approx(0.5)


def test_snd_is_the_mean_entropy_of_similarities_computed_one_by_one() -> None:
    view = view_of(target=12)
    powers = np.exp(view.target_logits)
    outputs = powers / powers.sum(1, keepdims=True)
    entropies = []
    for i in range(12):
        similar = [
            outputs[i] @ outputs[j] / np.linalg.norm(outputs[i]) / np.linalg.norm(outputs[j])
            for j in range(12)
            if j != i
        ]
        p = np.exp(np.array(similar) / TEMPERATURE)
        p /= p.sum()
        entropies.append(-(p * np.log(p)).sum())
    assert VALIDATORS.code("snd")(view) == pytest.approx(np.mean(entropies))


@pytest.mark.parametrize("name", ["dev", "iwcv"])
def test_without_a_shift_the_weighted_risk_is_the_source_risk(name: str) -> None:
    view = view_of(source=2000, target=2000)
    powers = np.exp(view.source_logits)
    risk = log_loss(view.source_labels, powers / powers.sum(1, keepdims=True))
    assert VALIDATORS.code(name)(view) == pytest.approx(-risk, rel=0.02)


def test_weighted_risks_estimate_the_target_risk_under_a_shift() -> None:
    """Labels drawn from the classifier's own opinion of other weights: the risk moves with x."""
    errors: dict[str, list[float]] = {"dev": [], "iwcv": [], "unweighted": []}
    for seed in range(6):
        view = view_of(seed, source=2000, target=2000, shift=0.4)
        truth = np.random.default_rng(100 + seed).normal(size=(SIZE, CLASSES))
        labels = {role: (getattr(view, f"{role}_features") @ truth).argmax(1)
                  for role in ("source", "target")}  # fmt: skip
        risks = {}
        for role in labels:
            powers = np.exp(getattr(view, f"{role}_logits"))
            risks[role] = log_loss(
                labels[role], powers / powers.sum(1, keepdims=True), labels=range(CLASSES)
            )
        view = replace(view, source_labels=labels["source"])
        for name in ("dev", "iwcv"):
            errors[name].append(abs(-VALIDATORS.code(name)(view) - risks["target"]))
        errors["unweighted"].append(abs(risks["source"] - risks["target"]))
    assert np.mean(errors["dev"]) < np.mean(errors["unweighted"])
    assert np.mean(errors["iwcv"]) < np.mean(errors["unweighted"])


def test_class_ami_is_1_where_classes_are_clusters_and_near_0_where_not() -> None:
    view = with_predictions(BALANCED, 1.0)
    rng = np.random.default_rng(0)
    apart = np.eye(SIZE)[BALANCED] * 50 + rng.normal(size=(80, SIZE))
    assert VALIDATORS.code("class_ami")(replace(view, target_features=apart)) == pytest.approx(1)
    shuffled = rng.permutation(apart)
    assert abs(VALIDATORS.code("class_ami")(replace(view, target_features=shuffled))) < 0.1


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), source=st.integers(1, 12), target=st.integers(1, 12))
def test_every_value_is_finite_however_few_the_images(seed: int, source: int, target: int) -> None:
    values = validate(view_of(seed, source, target), threads=1)
    assert values.keys() == VALIDATORS.keys()
    assert all(np.isfinite(value) and value > WORST for value in values.values())


def test_a_collapsed_network_is_told_by_numbers() -> None:
    view = view_of()
    same = replace(
        view,
        target_features=np.zeros_like(view.target_features),
        target_logits=np.zeros_like(view.target_logits),
    )
    values = validate(same, threads=1)
    assert all(np.isfinite(value) for value in values.values())
    assert values["class_ami"] in (0.0, 1.0) and values["info_max"] == pytest.approx(0)


def test_large_splits_are_thinned_to_the_same_rows_every_time() -> None:
    view = view_of(source=3 * MOST_ROWS, target=MOST_ROWS + 1)
    thin = view.thinned()
    assert len(thin.source_logits) == len(thin.target_features) == MOST_ROWS
    assert np.array_equal(thin.source_features[-1], view.source_features[-1])
    assert np.array_equal(thin.source_labels, view.thinned().source_labels)
    assert np.array_equal(view_of().thinned().target_logits, view_of().target_logits)
