"""Outputs of frozen stages on disk, beside the packed images, for all trials of a machine.

A file is written once, by whoever needs it first, and memory-mapped by all. It is named after a
hash of everything that decides its content, written under another name and then renamed. Locks go
with the process that holds them.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.storage.file_lock import locked, try_lock

FEATURES = "features"
"""Folder in that of a packed store."""
KEPT, BEGUN = ".npy", ".tmp"
STORED = {torch.float32: "<f4", torch.float16: "<f2", torch.bfloat16: "<i2"}
"""NumPy has no bfloat16: its bits are kept."""


@dataclass(frozen=True)
class FeatureFolder:
    """Where features lie.

    Attributes:
        path: of the folder; made when the first file is written.
        limit: bytes of all its files; the least recently used make room for others.
    """

    path: Path
    limit: int

    def of(
        self,
        key: str,
        count: int,
        dtype: torch.dtype,
        compute: Callable[[], Iterator[Tensor]],
        beat: Callable[[], None] = lambda: None,
    ) -> Tensor | None:
        """Return the features of ``count`` images, after computing them if nobody has before.

        Args:
            key: names them among all features.
            count: images.
            dtype: of the features.
            compute: yields the features of some images after the other, on the CPU.
            beat: called while another process computes them.

        Returns:
            A memory-mapped tensor (count, …); None where they find no room or cannot be written.
        """
        path = self.path / f"{key}{KEPT}"
        if (found := _opened(path, count, dtype)) is not None:
            return found
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path / f"{key}.lock", beat):
                if (found := _opened(path, count, dtype)) is not None:
                    return found
                if not self._write(path, count, dtype, compute()):
                    return None
        except OSError as exc:
            _say_once(f"{self.path}: {exc.strerror or exc}: features are computed in every epoch")
            return None
        return _opened(path, count, dtype)

    def _write(self, path: Path, count: int, dtype: torch.dtype, parts: Iterator[Tensor]) -> bool:
        begun = path.with_suffix(BEGUN)
        first = next(parts)
        size = count * first[0].nbytes
        with open(begun, "wb") as file:
            try:
                if not self._reserve(begun, file.fileno(), size):
                    return False
                shape = (count, *first.shape[1:])
                header = {"descr": STORED[dtype], "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                for part in (first, *parts):
                    file.write(part.contiguous().flatten().view(torch.uint8).numpy().data)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
                os.replace(begun, path)
            finally:
                begun.unlink(missing_ok=True)
        return True

    def _reserve(self, begun: Path, descriptor: int, size: int) -> bool:
        """Take the room for a file, that of the least recently used ones if need be."""
        with locked(self.path / ".lock"):
            known = {path: stat for path in self.path.iterdir() if (stat := _stat(path, begun))}
            used = sum(one.st_size for one in known.values())
            for path in sorted(known, key=lambda path: known[path].st_mtime_ns):
                if used + size <= self.limit:
                    break
                if path.suffix == KEPT:  # who has mapped it continues with it
                    path.unlink(missing_ok=True)
                    used -= known[path].st_size
            if used + size > self.limit:
                return False
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(descriptor, 0, size)
            return True


def _stat(path: Path, own: Path) -> os.stat_result | None:
    """Return the size and age of a file that counts; remove what a dead writer has left."""
    if path == own or path.suffix not in (KEPT, BEGUN):
        return None
    try:
        if path.suffix == BEGUN:
            with open(path.with_suffix(".lock"), "a") as lock:
                if try_lock(lock):
                    path.unlink()
                    return None
        return path.stat()
    except FileNotFoundError:  # written or evicted meanwhile
        return None


def _opened(path: Path, count: int, dtype: torch.dtype) -> Tensor | None:
    try:
        stored = np.load(path, mmap_mode="r")
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    if len(stored) != count or stored.dtype != np.dtype(STORED[dtype]):
        return None
    return mapped_tensor(stored).view(dtype)


def mapped_tensor(array: NDArray[Any]) -> Tensor:
    """Return a tensor over a memory map that nothing writes to."""
    with warnings.catch_warnings():
        # torch warns that the map is read-only.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
