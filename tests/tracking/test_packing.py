"""The progress of packing, as a terminal and as a log file see it."""

import io

import pytest
from rich.console import Console

from dann_search.tracking.packing import packing_progress


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dann_search.tracking.packing.time.monotonic", lambda: now[0])
    out = io.StringIO()
    with packing_progress(Console(file=out), plain=True) as progress:
        for done in range(1, 2_001):
            now[0] += 1 / 64
            progress(done, 2_000)
    assert out.getvalue().splitlines() == [
        f"packed {done} of 2,000 images" for done in ("640", "1,280", "1,920")
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with packing_progress(console, plain=False) as progress:
        progress(7, 9)
    shown = out.getvalue()
    assert "packing images" in shown and "7/9" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased
