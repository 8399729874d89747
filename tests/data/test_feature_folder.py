"""Features on disk: written once, whole or not at all, within their limit."""

import errno
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dann_search.data.feature_folder import FeatureFolder

FLOAT = torch.float32


def parts(value: float = 1.0, count: int = 6) -> Iterator[torch.Tensor]:
    for _ in range(count // 2):
        yield torch.full((2, 4), value)


def test_they_are_computed_once_and_mapped_by_all(tmp_path: Path) -> None:
    folder, calls = FeatureFolder(tmp_path / "features", 10_000), []

    def compute() -> Iterator[torch.Tensor]:
        calls.append(1)
        yield from parts(3.0)

    for _ in range(3):
        found = folder.of("key", 6, FLOAT, compute)
        assert found is not None and torch.equal(found, torch.full((6, 4), 3.0))
    assert calls == [1]


def test_half_precision_keeps_its_bits(tmp_path: Path) -> None:
    given = torch.randn(4, 3).to(torch.bfloat16)
    found = FeatureFolder(tmp_path, 10_000).of("key", 4, torch.bfloat16, lambda: iter([given]))
    assert found is not None and torch.equal(found, given)


def test_threads_that_ask_at_once_wait_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.storage.file_lock.WAIT_S", 0.01)
    folder, calls, beats = FeatureFolder(tmp_path, 10_000), list[int](), list[int]()

    def compute() -> Iterator[torch.Tensor]:
        calls.append(1)
        time.sleep(0.1)
        yield from parts()

    def ask() -> None:
        assert folder.of("key", 6, FLOAT, compute, lambda: beats.append(1)) is not None

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1] and beats


def _die(path: Path) -> None:
    def compute() -> Iterator[torch.Tensor]:
        yield torch.ones(2, 4)
        os._exit(1)

    FeatureFolder(path, 10_000).of("key", 6, FLOAT, compute)


def test_a_writer_that_dies_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 1 and list(tmp_path.glob("*.tmp"))
    folder = FeatureFolder(tmp_path, 6 * 16 + 200)
    # Its room is another's now.
    assert folder.of("other", 6, FLOAT, parts) is not None
    assert not list(tmp_path.glob("*.tmp"))
    assert folder.of("key", 6, FLOAT, parts) is not None


@pytest.mark.parametrize("content", ["torn", "foreign", "other"])
def test_a_file_that_is_not_whole_is_written_again(tmp_path: Path, content: str) -> None:
    folder, path = FeatureFolder(tmp_path, 10_000), tmp_path / "key.npy"
    folder.of("key", 6, FLOAT, lambda: parts(2.0))
    if content == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif content == "foreign":
        path.write_bytes(b"not an array")
    else:
        np.save(path, np.ones((5, 4), np.float32))
    found = folder.of("key", 6, FLOAT, lambda: parts(3.0))
    assert found is not None and float(found.mean()) == 3


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, 3 * (6 * 16 + 128))
    mapped = folder.of("a", 6, FLOAT, lambda: parts(7.0))
    for key in ("b", "c", "a", "d"):  # "a" is used again
        assert folder.of(key, 6, FLOAT, parts) is not None
    assert {path.stem for path in tmp_path.glob("*.npy")} == {"a", "c", "d"}
    folder.of("e", 6, FLOAT, parts), folder.of("f", 6, FLOAT, parts)
    assert not (tmp_path / "a.npy").exists()
    assert mapped is not None and float(mapped.mean()) == 7  # who has it continues with it


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    assert FeatureFolder(tmp_path, 50).of("key", 6, FLOAT, parts) is None
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix] == [".lock"]


def test_a_full_disk_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    folder = FeatureFolder(tmp_path / "full", 10_000)
    assert folder.of("a", 6, FLOAT, parts) is None
    assert folder.of("b", 6, FLOAT, parts) is None
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not [*folder.path.glob("*.tmp"), *folder.path.glob("*.npy")]
