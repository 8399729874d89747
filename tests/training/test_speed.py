"""Steps that are timed for the estimate of a search, by a clock that the test sets."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.training import speed

COMPUTED_S = 100.0
"""Seconds that the frozen stages take for all images."""


def test_what_a_search_computes_once_is_no_part_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, clock = [0.0], time.perf_counter
    original = speed._OneForAll.of

    def of(self: object, key: str, count: int, dtype: torch.dtype,
           compute: Callable[[], Iterator[Tensor]], beat: object) -> Tensor:  # fmt: skip
        late[0] += COMPUTED_S
        return original(self, key, count, dtype, compute)  # type: ignore[arg-type]

    monkeypatch.setattr(speed._OneForAll, "of", of)
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late[0])
    info = StoreInfo(
        class_names=["bar", "cup"], image_size=16, fixed_size=True, crop_size=None,
        domains={"source": "a", "target": "b"}, sizes={}, hashes={}, duplicates=0,
    )  # fmt: skip
    config = TrialConfig(
        method="cdan_e", backbone="dann_cnn", pretrained=False, unfrozen_depth=0, views=1,
        batch_norm="frozen", epochs=1, batch_size=8,
    )  # fmt: skip
    measured = speed.measured(config, info, 0.1, 1, torch.device("cpu"))
    assert late[0] >= COMPUTED_S and measured.step < COMPUTED_S / 10
