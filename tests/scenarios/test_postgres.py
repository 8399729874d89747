"""A study on a PostgreSQL server that is restarted in the middle of a search."""

import importlib.util
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from dann_search.results.status import status
from dann_search.search.launch import Outcome, prepare, search
from dann_search.storage import outages
from dann_search.storage.driver_lock import DriverLock
from dann_search.tracking.observer import Observer
from tests.experiments import Reports, saved_history
from tests.faults.faulty import EPOCHS, RATES, SEEDS, Histories, space_of, undisturbed
from tests.in_process import InProcessExecutor

__all__ = ["undisturbed"]  # a fixture

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(not shutil.which("initdb"), reason="no PostgreSQL server is installed"),
    pytest.mark.skipif(not importlib.util.find_spec("psycopg"), reason="psycopg is not installed"),
]
USER: dict[str, Any] = {"user": "nobody"} if os.getuid() == 0 else {}
"""The server refuses to run as root."""


@dataclass(frozen=True)
class Server:
    """A server with its files in a folder."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://me@127.0.0.1:{self.port}/postgres"

    def pg(self, *words: str) -> None:
        """Run one of its programs."""
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **USER)

    def make(self) -> None:
        self.pg("initdb", "-D", "data", "-U", "me", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self.pg("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode: str) -> None:
        self.pg("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Its socket needs a short path, and another user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if USER:
        shutil.chown(folder, "nobody")
    server = Server(folder, port)
    try:
        server.make()
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Restarts(Reports):
    """Stops the server after an epoch, and starts it a moment later."""

    def __init__(self, server: Server, rng: random.Random):
        super().__init__()
        self.server, self.rng = server, rng
        self.at = rng.randint(1, len(RATES) * EPOCHS - 1)
        self.lines: list[str] = []
        self.restart = threading.Thread(target=self._restart)

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        super().epochs_done(number, history, known)
        if self.steps.total() >= self.at and self.restart.ident is None:
            self.restart.start()
            time.sleep(self.rng.uniform(0, 0.3))  # it goes in the middle of something

    def notice(self, line: str) -> None:
        self.lines.append(line)

    def _restart(self) -> None:
        self.server.stop(self.rng.choice(["fast", "immediate"]))
        time.sleep(self.rng.uniform(0, 1))
        self.server.start()


def search_there(path: Path, observer: Observer) -> Outcome:
    """Run a search whose study is not a file."""
    experiment, space = load_experiment(path, stage_counts())
    folder = prepare(experiment, space)
    with DriverLock(folder) as lock:
        return search(
            experiment, space, folder, lambda _, __: observer, lock, executor=InProcessExecutor()
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_that_is_restarted_changes_no_number(
    seed: int,
    server: Server,
    tmp_path: Path,
    tiny_images: Path,
    undisturbed: Histories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "FIRST_S", 0.05)
    path = space_of(tmp_path, tiny_images, name=f"seed-{seed}", search__study=server.url)
    reports = Restarts(server, random.Random(seed))
    outcome = search_there(path, reports)
    reports.restart.join()
    trials = optuna.load_study(study_name=f"seed-{seed}", storage=server.url).trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    found = {t.params["learning_rate"]: saved_history(outcome.folder, t.number) for t in trials}
    assert found == undisturbed
    assert len(trials) == len(RATES)
    for trial in trials:
        scores = [epoch["f1_macro_val"] for epoch in found[trial.params["learning_rate"]]]
        assert list(trial.intermediate_values.values()) == scores
    assert set(reports.steps.values()) == {1}
    assert status(outcome.folder).completed == len(RATES)
