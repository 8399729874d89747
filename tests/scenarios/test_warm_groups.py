"""Real worker groups: no trace of one trial in the next, two workers a trial, renewal."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from dann_search.config.experiment import ResourcesConfig
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.node_store import StoreSpec
from dann_search.data.store import read_info
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_experiment
from dann_search.search.dispatcher import Dispatcher
from dann_search.search.launch import prepare
from dann_search.search.messages import ActorCalls, EpochUpdate, Order
from dann_search.search.resources import make_plan
from dann_search.search.worker_config import GroupSpec, WorkerConfig
from dann_search.search.worker_group import WorkerGroup
from dann_search.storage.layout import ExperimentFolder
from tests.experiments import retrain, space_file, without_timings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

RECIPE = TrialConfig(
    backbone="dann_cnn",
    pretrained=False,
    epochs=2,
    bottleneck=16,
    discriminator_width=16,
    batch_size=64,
    learning_rate=0.03,
    **{"rotation_degrees": 10, "translation": 0.1, "horizontal_flip": 0.5},
)
OTHERS: list[dict[str, Any]] = [
    {"backbone": "squeezenet1_1", "learning_rate": 0.01},
    {"method": "source_only", "seed": 3},
    {"batch_norm": "joint", "unfrozen_depth": 1},
    {"learning_rate": 1e6},
    {"lambda_schedule": "linear", "batch_size": 32},
]
"""Trials to run in between; one of them diverges."""

ONE_SLOT = ResourcesConfig(max_parallel_trials=1, trials_per_group=len(OTHERS) + 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    experiment, space = load_experiment(
        space_file(tmp_path_factory.mktemp("warm"), data__image_size=24), stage_counts()
    )
    return prepare(experiment, space)


class Client:
    """Hands orders to a group and follows each to its end, as trials do."""

    def __init__(self, folder: ExperimentFolder, resources: ResourcesConfig):
        self.dispatcher = Dispatcher.remote(3, resources.trials_per_group)
        plan = make_plan(resources, cpus=2, gpus=0)
        info = read_info(folder.data)
        data = read_experiment(folder).data
        store = StoreSpec(str(folder.data), data, info.image_size, info.hashes)
        worker = WorkerConfig({}, "f1_macro", store)
        spec = GroupSpec(ActorCalls(self.dispatcher), worker, folder.ray)
        self.group = WorkerGroup(spec, plan, name=f"test-{time.time_ns()}", node=None)
        self.folder = folder
        self.group.start()

    def run(self, number: int, config: TrialConfig) -> EpochUpdate:
        where = self.folder.root / f"order-{time.time_ns()}"
        data = str(self.folder.data)
        order = Order(number, config.model_dump(mode="json"), str(where), data)
        ray.get(self.dispatcher.submit.remote(order))
        seen = 0
        while True:
            news: EpochUpdate = ray.get(
                self.dispatcher.epochs_after.remote(number, seen), timeout=120
            )
            seen = len(news.history)
            if news.error or seen == config.epochs:
                ray.get(self.dispatcher.withdraw.remote(number))
                return news

    def close(self) -> None:
        self.group.closing = True
        ray.get(self.dispatcher.close.remote())
        assert self.group.join(60)
        ray.kill(self.dispatcher)


@pytest.fixture
def client(folder: ExperimentFolder, request: pytest.FixtureRequest) -> Iterator[Client]:
    made = Client(folder, request.param)
    yield made
    made.close()


def metrics(news: EpochUpdate) -> list[dict[str, Any]]:
    return [without_timings(epoch) for epoch in news.history]


def numbers(epoch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in epoch.items() if value is not None}


@pytest.mark.scenario
@pytest.mark.parametrize("client", [ONE_SLOT], indirect=True)
def test_a_trial_is_the_same_to_the_last_digit_in_a_fresh_a_used_and_a_renewed_group(
    client: Client, tmp_path: Path
) -> None:
    fresh = client.run(0, RECIPE)
    others = [
        client.run(number, RECIPE.model_copy(update=change))
        for number, change in enumerate(OTHERS, start=1)
    ]
    assert len(ray.get(client.dispatcher.health.remote()).runs) == 1
    used = client.run(6, RECIPE)
    renewed = client.run(7, RECIPE)
    assert len(ray.get(client.dispatcher.health.remote()).runs) == 2
    assert json.dumps(metrics(used)) == json.dumps(metrics(fresh))
    assert json.dumps(metrics(renewed)) == json.dumps(metrics(fresh))
    assert metrics(fresh) == retrain(
        client.folder, RECIPE.model_dump(mode="json"), tmp_path / "alone"
    )
    assert others[3].error is not None and "learning rate" in others[3].error
    assert all(len(update.history) == 2 for i, update in enumerate(others) if i != 3)
    assert used.startup_s is not None


@pytest.mark.parametrize("client", [ResourcesConfig(workers_per_trial=2)], indirect=True)
def test_two_workers_train_as_one_does(client: Client, tmp_path: Path) -> None:
    # Without batch statistics the maths is the same: only the order of sums differs.
    recipe = RECIPE.model_copy(
        update={"batch_norm": "frozen", "bottleneck": 0, "learning_rate": 0.01}
    )
    together = metrics(client.run(0, recipe))
    alone = retrain(client.folder, recipe.model_dump(mode="json"), tmp_path / "alone")
    for mine, other in zip(together, alone, strict=True):
        absent = {name for name, value in mine.items() if value is None}
        assert absent == {"adaptation_loss"} == mine.keys() - numbers(other).keys()
        assert mine.pop("validators") == pytest.approx(other.pop("validators"), rel=0.1, abs=0.01)
        assert numbers(mine) == pytest.approx(numbers(other), rel=1e-3, abs=0.01)
    assert client.run(1, RECIPE).history[-1]["epoch"] == 2
