"""What a terminal shows: the live table at any width, and a bar."""

import io

import pytest
from rich.console import Console

from dann_search.cli import tables, watch
from tests.results.snapshots import snapshot_with


@pytest.mark.parametrize("width", [60, 80, 200])
def test_only_the_recipe_gives_way_in_a_narrow_console(width: int) -> None:
    text = io.StringIO()
    Console(file=text, width=width).print(tables.live(snapshot_with()))
    lines = text.getvalue().splitlines()
    assert lines[0].split()[:5] == ["trial", "state", "epoch", "best", "F1"]
    shown = [line.split()[:4] for line in lines[1:10]]
    assert shown[0] == ["3", "completed", "12/12", "0.500"]
    assert shown[-1] == ["11", "running", "3/12", "0.250"]
    assert all(len(line) <= width for line in lines)


def test_a_bar_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(watch, "err", Console(file=out, force_terminal=True, width=80))
    with watch.image_bar("packing images") as progress:
        progress(7, 9)
    shown = out.getvalue()
    assert "packing images" in shown and "7/9" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased
