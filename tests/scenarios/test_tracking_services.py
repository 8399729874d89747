"""What W&B, offline, and MLflow, in a database file, have of a trial in the end."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.models.registry import stage_counts
from dann_search.tracking.services import MlflowService, WandbService
from dann_search.tracking.tensorboard import scalars
from tests.experiments import space_file
from tests.tracking.test_services import history, observe

pytestmark = pytest.mark.scenario


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return load_experiment(space_file(tmp_path), stage_counts())[1]


def needs(name: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(
        missing, reason=f"{name} is not installed: pip install -e '.[{name}]'"
    )


@needs("mlflow")
def test_mlflow_writes_a_database_and_goes_on_with_a_trials_run(
    tmp_path: Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    assert observe(MlflowService(tmp_path, "mugs", "abc"), space, space.fixed, epochs=2) == []
    assert observe(MlflowService(tmp_path, "mugs", "abc"), space, space.fixed, epochs=3) == []
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    place = client.get_experiment_by_name("mugs")
    assert place is not None
    (run,) = client.search_runs([place.experiment_id])
    expected = {name: str(v) for name, v in space.active(space.fixed.model_dump()).items()}
    assert (run.data.params, run.info.status) == (expected, "FINISHED")
    assert run.info.run_name == "trial-0007"
    assert run.data.metrics == pytest.approx(scalars(history(3), "f1_macro"))
    curve = client.get_metric_history(run.info.run_id, "val/f1_macro")
    assert [(one.step, one.value) for one in curve] == [(1, 0.1), (2, 0.2), (3, 0.3)]


@needs("wandb")
def test_wandb_writes_offline_without_a_key(
    tmp_path: Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    service = WandbService(tmp_path, "mugs", "0123456789abcdef")
    assert service.mode == "offline"
    summaries: list[dict[str, Any]] = []
    end = service.end

    def remember(number: int, state: str) -> None:
        summaries.append(json.loads(json.dumps(dict(service.runs[number].summary))))
        summaries.append(dict(service.runs[number].config))
        end(number, state)

    monkeypatch.setattr(service, "end", remember)
    assert observe(service, space, space.fixed) == []
    expected = scalars(history(3), "f1_macro")
    assert {name: summaries[0][name] for name in expected} == pytest.approx(expected)
    assert summaries[1] == space.active(space.fixed.model_dump())
    (written,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert written.stat().st_size > 0
