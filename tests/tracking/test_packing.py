"""The progress of packing, as a log file sees it."""

import pytest

from dann_search.tracking.packing import CountLines


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dann_search.tracking.packing.time.monotonic", lambda: now[0])
    lines: list[str] = []
    progress = CountLines(lines.append, "packed", "packing")
    now[0] = 60.0  # what came before the first call does not count
    for done in range(2_001):
        now[0] += 1 / 64
        progress(done, 2_000)
    assert lines == [
        "packing 2,000 images",
        *(f"packed {done} of 2,000 images" for done in ("640", "1,280", "1,920")),
    ]
