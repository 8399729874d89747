"""What TensorBoard's own reader finds in our events."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.tracking.tensorboard import (
    FIRST_COLUMNS,
    SCALARS_BUDGET,
    TAGS,
    TensorBoardWriter,
    epochs_between,
)
from dann_search.training.result import EpochResult
from tests.experiments import space_file


def epoch(number: int, **changes: Any) -> dict[str, Any]:
    fields = {name: 0.25 for name in TAGS}
    return asdict(EpochResult(**{"epoch": number, **fields, **changes}))


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def plugin_data(folder: Path, tag: str) -> plugin_data_pb2.HParamsPluginData:
    content = read(folder).SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_every_epoch_and_every_field_is_a_scalar(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    writer.trial_started(7, recipe, [])
    writer.epochs_done(7, [epoch(1, f1_macro_val=0.5)], 0)
    writer.epochs_done(7, [epoch(1, f1_macro_val=0.5), epoch(2, f1_macro_val=0.4)], 1)
    writer.trial_ended(7, "completed", None)
    events = read(tmp_path / "tb" / "trial-0007")
    assert set(events.Tags()["scalars"]) == {*TAGS.values(), "best/f1_macro_val"}
    curve = [(e.step, round(e.value, 3)) for e in events.Scalars("val/f1_macro")]
    assert curve == [(1, 0.5), (2, 0.4)]
    assert [round(e.value, 3) for e in events.Scalars("best/f1_macro_val")] == [0.5, 0.5]


def test_a_method_without_discriminator_has_no_domain_curves(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    writer.trial_started(0, recipe, [])
    none = {"domain_loss": None, "domain_accuracy": None, "lambda_": None}
    writer.epochs_done(0, [epoch(1, **none)], 0)
    writer.close()
    tags = read(tmp_path / "tb" / "trial-0000").Tags()["scalars"]
    assert "train/domain_loss" not in tags and "train/label_loss" in tags


def test_a_resumed_trial_is_written_anew_with_each_step_once(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    first = TensorBoardWriter(tmp_path / "tb", space)
    first.trial_started(0, recipe, [])
    first.epochs_done(0, [epoch(1)], 0)
    first.close()
    second = TensorBoardWriter(tmp_path / "tb", space)
    second.trial_started(0, recipe, [0.25])
    second.epochs_done(0, [epoch(1), epoch(2)], 1)
    second.trial_ended(0, "completed", None)
    events = read(tmp_path / "tb" / "trial-0000")
    assert [e.step for e in events.Scalars("val/f1_macro")] == [1, 2]


BEST = "Best F1 (val)"


def test_every_searched_parameter_is_a_column_and_a_trial_fills_what_applies(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    constant = recipe.model_copy(update={"lambda_schedule": "constant"})
    writer.trial_started(0, constant, [])
    writer.trial_ended(0, "pruned", None)
    columns = plugin_data(tmp_path / "tb" / "experiment", metadata.EXPERIMENT_TAG).experiment
    assert {info.name for info in columns.hparam_infos} == {BEST, *space.parameters}
    kinds = {info.name: info.type for info in columns.hparam_infos}
    assert api_pb2.DATA_TYPE_UNSET not in kinds.values()
    assert kinds["lambda_schedule"] == api_pb2.DATA_TYPE_STRING
    trial = tmp_path / "tb" / "trial-0000"
    values = plugin_data(trial, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    assert set(values) == set(space.parameters) - {"lambda_gamma"}
    assert values["lambda_schedule"].string_value == "constant"
    end = plugin_data(trial, metadata.SESSION_END_INFO_TAG).session_end_info
    assert end.status == 1  # success


def test_the_best_f1_comes_before_all_parameters(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    writer.trial_started(0, recipe, [])
    writer.epochs_done(0, [epoch(1, f1_macro_val=0.75), epoch(2, f1_macro_val=0.5)], 0)
    writer.trial_ended(0, "completed", None)
    columns = plugin_data(tmp_path / "tb" / "experiment", metadata.EXPERIMENT_TAG).experiment
    # TensorBoard's own order: those that differ come first, then by name.
    shown = sorted(columns.hparam_infos, key=lambda info: (not info.differs, info.name))
    first = [name for name in sorted(FIRST_COLUMNS) if name in space.parameters]
    assert [info.name for info in shown][: len(first) + 1] == [BEST, *first]
    start = plugin_data(tmp_path / "tb" / "trial-0000", metadata.SESSION_START_INFO_TAG)
    assert start.session_start_info.hparams[BEST].number_value == 0.75
    assert start.session_start_info.group_name == "trial-0000"


def test_an_interrupted_trial_has_its_parameters(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    writer.trial_started(0, recipe, [])
    writer.epochs_done(0, [epoch(1, f1_macro_val=0.75)], 0)
    writer.close()
    start = plugin_data(tmp_path / "tb" / "trial-0000", metadata.SESSION_START_INFO_TAG)
    assert {BEST, *space.parameters} == set(start.session_start_info.hparams)


def test_a_large_search_of_long_trials_stays_within_its_budget(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    trials, epochs = 5_000, 100
    validators = {name: 0.25 for name in ("entropy", "info_max", "snd", "bnm", "dev", "iwcv")}
    long = replace(space, fixed=space.fixed.model_copy(update={"epochs": epochs}))
    writer = TensorBoardWriter(tmp_path / "tb", long, trials=trials)
    history = [epoch(number, validators=validators) for number in range(1, epochs + 1)]
    writer.trial_started(0, recipe, [])
    for done in range(1, epochs + 1):
        writer.epochs_done(0, history[:done], done - 1)
    writer.trial_ended(0, "completed", None)
    (file,) = (tmp_path / "tb" / "trial-0000").iterdir()
    assert SCALARS_BUDGET / 2 < file.stat().st_size * trials < SCALARS_BUDGET
    steps = [e.step for e in read(tmp_path / "tb" / "trial-0000").Scalars("val/f1_macro")]
    assert steps[0] == 1 and steps[-1] == epochs
    assert len(set(np.diff(steps[1:]))) == 1


def test_a_thinned_trial_ends_with_its_last_epoch_and_its_best(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    long = replace(space, fixed=space.fixed.model_copy(update={"epochs": 1000}))
    writer = TensorBoardWriter(tmp_path / "tb", long, trials=100_000)
    scores = [0.1, 0.9, 0.2]
    history = [epoch(number, f1_macro_val=score) for number, score in enumerate(scores, 1)]
    writer.trial_started(0, recipe, [])
    writer.epochs_done(0, history, 0)
    writer.trial_ended(0, "pruned", None)
    events = read(tmp_path / "tb" / "trial-0000")
    assert [e.step for e in events.Scalars("val/f1_macro")] == [1, 3]
    assert round(events.Scalars("best/f1_macro_val")[-1].value, 3) == 0.9


@pytest.mark.parametrize(
    ("epochs", "trials", "every"), [(12, 20, 1), (1000, 20, 1), (100, 5000, 4)]
)
def test_a_search_of_ordinary_size_is_written_whole(epochs: int, trials: int, every: int) -> None:
    assert epochs_between(epochs, trials) == every


def test_a_filter_spans_the_ranges_of_all_backbones(tmp_path: Path) -> None:
    rate = {"loguniform": [0.01, 0.1], "per_backbone": {"dann_cnn": [0.001, 0.02]}}
    path = space_file(
        tmp_path,
        training={"epochs": 1, "pretrained": False},
        space={"backbone": {"choice": ["dann_cnn", "resnet18"]}, "learning_rate": rate},
        data__image_size=32,
    )
    TensorBoardWriter(tmp_path / "tb", load_experiment(path, stage_counts())[1])
    columns = plugin_data(tmp_path / "tb" / "experiment", metadata.EXPERIMENT_TAG).experiment
    (interval,) = [c.domain_interval for c in columns.hparam_infos if c.name == "learning_rate"]
    assert (interval.min_value, interval.max_value) == (0.001, 0.1)
