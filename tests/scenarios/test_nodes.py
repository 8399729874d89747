"""Searches on several nodes, real processes on this machine: nodes come, go and die on the way."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import NODES
from tests.drivers import LIMIT_S, STARTS_AT_ONCE, said, start, wait_for_epochs, wait_for_words
from tests.experiments import (
    retrain,
    saved_history,
    space_file,
    study_trials,
    without_timings,
    write_faults,
)
from tests.json_output import printed
from tests.ray_fixtures import INJECT

pytestmark = [pytest.mark.ray, pytest.mark.scenario]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a node is started with: one CPU, and a list of faults that a test may write."""
    faults = tmp_path_factory.mktemp("faults") / "faults.json"
    injected = f"{INJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    variables = {"PYTHONPATH": injected, "DANN_TEST_FAULTS": str(faults)}
    return {"num_cpus": 1, "object_store_memory": 2**27, "env_vars": variables}


@pytest.fixture(scope="module")
def cluster(node: dict[str, Any]) -> Iterator[Cluster]:
    """A head that trains nothing, and two nodes of one CPU each; it asks for no token."""
    head = {"num_cpus": 0, "object_store_memory": 2**27, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv(*STARTS_AT_ONCE)
        # A node that refuses connections is dead at once; one that is slow has its ten seconds.
        patch.setenv("RAY_health_check_period_ms", "250")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            made.add_node(**node)
        yield made
        made.shutdown()


def drain(cluster: Cluster, node: Any) -> None:
    """What a spot instance's notice amounts to."""
    subprocess.run(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "drain-node"),
            *("--address", cluster.address, "--node-id", node.node_id),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"),
            *("--deadline-remaining-seconds", "120"),
        ],
        check=True,
        capture_output=True,
    )


def test_trials_over_two_nodes_come_to_what_one_process_does(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever ran Ray before has a token; it must not stand between them and an open cluster.
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    path = space_file(
        tmp_path,
        search__trials=1,
        search__published_first=False,
        # Without batch statistics the maths is the same: only the order of sums differs.
        training__batch_norm="frozen",
        training__bottleneck=0,
        training__epochs=2,
        space={"learning_rate": {"choice": [0.01]}},
        resources={"workers_per_trial": 2, "cpus_per_worker": 1, "across_nodes": True},
    )
    driver = start(tmp_path, "launch", str(path), "--address", cluster.address)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out + said(tmp_path)
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    (trial,) = study_trials(folder)
    assert len(set(trial.user_attrs[NODES])) == 2
    alone = retrain(folder, trial.user_attrs["config"], tmp_path / "alone")
    together = saved_history(folder, 0)
    for mine, other in zip(together, alone, strict=True):
        for name in ("f1_macro_val", "accuracy_val", "label_loss", "domain_loss"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=0.01), name


def test_nodes_that_are_drained_lost_and_added_cost_no_finished_work(
    cluster: Cluster, node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Train mostly looks when Ray knows by then that a lost worker's node is dead. Where it looks
    # before, it waits a minute for that node.
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "4")
    drained, lost = (node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    trials, epochs = 3, 4
    # The first trial of each node waits in its third epoch, one until its node is lost, the other
    # until its node is to go.
    faults = Path(node["env_vars"]["DANN_TEST_FAULTS"])
    held = ("0", "1")
    write_faults(faults, *({"trial": n, "epoch": 3, "kind": "hold", "times": 1} for n in held))
    path = space_file(
        tmp_path,
        search__trials=trials,
        training__epochs=epochs,
        resources__max_parallel_trials=99,  # more than there is room for
    )
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    driver = start(tmp_path, "launch", str(path), "--address", cluster.address)
    wait_for_epochs(folder, 2 * len(held), driver)
    cluster.remove_node(lost, allow_graceful=False)
    added = cluster.add_node(**node)
    drain(cluster, drained)
    wait_for_words(folder.ray / "driver.log", f"{drained.node_id[:6]} will go", driver)
    faults.with_name(f"{faults.name}.go").touch()
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out + said(tmp_path)
    assert printed("launch", out)["trials"] == {"completed": trials, "pruned": 0, "failed": 0}

    found = study_trials(folder)
    places = [trial.user_attrs[NODES] for trial in found]
    # Both trials moved, each from a node of its own, and the third began on what was added.
    assert {tuple(each) for each in places[:2]} == {
        (drained.node_id, added.node_id),
        (lost.node_id, added.node_id),
    }
    assert places[2] == [added.node_id]
    for trial in found:
        assert trial.state == TrialState.COMPLETE
        assert list(trial.intermediate_values) == list(range(1, epochs + 1))
    for number in range(2):
        again = retrain(folder, found[number].user_attrs["config"], tmp_path / f"again-{number}")
        assert [without_timings(epoch) for epoch in saved_history(folder, number)] == again
