"""What TensorBoard's own reader finds in our events."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.tracking.tensorboard import TAGS, TensorBoardWriter
from dann_search.training.result import EpochResult
from tests.experiments import space_file


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return load_experiment(space_file(tmp_path), stage_counts())[1]


@pytest.fixture
def recipe(space: Space) -> TrialConfig:
    return space.fixed.model_copy(update={"unfrozen_depth": 2})


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


def test_every_searched_parameter_is_a_column_and_a_trial_fills_what_applies(
    tmp_path: Path, space: Space, recipe: TrialConfig
) -> None:
    writer = TensorBoardWriter(tmp_path / "tb", space)
    constant = recipe.model_copy(update={"lambda_schedule": "constant"})
    writer.trial_started(0, constant, [])
    writer.trial_ended(0, "pruned", None)
    columns = plugin_data(tmp_path / "tb" / "experiment", metadata.EXPERIMENT_TAG).experiment
    assert {info.name for info in columns.hparam_infos} == set(space.parameters)
    kinds = {info.name: info.type for info in columns.hparam_infos}
    assert api_pb2.DATA_TYPE_UNSET not in kinds.values()
    assert kinds["lambda_schedule"] == api_pb2.DATA_TYPE_STRING
    trial = tmp_path / "tb" / "trial-0000"
    values = plugin_data(trial, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    assert set(values) == set(space.parameters) - {"lambda_gamma"}
    assert values["lambda_schedule"].string_value == "constant"
    end = plugin_data(trial, metadata.SESSION_END_INFO_TAG).session_end_info
    assert end.status == 1  # success
