"""How many requests storage behind a URL gets: at a distance each takes a tenth of a second."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from dann_search.inference.best import write_best
from dann_search.results.reader import open_experiment
from dann_search.results.status import status
from dann_search.search.trial_folder import TrialFolder
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import RemoteFolder

URL = "counted://bucket/runs/small"
REQUESTS = ("ls", "find", "info", "exists", "cat_file", "pipe_file", "rm_file", "makedirs")


class Counted(MemoryFileSystem):
    """Memory that counts what would be requests to an object store."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    requests: ClassVar[Counter[str]] = Counter()
    _at = threading.local()
    """Whether a thread is in a call that was counted: calls of calls are not."""


def _counted(name: str) -> Any:
    def call(self: Counted, *arguments: Any, **options: Any) -> Any:
        within = getattr(self._at, "call", None)
        if within is None:
            self.requests[name] += 1
        self._at.call = within or name
        try:
            return getattr(MemoryFileSystem, name)(self, *arguments, **options)
        finally:
            self._at.call = within

    return call


for _name in REQUESTS:
    setattr(Counted, _name, _counted(_name))


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    monkeypatch.setitem(_registry, "counted", Counted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Counted.requests
    Counted.store.clear()


def test_a_checkpoint_is_one_request_a_file(requests: Counter[str]) -> None:
    folder = TrialFolder(f"{URL}/trials/0")
    names = ("best.safetensors", "last.safetensors")
    requests.clear()
    local = folder.open((*names, "previous.safetensors"))
    assert requests == {"ls": 1}
    for name in names:
        (local / name).write_bytes(b"epoch 1")
    requests.clear()
    for name in names:
        folder.keep(name)
    assert requests == {"pipe_file": 2}


def test_a_heartbeat_is_three_requests(
    requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with DriverLock(ExperimentFolder.at(URL)) as lock:
        lock._done.set()
        lock._thread.join()
        requests.clear()
        turns = iter([False, True])
        monkeypatch.setattr(lock._done, "wait", lambda timeout: next(turns))
        lock._keep_beating()
        assert requests == {"cat_file": 2, "pipe_file": 1}


def test_who_reads_a_search_from_afar_asks_for_little(
    requests: Counter[str], experiment: ExperimentFolder
) -> None:
    remote = RemoteFolder(URL, experiment.root)
    files = [path for path in experiment.root.rglob("*") if path.is_file()]
    for file in files:
        remote.write(file.relative_to(experiment.root).as_posix(), file.read_bytes())
    requests.clear()
    first = status(open_experiment(URL))
    assert requests == {"ls": 2, "cat_file": 3}  # nothing was here: driver, record and study
    requests.clear()
    assert status(open_experiment(URL)).best == first.best
    assert requests == {"ls": 2, "cat_file": 1}
    requests.clear()
    write_best(URL)
    assert requests == {"ls": 5, "cat_file": 1, "find": 2, "pipe_file": 3}
